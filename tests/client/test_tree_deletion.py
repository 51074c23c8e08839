"""Deleting a tree while other clients change it, over broken connections, and after a cancellation."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    Outcome,
    ReceivedRequest,
    World,
    cancel_at_each_pass,
    inject_into_each_request,
    virtual_time,
    world,
)
from zkrecipes.codec.messages import CreateRequest, DeleteRequest
from zkrecipes.devserver import FaultKind
from zkrecipes.devserver.requests.writes import WRITES
from zkrecipes.enums import CreateMode, OpCode
from zkrecipes.net.transport.network import Network

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

TREE = ("/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/b/e", "/a/f", "/a/g", "/a/g/h")


async def plant(client: zk.Client, paths: tuple[str, ...] = TREE) -> None:
    async with client.pipeline() as pipe:
        for path in paths:
            pipe.create(path)


def apply(there: World, request: Any) -> None:
    """Let another client change the tree now, before the request that the server has just read."""
    processor = there.server.processor
    processor.zxid += 1
    WRITES[request.opcode](processor._begin_change(0, [], _MOMENT), request)  # noqa: SLF001 - between two requests


class _Moment:
    now = 0.0
    time_ms = 0


_MOMENT: Any = _Moment()


def creation(path: str) -> CreateRequest:
    return CreateRequest(path, b"", list(zk.OPEN_ACL), CreateMode.PERSISTENT)


async def test_a_list_of_children_larger_than_max_packet_size_is_deleted() -> None:
    names = [f"{number:0200}" for number in range(300)]
    async with world() as there, there.connect("a", max_packet_size=10_000) as client:
        await plant(client, ("/a", *(f"/a/{name}" for name in names)))
        with pytest.raises(zk.PacketTooLargeError):
            await client.get_children("/a")
        await client.delete("/a", recursive=True)
        assert await client.exists("/a") is None
        assert client.stats().connections == 2  # the list that get_children refused cost the first one


async def test_a_tree_goes_and_what_is_beside_it_stays() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client, (*TREE, "/ab", "/ab/c"))
        await client.delete("/a", recursive=True)
        assert there.znodes() == {"/ab", "/ab/c"}


async def test_a_leaf_costs_one_request_and_wide_children_two_more_than_they_are() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client, ("/a", *(f"/a/{number}" for number in range(1000))))
        before = len(there.requests)
        await client.delete("/a/0", recursive=True)
        assert len(there.requests) == before + 1
        await client.delete("/a", recursive=True)
        assert len(there.requests) == before + 1 + 999 + 3
        assert there.znodes() == set()


class FarAway:
    """A network on which each chunk of bytes takes a second to arrive at the client."""

    def __init__(self, network: Network) -> None:
        self.resolve = network.resolve
        self.serve = network.serve
        self._network = network

    async def connect(self, host: str, port: int) -> FarStream:
        return FarStream(await self._network.connect(host, port))


class FarStream:
    def __init__(self, stream: Any) -> None:
        self.peer, self.send, self.aclose = stream.peer, stream.send, stream.aclose
        self._stream = stream
        self._arriving = b""

    async def receive(self) -> bytes:
        if not self._arriving:
            self._arriving = await self._stream.receive()
        await anyio.sleep(1)  # may be cancelled: the bytes stay
        data, self._arriving = self._arriving, b""
        return data


async def test_round_trips_depend_on_the_depth_and_not_on_how_many_znodes_have_children() -> None:
    """400 znodes with children took three round trips each, one after the other."""
    async with world() as there, there.connect("planter") as planter:
        folders = [f"/a/{number}" for number in range(400)]
        await plant(planter, ("/a", *folders, *(f"{folder}/leaf" for folder in folders)))
        hosts = there.server.connect_string
        async with zk.connect(hosts, session_timeout=40.0, network=FarAway(there.network)) as client:
            began = anyio.current_time()
            await client.delete("/a", recursive=True)
            took = anyio.current_time() - began
    assert took <= 40


async def test_a_tree_that_is_deeper_than_the_stack_goes() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client, tuple("/a" * depth for depth in range(1, 1200)))
        await client.delete("/a", recursive=True)
        assert there.znodes() == set()


async def test_a_tree_that_is_not_there_is_an_error() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(zk.NoNodeError, match="/a"):
            await client.delete("/a", recursive=True)
        with pytest.raises(zk.NoNodeError, match="the chroot /app itself"):
            await client.chroot("/app").delete("/a", recursive=True)


async def test_the_root_is_refused_also_that_of_a_view() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        before = len(there.requests)
        for each in (client, client.chroot("/a")):
            with pytest.raises(ValueError, match="path must not be the root"):
                await each.delete("/", recursive=True)
        with pytest.raises(ValueError, match="guards only one znode"):
            await client.delete("/a", version=0, recursive=True)
        assert len(there.requests) == before


async def test_a_view_deletes_below_its_root() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        await client.chroot("/a").delete("/b", recursive=True)
        assert there.znodes() == {"/a", "/a/f", "/a/g", "/a/g/h"}


async def test_what_is_made_meanwhile_goes_too() -> None:
    """One more child appears whenever a znode with children is about to be deleted, but not for ever."""
    async with world() as there, there.connect("a") as client:
        await plant(client)
        made = 0

        def make_more(seen: ReceivedRequest) -> None:
            nonlocal made
            if seen.opcode == OpCode.DELETE and seen.request.path in ("/a", "/a/b", "/a/g") and made < 7:
                made += 1
                apply(there, creation(f"{seen.request.path}/new-{made}"))

        there.before_request = make_more
        await client.delete("/a", recursive=True)
        assert made == 7
        assert there.znodes() == set()


async def test_what_goes_meanwhile_is_no_error() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)

        def take_away(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.GET_CHILDREN and seen.request.path == "/a/b":
                for path in ("/a/b/e", "/a/b/c/d", "/a/b/c", "/a/b"):
                    apply(there, DeleteRequest(path, -1))
            elif seen.opcode == OpCode.DELETE and seen.request.path == "/a/f":
                apply(there, DeleteRequest("/a/f", -1))

        there.before_request = take_away
        await client.delete("/a", recursive=True)
        assert there.znodes() == set()


async def test_others_who_make_children_for_ever_win() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client, ("/app", "/app/a"))
        made = 0

        def make_more(seen: ReceivedRequest) -> None:
            nonlocal made
            if seen.opcode == OpCode.DELETE and seen.request.path == "/app/a":
                made += 1
                apply(there, creation(f"/app/a/new-{made}"))

        there.before_request = make_more
        with pytest.raises(zk.NotEmptyError, match=r"/app/a \(other clients keep creating children"):
            await client.chroot("/app").delete("/a", recursive=True)
        assert made == 11


async def test_a_znode_that_may_not_be_deleted_is_an_error_and_stays() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        await client.set_acl("/a/b/c", zk.READ_ACL)
        with pytest.raises(zk.NoAuthError):
            await client.delete("/a", recursive=True)
        assert {"/a", "/a/b", "/a/b/c", "/a/b/c/d"} <= there.znodes()


async def test_a_leaf_whose_deletion_was_applied_unheard_is_gone_and_no_error() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/a")
        there.server.faults.inject(1, FaultKind.AFTER_COMMIT, session_id=client.session.id)
        await client.delete("/a", recursive=True)
        assert there.count(OpCode.DELETE) == 2
        assert there.znodes() == set()


async def delete_planted(there: World, client: zk.Client) -> None:
    await client.delete("/a", recursive=True)


class Planted:
    """A tree that exists before an act; leaving the context deletes the znodes that remain."""

    def __init__(self, there: World) -> None:
        self._there = there

    async def __aenter__(self) -> None:
        async with self._there.connect("gardener") as gardener:
            await plant(gardener)

    async def __aexit__(self, *_: object) -> None:
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("fault_kind", [FaultKind.BEFORE_SEND, FaultKind.AFTER_SEND, FaultKind.AFTER_COMMIT])
async def test_a_tree_goes_whichever_request_loses_its_connection(fault_kind: FaultKind) -> None:
    def judge(outcome: Outcome) -> None:
        assert outcome.error is None

    assert (
        await inject_into_each_request(
            delete_planted, judge, fault_kind, may_remain=set(), other_clients=Planted
        )
        >= 10
    )


async def test_a_deletion_that_is_cancelled_leaves_no_request_behind() -> None:
    def judge(outcome: Outcome) -> None:
        assert outcome.error is None or not isinstance(outcome.error, Exception)

    await cancel_at_each_pass(delete_planted, judge, may_remain=set(TREE), other_clients=Planted)

"""DoubleBarrier: members enter and leave together, even if some die, are cut off, or are cancelled."""

# ruff: noqa: PT012, SIM117 - these tests are about the errors of whole blocks

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.dev_clients import connected_clients
from tests.recipes.fault_sweep import (
    TIMEOUT,
    ClientLeftovers,
    Outcome,
    ReceivedRequest,
    World,
    asyncio_only,
    cancel_at_each_pass,
    inject_into_each_request,
    virtual_time,
    world,
)
from zkrecipes.codec.messages import CheckRequest, CreateRequest, Request, SetDataRequest
from zkrecipes.codec.multi import MultiRequest
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode
from zkrecipes.recipes import double_barrier_member
from zkrecipes.recipes.double_barrier_directory import (
    BarrierDirectory,
    BarrierRecord,
    BarrierView,
    is_member,
    parties_max,
    record_of,
)
from zkrecipes.recipes.double_barrier_member import Step, next_in_ring, next_step

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATH = "/steps/7"
READY = f"{PATH}/ready"
STAYS = {"/steps", PATH}


def barrier(client: zk.Client, parties: int = 2, **options: Any) -> zk.DoubleBarrier:
    return zk.DoubleBarrier(client, PATH, parties=parties, **options)


class Member:
    """A member that leaves when `may_leave` is set, and its outcome."""

    def __init__(self, client: zk.Client, parties: int = 2, **options: Any) -> None:
        self.client = client
        self.barrier = barrier(client, parties, **options)
        self.inside = anyio.Event()
        self.may_leave = anyio.Event()
        self.gone = anyio.Event()
        self.error: BaseException | None = None
        self.failure: Exception | None = None
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            try:
                async with self.barrier:
                    self.inside.set()
                    await self.may_leave.wait()
                    if self.failure is not None:
                        raise self.failure
            except Exception as error:  # noqa: BLE001 - tests check it
                self.error = error
        self.gone.set()

    def __str__(self) -> str:
        return f"inside={self.inside.is_set()} gone={self.gone.is_set()} error={self.error!r}"


def are_inside(*members: Member) -> bool:
    return all(member.inside.is_set() for member in members)


def are_gone(*members: Member) -> bool:
    return all(member.gone.is_set() for member in members)


def have_left(*members: Member) -> bool:
    return are_gone(*members) and all(member.error is None for member in members)


async def a_while() -> None:
    """Wait long enough for everything that can happen, and far less than a session timeout."""
    await anyio.sleep(1)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20 * TIMEOUT):
        while not condition():  # noqa: ASYNC110 - it waits for a state of the server
            await anyio.sleep(0.05)


@contextmanager
def names_in_order() -> Iterator[None]:
    """Generate names of members that are ordered like their creation."""
    names = itertools.count(1)
    with patch.object(double_barrier_member, "uuid4", lambda: uuid.UUID(int=next(names) << 96)):
        yield


def names_of_members(there: World) -> set[str]:
    return {path for path in there.znodes() if is_member(path.rpartition("/")[2])}


# --- decisions, without a server -----------------------------------------------------------------------


async def test_names_of_members() -> None:
    assert is_member(str(uuid.uuid4()))
    assert is_member(str(uuid.uuid4()).upper())
    for name in ("ready", uuid.uuid4().hex, f"_c_{uuid.uuid4()}-lock-0000000001", f"{uuid.uuid4()}\n"):
        assert not is_member(name)


CLOSED, OPEN = BarrierRecord(6, 60), BarrierRecord(5, 50, is_open=True)
OLD_READY, YOUNG_READY = (zk.Stat(czxid, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) for czxid in (50, 90))


@pytest.mark.parametrize(
    ("record", "arrived", "ready", "members", "has_seen_ready", "step"),
    [
        # too few members, and enough, after a round that was over before
        (CLOSED, CLOSED, None, 2, False, Step.WAIT),
        (CLOSED, CLOSED, None, 3, False, Step.BEGIN),
        (BarrierRecord(0), BarrierRecord(0), None, 3, False, Step.BEGIN),
        # its round has begun, even if `ready` is deleted again
        (BarrierRecord(7, 90, is_open=True), CLOSED, YOUNG_READY, 3, True, Step.ENTER),
        (BarrierRecord(7, 90, is_open=True), CLOSED, None, 1, False, Step.ENTER),
        # its round is over
        (BarrierRecord(8, 95), CLOSED, None, 3, True, Step.START_OVER),
        # a round began before its znode was created
        (OPEN, CLOSED, OLD_READY, 3, False, Step.START_OVER),
        (OPEN, CLOSED, None, 3, False, Step.START_OVER),
        # a `ready` of Curator's that is older than the znode
        (CLOSED, CLOSED, OLD_READY, 3, False, Step.START_OVER),
        # a member of Curator's has begun a round, which may be over already
        (CLOSED, CLOSED, YOUNG_READY, 2, True, Step.JOIN),
        (CLOSED, CLOSED, None, 2, True, Step.JOIN),
        # Curator has removed `ready` of the last round, whose members were out when this member arrived
        (OPEN, OPEN, None, 3, False, Step.BEGIN),
        (OPEN, OPEN, YOUNG_READY, 3, True, Step.JOIN),
    ],
)
async def test_next_step_of_a_waiting_member(
    record: BarrierRecord,
    arrived: BarrierRecord,
    ready: zk.Stat | None,
    members: int,
    has_seen_ready: bool,
    step: Step,
) -> None:
    view = BarrierView(record, ready, ["member"] * members)
    assert next_step(view, 80, arrived, 3, has_seen_ready=has_seen_ready) is step


async def test_a_record_is_the_last_write_of_a_round() -> None:
    def read(data: bytes | None, version: int) -> BarrierRecord:
        return record_of(zk.Node(data, zk.Stat(1, 77, 0, 0, version, 0, 0, 0, 0, 0, 0)))

    assert read(b"5 open", 5) == BarrierRecord(5, 77, is_open=True)
    assert read(b"6 closed", 6) == BarrierRecord(6, 77, is_open=False)
    for data in (b"5 open", b"", None, b"settings", b"6 closed ", b"-6 closed"):
        assert read(data, 6) == BarrierRecord(6)


@pytest.mark.parametrize("path", ["/b", "/a/long/one" * 20])
async def test_more_parties_than_a_transaction_can_check_are_refused(path: str) -> None:
    """Servers take requests of 1 MiB (`jute.maxbuffer`)."""
    async with connected_clients("a") as (_, (client,)):
        limit = parties_max(f"/chroot{path}")
        view = client.chroot("/chroot")
        assert zk.DoubleBarrier(view, path, parties=limit).parties == limit
        with pytest.raises(ValueError, match=f"between 1 and {limit} for '/chroot{path}', not {limit + 1}"):
            zk.DoubleBarrier(view, path, parties=limit + 1)
        checks: list[Request[Any]] = [CheckRequest(f"/chroot{path}/{uuid.uuid4()}", -1)] * limit
        writes: list[Request[Any]] = [
            SetDataRequest(f"/chroot{path}", b"123456789 closed", 123456789),
            CreateRequest(f"/chroot{path}/ready", b"", list(zk.OPEN_ACL), 0),
        ]
        size = len(MultiRequest((*checks, *writes)).encode())
        assert 0.9 * 2**20 < size < 0xFFFFF


async def test_the_next_name_in_the_ring() -> None:
    assert next_in_ring("b", {"a", "c", "d"}) == "c"
    assert next_in_ring("d", {"a", "c"}) == "a"
    assert next_in_ring("b", {"b", "a"}) == "a"
    assert next_in_ring("b", {"b"}) == "b"


# --- entering and leaving ------------------------------------------------------------------------------


async def test_members_enter_together_and_leave_together() -> None:
    async with connected_clients("a", "b", "c") as (there, connected), anyio.create_task_group() as tasks:
        members = [Member(client, 3) for client in connected]
        for number, member in enumerate(members):
            assert not any(each.inside.is_set() for each in members)
            tasks.start_soon(member.run)
            await a_while()
            assert len(names_of_members(there)) == number + 1
        assert all(each.inside.is_set() for each in members)
        assert READY in there.znodes()
        for member in members:
            assert not any(each.gone.is_set() for each in members)
            member.may_leave.set()
            await a_while()
        assert all(each.gone.is_set() for each in members)
        assert there.znodes() == STAYS


async def test_a_barrier_for_one_party_never_waits() -> None:
    async with connected_clients("a") as (there, (client,)):
        for _ in range(3):
            async with barrier(client, 1) as hold:
                assert names_of_members(there) == {hold.path}
                assert len(there.znodes()) == 4
            assert there.znodes() == STAYS


async def test_creating_the_object_does_no_io_and_refuses_invalid_arguments() -> None:
    async with connected_clients("a") as (there, (client,)):
        there.requests.clear()
        assert barrier(client).identifier == f"{socket.gethostname()}:{os.getpid()}"
        assert repr(barrier(client, identifier="me")) == "<DoubleBarrier /steps/7 me>"
        for parties in (0, -1):
            with pytest.raises(ValueError, match="parties must be between 1 and"):
                barrier(client, parties)
        for wrong in (True, 2.0, "2", None):
            with pytest.raises(TypeError, match="parties"):
                barrier(client, wrong)  # type: ignore[arg-type]
        for path in ("", "steps", "/steps/", "/a//b"):
            with pytest.raises(ValueError, match="path"):
                zk.DoubleBarrier(client, path, parties=2)
        with pytest.raises(ValueError, match="acl"):
            barrier(client, acl=[])
        with pytest.raises(ValueError, match="max_packet_size"):
            barrier(client, identifier="x" * 10_000_000)
        assert not there.requests


async def test_a_member_can_enter_again_immediately() -> None:
    """A member that leaves late does not wait for members that are already in the next round."""
    async with connected_clients("a", "b", "c") as (there, connected):
        rounds: list[int] = []
        inside: set[int] = set()

        async def work(number: int, client: zk.Client) -> None:
            mine = barrier(client, 3)
            for step in range(20):
                async with mine:
                    rounds.append(step)
                    inside.add(number)
                    await anyio.sleep(0.01 * ((number + step) % 3))
                    inside.discard(number)
                assert len(rounds) >= 3 * (step + 1), "a member left before all had entered"

        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                for number, client in enumerate(connected):
                    tasks.start_soon(work, number, client)
        assert rounds == sorted(rounds)
        assert there.znodes() == STAYS


async def test_tasks_can_share_it_and_each_is_a_member() -> None:
    async with connected_clients("a") as (there, (client,)):
        shared = barrier(client, 5)
        inside = 0

        async def work() -> None:
            nonlocal inside
            async with shared:
                inside += 1
                await a_while()
                assert inside == 5

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(work)
        assert there.znodes() == STAYS


async def test_entering_twice_in_one_task_raises_instead_of_waiting_for_itself() -> None:
    async with connected_clients("a") as (there, (client,)):
        mine = barrier(client, 1)
        async with mine:
            with pytest.raises(RuntimeError, match="it would wait for itself at <DoubleBarrier"):
                async with mine:
                    pass
            assert len(names_of_members(there)) == 1
        async with mine:
            pass


@asyncio_only
async def test_leaving_in_another_task_raises() -> None:
    async with connected_clients("a") as (there, (client,)):
        alone = barrier(client, parties=1)
        await asyncio.create_task(alone.__aenter__())
        assert len(names_of_members(there)) == 1
        with pytest.raises(RuntimeError, match="left by another task"):
            await alone.__aexit__(None, None, None)
        assert there.znodes() <= STAYS


@pytest.mark.parametrize("is_first_to_go_last", [True, False])
async def test_number_of_requests(monkeypatch: pytest.MonkeyPatch, is_first_to_go_last: bool) -> None:
    names = iter(uuid.UUID(int=number) for number in ([0, 1] if is_first_to_go_last else [1, 0]))
    monkeypatch.setattr(double_barrier_member, "uuid4", lambda: next(names))
    look = [OpCode.EXISTS, OpCode.GET_DATA, OpCode.GET_CHILDREN]  # together
    arrive = [*look, OpCode.CREATE, OpCode.EXISTS, *look]  # two round trips
    begin = [OpCode.EXISTS, OpCode.EXISTS, OpCode.MULTI]  # a stat of each member
    look_again = [OpCode.SYNC, *look]
    wait = [OpCode.EXISTS]
    async with connected_clients("a", "b") as (there, (client, other)), anyio.create_task_group() as tasks:
        first, second = Member(client), Member(other)
        await client.ensure_path(PATH)
        there.requests.clear()

        def asked(member: Member) -> list[int]:
            """Return the requests of a member, without the removal of watches."""
            asked = [
                each
                for each in there.requests
                if each.session_id == member.client.session.id and each.opcode != OpCode.REMOVE_WATCHES
            ]
            there.requests[:] = [
                each for each in there.requests if each.session_id != member.client.session.id
            ]
            return [each.opcode for each in asked if not _is_of_the_client(each)]

        tasks.start_soon(first.run)
        await a_while()
        tasks.start_soon(second.run)
        await a_while()
        assert asked(first) == [*arrive, OpCode.EXISTS, *look]
        assert asked(second) == [*arrive, *begin]
        first.may_leave.set()
        await a_while()
        assert asked(first) == [*look_again, *([] if is_first_to_go_last else [OpCode.DELETE]), *wait]
        assert asked(second) == []
        second.may_leave.set()
        await a_while()
        if is_first_to_go_last:
            assert asked(first) == [*look_again, OpCode.MULTI]
            assert asked(second) == [*look_again, OpCode.DELETE, *wait, *look_again]
        else:
            assert asked(first) == look_again
            assert asked(second) == [*look_again, OpCode.MULTI]
        assert are_gone(first, second)


def _is_of_the_client(seen: ReceivedRequest) -> bool:
    """Whether the client itself sends the request: the check of a hold, or a read that changes nothing."""
    if seen.opcode == OpCode.MULTI:
        return len(seen.request.operations) == 1
    return bool(seen.request.path == "/")


async def test_a_departure_does_not_wake_every_member() -> None:
    number = 30
    async with connected_clients("a") as (there, (client,)), anyio.create_task_group() as tasks:
        members = [Member(client, number) for _ in range(number)]
        for member in members:
            tasks.start_soon(member.run)
        await until(lambda: all(member.inside.is_set() for member in members))
        there.requests.clear()
        for member in members:
            member.may_leave.set()
            await a_while()
        assert all(member.gone.is_set() for member in members)
        assert there.znodes() == STAYS
        # about log n reads for each member, and two when it starts to leave; waking all members would need
        # 435
        assert there.count(OpCode.GET_CHILDREN2) < number * 7


async def test_members_are_listed_in_order_of_arrival() -> None:
    async with connected_clients("a", "b", "c") as (_, connected), anyio.create_task_group() as tasks:
        assert await barrier(connected[0]).members() == []
        members = [Member(client, 3, identifier=name) for client, name in zip(connected, "zöa", strict=True)]
        for member in members:
            tasks.start_soon(member.run)
            await a_while()
        binary = await connected[0].create(f"{PATH}/{uuid.uuid4()}", b"\xff")
        null = await connected[0].create(f"{PATH}/{uuid.uuid4()}", None)
        await connected[0].create(f"{PATH}/other", b"x")
        assert await barrier(connected[0]).members() == ["z", "ö", "a", "\ufffd", ""]
        for path in (binary, null):
            await connected[0].delete(path)
        for member in members:
            member.may_leave.set()


async def test_a_missing_chroot_is_created() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with anyio.create_task_group() as tasks:

            async def cross(view: zk.Client, path: str) -> None:
                async with zk.DoubleBarrier(view, path, parties=2):
                    assert f"/team/one{PATH}/ready" in there.znodes()

            tasks.start_soon(cross, client.chroot("/team/one"), PATH)
            tasks.start_soon(cross, other, f"/team/one{PATH}")
        assert there.znodes() == {"/team", "/team/one", "/team/one/steps", f"/team/one{PATH}"}


async def test_only_its_own_directory_is_a_container() -> None:
    async with connected_clients("a") as (there, (client,)):
        async with barrier(client, 1):
            tree = there.server.processor.tree
            assert tree.get("/steps").kind.value == "persistent"
            assert tree.get(PATH).kind.value == "container"
            assert tree.get(READY).kind.value == "persistent"


async def test_data_of_another_program_are_not_a_record() -> None:
    """They begin no round, and the next round replaces them."""
    async with connected_clients("a", "b") as (there, (client, other)), anyio.create_task_group() as tasks:
        await client.ensure_path(PATH)
        first, second = Member(client), Member(other)
        tasks.start_soon(first.run)
        await a_while()
        for data in (b"settings", b"7 open", b"0 open", None):
            await other.set(PATH, data)
            there.network.reset(source="a")  # makes it look again
            await a_while()
            assert not first.inside.is_set()
        tasks.start_soon(second.run)
        await a_while()
        assert are_inside(first, second)
        assert (await client.get(PATH)).data == b"5 open"
        first.may_leave.set()
        second.may_leave.set()
        await a_while()
        assert (await client.get(PATH)).data == b"6 closed"


async def pass_through(each: zk.DoubleBarrier) -> None:
    async with each:
        pass


async def test_the_members_znode_has_the_acl() -> None:
    async with connected_clients("a") as (there, (client,)):
        acl = [zk.ACL(zk.Perms.READ, zk.ANYONE_ID)]
        async with barrier(client, 1, acl=acl):
            (path,) = names_of_members(there)
            assert (await client.get_acl(path))[0] == acl
        assert there.znodes() == STAYS


@pytest.mark.parametrize("missing", [zk.Perms.WRITE, zk.Perms.CREATE])
async def test_a_directory_without_a_permission_is_refused_on_entering(missing: zk.Perms) -> None:
    async with connected_clients("a") as (there, (client,)):
        await client.ensure_path("/steps")
        await client.create(PATH, acl=[zk.ACL(zk.Perms.ALL & ~missing, zk.ANYONE_ID)])
        with pytest.raises(zk.NoAuthError):
            async with barrier(client, 1):
                raise AssertionError("inside without a record")
        assert there.znodes() == STAYS


# --- rounds and the record -------------------------------------------------------------------------------


async def test_a_client_with_an_old_view_neither_begins_nor_ends_a_round() -> None:
    async with connected_clients("a", "slow") as (there, (client, slow)), anyio.create_task_group() as tasks:
        await client.ensure_path(PATH)
        directory = BarrierDirectory(slow, PATH, 1, b"", None)
        before = await directory.look()
        member = Member(client, 1)
        tasks.start_soon(member.run)
        await a_while()
        during = await directory.look()
        assert await directory.begin_round(before.record, [], make_ready=False) is None
        assert not await directory.end_round(before.record)
        member.may_leave.set()
        await a_while()
        again = Member(client, 1)
        tasks.start_soon(again.run)
        await a_while()
        assert not await directory.end_round(during.record), "the record of the previous round"
        assert READY in there.znodes()
        assert (await client.get(PATH)).data == b"3 open"
        again.may_leave.set()
        await a_while()
        assert have_left(member, again)


async def test_a_round_whose_beginning_was_not_answered_has_begun_for_all() -> None:
    """The member that began it finds its round in the record, and enters it."""
    async with connected_clients("a", "b") as (there, (one, other)), anyio.create_task_group() as tasks:
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        await a_while()
        there.server.faults.lose_reply(OpCode.MULTI, path=READY)
        tasks.start_soon(second.run)
        await anyio.sleep(TIMEOUT / 8)
        assert are_inside(first, second)
        assert (await one.get(PATH)).data == b"1 open"
        first.may_leave.set()
        second.may_leave.set()
        await a_while()
        assert have_left(first, second)


async def test_the_members_of_a_round_have_one_token_and_the_next_round_a_larger_one() -> None:
    async with connected_clients("a", "b") as (_, connected):
        tokens: list[int] = []

        async def go_through(client: zk.Client) -> None:
            for _ in range(2):
                async with barrier(client) as hold:
                    tokens.append(hold.fencing_token)
                    assert hold.remaining() > 0
                    await hold.confirm()

        async with anyio.create_task_group() as tasks:
            for client in connected:
                tasks.start_soon(go_through, client)
        assert tokens[0] == tokens[1] < tokens[2] == tokens[3]


# --- other znodes and latecomers -----------------------------------------------------------------------


async def test_unexpected_children_are_not_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The znodes of another recipe on the same path begin no round, and no member waits for them."""
    others = [f"_c_{uuid.uuid4()}-lock-0000000000", uuid.uuid4().hex, "other", "config"]
    async with connected_clients("a", "b") as (there, (client, other)), anyio.create_task_group() as tasks:
        await client.ensure_path(PATH)
        for name in others:
            await client.create(f"{PATH}/{name}")
        first, second = Member(client), Member(other)
        with caplog.at_level(logging.WARNING, logger="zkrecipes"):
            tasks.start_soon(first.run)
            await a_while()
            assert not first.inside.is_set()
            tasks.start_soon(second.run)
            await a_while()
        assert are_inside(first, second)
        logged = [record.getMessage() for record in caplog.records if "not counted" in record.getMessage()]
        assert len(logged) == 2, "once for each client"
        assert all(name in logged[0] for name in others)
        first.may_leave.set()
        second.may_leave.set()
        await a_while()
        assert there.znodes() == {*STAYS, *(f"{PATH}/{name}" for name in others)}


async def test_a_latecomer_waits_for_the_next_round_without_a_znode() -> None:
    async with connected_clients("a", "b", "c") as (there, connected), anyio.create_task_group() as tasks:
        first, second, late = (Member(client) for client in connected)
        tasks.start_soon(first.run)
        tasks.start_soon(second.run)
        await a_while()
        inside = names_of_members(there)
        tasks.start_soon(late.run)
        await a_while()
        assert names_of_members(there) == inside
        first.may_leave.set()
        await a_while()
        again = Member(connected[0])
        second.may_leave.set()
        await a_while()
        assert have_left(first, second)
        assert not late.inside.is_set()
        assert len(names_of_members(there)) == 1
        tasks.start_soon(again.run)
        await a_while()
        assert are_inside(late, again)
        late.may_leave.set()
        again.may_leave.set()
        await a_while()
        assert there.znodes() == STAYS


async def test_a_znode_that_is_younger_than_ready_is_deleted() -> None:
    """The latecomer has read that `ready` does not exist; a round begins before its znode is created."""
    async with connected_clients("a", "b") as (there, (client, other)), anyio.create_task_group() as tasks:
        first, late = Member(client, 1), Member(other, 1)
        created: list[set[str]] = []

        def begin_a_round(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.CREATE and seen.session_id == other.session.id:
                there.before_request = lambda _: None
                tree, zxid = there.server.processor.tree, there.server.processor.zxid
                tree.add(f"{PATH}/{uuid.uuid4()}", b"", tuple(zk.OPEN_ACL), zxid, client.session.id)
                tree.add(READY, b"", tuple(zk.OPEN_ACL), zxid, 0)
                created.append(names_of_members(there))

        await client.ensure_path(PATH)
        there.before_request = begin_a_round
        tasks.start_soon(late.run)
        await a_while()
        assert not late.inside.is_set()
        assert [names_of_members(there)] == created
        await client.delete(created[0].pop())
        await a_while()
        assert late.inside.is_set(), "the round without a member is over"
        late.may_leave.set()
        tasks.start_soon(first.run)
        first.may_leave.set()
        await a_while()
        assert have_left(first, late)


async def test_a_leftover_ready_admits_no_member() -> None:
    """Every member inside has died; `ready` is persistent, and stays."""
    async with connected_clients("a", "b", "c") as (there, connected), anyio.create_task_group() as tasks:
        await connected[0].ensure_path(READY)
        members = [Member(client, 3) for client in connected]
        tasks.start_soon(members[0].run)
        tasks.start_soon(members[1].run)
        await a_while()
        assert not any(member.inside.is_set() for member in members)
        assert READY not in there.znodes()
        tasks.start_soon(members[2].run)
        await a_while()
        assert all(member.inside.is_set() for member in members)
        for member in members:
            member.may_leave.set()


async def test_the_directory_is_removed_while_members_wait() -> None:
    async with (
        connected_clients("a", "b", "admin") as (there, (one, other, admin)),
        anyio.create_task_group() as tasks,
    ):
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        await a_while()
        (path,) = names_of_members(there)
        async with admin.transaction() as tx:
            tx.delete(path)
            tx.delete(PATH)
            tx.delete("/steps")
        await a_while()
        assert len(names_of_members(there)) == 1, "created again"
        tasks.start_soon(second.run)
        await a_while()
        assert are_inside(first, second)
        first.may_leave.set()
        second.may_leave.set()
        await a_while()
        assert there.znodes() == STAYS


async def test_the_znode_of_a_waiting_member_is_created_again_after_a_deletion() -> None:
    async with connected_clients("a", "b") as (there, (one, other)), anyio.create_task_group() as tasks:
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        await a_while()
        (path,) = names_of_members(there)
        await other.delete(path)
        tasks.start_soon(second.run)
        await a_while()
        assert are_inside(first, second)
        first.may_leave.set()
        second.may_leave.set()


async def test_the_directory_is_removed_while_members_are_inside() -> None:
    """The next check of the holds cancels their blocks."""
    async with (
        connected_clients("a", "b", "admin") as (there, (one, other, admin)),
        anyio.create_task_group() as tasks,
    ):
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        tasks.start_soon(second.run)
        await a_while()
        async with admin.transaction() as tx:
            for path in (*names_of_members(there), READY, PATH):
                tx.delete(path)
        await anyio.sleep(TIMEOUT / 8)
        for member in (first, second):
            assert isinstance(member.error, zk.BrokenBarrierError), member.error
            assert "its znode was deleted" in str(member.error)


async def test_the_directory_is_removed_while_a_member_leaves() -> None:
    async with (
        connected_clients("a", "b", "admin") as (there, (one, other, admin)),
        anyio.create_task_group() as tasks,
    ):
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        tasks.start_soon(second.run)
        await a_while()
        first.may_leave.set()
        await a_while()
        async with admin.transaction() as tx:
            for path in (*names_of_members(there), READY, PATH):
                tx.delete(path)
        await a_while()
        assert have_left(first)
        second.may_leave.set()


# --- members that are lost -------------------------------------------------------------------------------


async def test_a_member_that_dies_while_it_waits_to_enter_is_not_counted() -> None:
    async with connected_clients("a", "b", "c") as (there, connected), anyio.create_task_group() as tasks:
        dead, second, third = (Member(client) for client in connected)
        tasks.start_soon(dead.run)
        await a_while()
        there.network.cut(source="a")
        there.network.reset(source="a")
        there.server.expire(connected[0].session.id)
        tasks.start_soon(second.run)
        await a_while()
        assert not second.inside.is_set()
        tasks.start_soon(third.run)
        await a_while()
        assert are_inside(second, third)
        second.may_leave.set()
        third.may_leave.set()
        await a_while()
        assert have_left(second, third)
        dead.scope.cancel()
        there.network.heal()
        await anyio.sleep(TIMEOUT)


@pytest.mark.parametrize("is_first_to_leave", [True, False])
async def test_a_member_dies_inside(is_first_to_leave: bool) -> None:
    """Case 88: the other members leave when its session has expired."""
    async with connected_clients("a", "b", "c") as (there, connected), anyio.create_task_group() as tasks:
        members = dead, *others = [Member(client, 3) for client in connected]
        for member in members:
            tasks.start_soon(member.run)
        await a_while()
        if is_first_to_leave:
            for member in others:
                member.may_leave.set()
            await a_while()
            assert not any(member.gone.is_set() for member in others)
        there.network.cut(source="a")
        await anyio.sleep(TIMEOUT * 1.1)
        for member in others:
            member.may_leave.set()
        await a_while()
        assert have_left(*others)
        assert isinstance(dead.error, zk.BrokenBarrierError)
        assert "the barrier is broken (/steps/7/" in str(dead.error)
        assert "the session could not be proven alive in time" in str(dead.error)
        assert there.znodes() == STAYS
        there.network.heal()


async def test_a_member_that_is_cut_off_is_out_before_the_others_can_leave() -> None:
    async with connected_clients("a", "b") as (there, (one, other)), anyio.create_task_group() as tasks:
        ended_at: dict[str, float] = {}

        async def visit(client: zk.Client, name: str, seconds: float) -> None:
            try:
                async with barrier(client):
                    try:
                        await anyio.sleep(seconds)
                    finally:
                        ended_at[f"block of {name}"] = anyio.current_time()
            except zk.BrokenBarrierError:
                pass
            ended_at[name] = anyio.current_time()

        tasks.start_soon(visit, one, "a", 1000)
        tasks.start_soon(visit, other, "b", 1)
        await a_while()
        cut_at = anyio.current_time()
        there.network.cut(source="a")
        await anyio.sleep(2 * TIMEOUT)
        assert cut_at < ended_at["block of a"] < ended_at["b"] - TIMEOUT / 16
        assert ended_at["b"] <= cut_at + TIMEOUT * 1.1
        there.network.heal()


async def test_a_dead_leaving_member_keeps_newcomers_out_until_its_session_expires() -> None:
    """It is the first member by name, so its znode stays while it leaves."""
    async with connected_clients("a", "b", "c") as (there, connected), anyio.create_task_group() as tasks:
        dead, second = [Member(client) for client in connected[:2]]
        with names_in_order():
            for member in (dead, second):
                tasks.start_soon(member.run)
                await a_while()
        dead.may_leave.set()
        await a_while()
        there.network.cut(source="a")
        second.may_leave.set()
        newcomer = Member(connected[2], 1)
        tasks.start_soon(newcomer.run)
        await anyio.sleep(TIMEOUT / 2)
        assert not newcomer.inside.is_set()
        assert len(names_of_members(there)) == 1
        await anyio.sleep(TIMEOUT)
        assert newcomer.inside.is_set()
        newcomer.may_leave.set()
        there.network.heal()


async def test_a_restarted_member_waits_until_its_old_session_and_the_round_are_over() -> None:
    """Then it is a party of the next round, together with another member."""
    async with (
        connected_clients("a", "b", "b again") as (there, connected),
        anyio.create_task_group() as tasks,
    ):
        first, dead = (Member(client) for client in connected[:2])
        tasks.start_soon(first.run)
        tasks.start_soon(dead.run)
        await a_while()
        there.network.cut(source="b")
        restarted = Member(connected[2])
        tasks.start_soon(restarted.run)
        first.may_leave.set()
        await anyio.sleep(TIMEOUT / 2)
        assert not restarted.inside.is_set()
        assert not first.gone.is_set()
        await anyio.sleep(TIMEOUT)
        assert have_left(first)
        assert not restarted.inside.is_set()
        again = Member(connected[0])
        tasks.start_soon(again.run)
        await a_while()
        assert are_inside(again, restarted)
        again.may_leave.set()
        restarted.may_leave.set()
        await a_while()
        assert have_left(again, restarted)
        there.network.heal()


@pytest.mark.parametrize("end", ["error", "cancelled", "deleted"])
async def test_a_block_that_fails_waits_for_no_other_member(end: str) -> None:
    async with connected_clients("a", "b", "c") as (there, connected), anyio.create_task_group() as tasks:
        bad = Member(connected[0], 3)
        others = [Member(client, 3) for client in connected[1:]]
        tasks.start_soon(bad.run)
        await a_while()
        (path,) = names_of_members(there)
        for member in others:
            tasks.start_soon(member.run)
        await a_while()
        others[0].may_leave.set()
        await a_while()
        if end == "error":
            bad.failure = KeyError("mine")
            bad.may_leave.set()
        elif end == "cancelled":
            bad.scope.cancel()
        else:
            await connected[1].delete(path)
            await a_while()
        await a_while()
        assert bad.gone.is_set()
        assert not others[0].gone.is_set()
        if end == "deleted":
            assert isinstance(bad.error, zk.BrokenBarrierError)
            assert str(bad.error) == f"the barrier is broken ({path}): its znode was deleted"
        else:
            assert bad.error is bad.failure
        others[1].may_leave.set()
        await a_while()
        assert have_left(*others)
        assert there.znodes() == STAYS


async def test_a_member_that_is_cancelled_while_it_is_cut_off_is_out_later() -> None:
    """The client deletes its znode later, in the background."""
    async with connected_clients("a", "b") as (there, (one, other)), anyio.create_task_group() as tasks:
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        tasks.start_soon(second.run)
        await a_while()
        there.network.cut(source="a")
        first.may_leave.set()
        await a_while()
        first.scope.cancel()
        await a_while()
        second.may_leave.set()
        await a_while()
        assert not second.gone.is_set()
        there.network.heal()
        await anyio.sleep(TIMEOUT / 4)
        assert have_left(second)
        assert there.znodes() == STAYS


async def test_a_waiting_member_whose_session_expires_arrives_again() -> None:
    async with connected_clients("a", "b") as (there, (one, other)), anyio.create_task_group() as tasks:
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        await a_while()
        before = names_of_members(there)
        there.server.expire(one.session.id)
        await a_while()
        assert len(names_of_members(there)) == 1
        assert names_of_members(there) != before, "a name is never used twice"
        tasks.start_soon(second.run)
        await a_while()
        assert are_inside(first, second)
        first.may_leave.set()
        second.may_leave.set()
        await a_while()
        assert have_left(first, second)


async def test_a_session_that_expires_after_the_block_changes_nothing() -> None:
    async with connected_clients("a", "b") as (there, (one, other)), anyio.create_task_group() as tasks:
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        tasks.start_soon(second.run)
        await a_while()
        first.may_leave.set()
        await a_while()
        there.server.expire(one.session.id)
        await a_while()
        assert not first.gone.is_set()
        second.may_leave.set()
        await a_while()
        assert have_left(first, second)


async def test_a_waiting_member_gets_an_error_when_the_client_is_over() -> None:
    async with world() as there, anyio.create_task_group() as tasks:
        with pytest.raises(zk.SessionExpiredError):
            async with there.connect("a", renew=False) as client:
                tasks.start_soon(expire_soon, there, client)
                async with barrier(client):
                    raise AssertionError("alone inside")
        with pytest.raises(zk.SessionExpiredError):
            async with barrier(client):
                raise AssertionError("without a session")
        assert there.znodes() == STAYS


async def expire_soon(there: World, client: zk.Client) -> None:
    await a_while()
    there.server.expire(client.session.id)


# --- cut off ---------------------------------------------------------------------------------------------


async def test_a_waiting_member_that_was_cut_off_enters_after_its_reconnect() -> None:
    async with connected_clients("a", "b") as (there, (one, other)), anyio.create_task_group() as tasks:
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        await a_while()
        there.network.cut(source="a")
        there.network.reset(source="a")
        tasks.start_soon(second.run)
        await a_while()
        assert [member.inside.is_set() for member in (first, second)] == [False, True]
        second.may_leave.set()
        await a_while()
        assert not second.gone.is_set()
        there.network.heal()
        await anyio.sleep(TIMEOUT / 8)
        assert first.inside.is_set()
        first.may_leave.set()
        await a_while()
        assert are_gone(first, second)
        assert there.znodes() == STAYS


async def test_a_waiting_member_enters_although_ready_is_deleted_again() -> None:
    """Curator's last member but one removes it; a member that saw its creation enters anyway."""
    async with connected_clients("a", "curator") as (there, (one, other)), anyio.create_task_group() as tasks:
        first = Member(one)
        tasks.start_soon(first.run)
        await a_while()
        async with other.transaction() as tx:
            tx.create(READY)
            tx.delete(READY)
        await a_while()
        assert first.inside.is_set()
        first.may_leave.set()
        await a_while()
        assert have_left(first)
        assert there.znodes() == STAYS


async def test_a_member_that_missed_ready_finds_its_round_in_the_record() -> None:
    """It was cut off while `ready` was created, and Curator's last member has removed it."""
    async with (
        connected_clients("a", "b", "bad") as (there, (one, other, bad)),
        anyio.create_task_group() as tasks,
    ):
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        await a_while()
        there.network.cut(source="a")
        there.network.reset(source="a")
        tasks.start_soon(second.run)
        await a_while()
        second.may_leave.set()
        await a_while()
        await bad.delete(READY)
        await a_while()
        there.network.heal()
        await anyio.sleep(TIMEOUT / 8)
        assert first.inside.is_set()
        assert not second.gone.is_set()
        first.may_leave.set()
        await a_while()
        assert have_left(first, second)
        assert there.znodes() == STAYS


async def test_members_that_leave_at_the_same_time_leave_no_ready() -> None:
    async with connected_clients("a", "b", "c") as (there, connected):
        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                members = [Member(client, 3) for client in connected]
                for member in members:
                    member.may_leave.set()
                    tasks.start_soon(member.run)
            assert there.znodes() == STAYS


async def test_the_last_member_dies_and_leaves_no_ready() -> None:
    async with connected_clients("a", "b") as (there, (one, other)), anyio.create_task_group() as tasks:
        first, second = Member(one), Member(other)
        tasks.start_soon(first.run)
        tasks.start_soon(second.run)
        await a_while()
        first.may_leave.set()
        await a_while()
        there.server.expire(other.session.id)
        await a_while()
        assert first.gone.is_set()
        assert there.znodes() == STAYS
        second.may_leave.set()


async def test_two_members_begin_a_round_at_the_same_time() -> None:
    """Another client creates `ready` just before."""
    async with connected_clients("a") as (there, (client,)):
        await client.ensure_path(PATH)

        def make_it_first(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.MULTI and READY not in there.znodes():
                there.before_request = lambda _: None
                processor = there.server.processor
                processor.tree.add(READY, b"", tuple(zk.OPEN_ACL), processor.zxid + 1, 0)

        there.before_request = make_it_first
        async with barrier(client, 1):
            pass
        assert there.znodes() == STAYS


async def test_no_round_begins_if_a_counted_member_leaves_before() -> None:
    async with connected_clients("a", "b") as (there, (client, other)), anyio.create_task_group() as tasks:
        first, second = Member(client), Member(other)
        tasks.start_soon(first.run)
        await a_while()

        def leave(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.MULTI and seen.session_id == other.session.id:
                there.before_request = lambda _: None
                there.server.expire(client.session.id)

        there.before_request = leave
        first.scope.cancel()
        tasks.start_soon(second.run)
        await a_while()
        assert not second.inside.is_set()
        third = Member(client)
        tasks.start_soon(third.run)
        await a_while()
        assert are_inside(second, third)
        second.may_leave.set()
        third.may_leave.set()


async def test_a_member_without_read_permission_cannot_be_counted() -> None:
    """Only members that may read its znode can check whether it is alive."""
    async with connected_clients("a", "b") as (there, (client, other)), anyio.create_task_group() as tasks:
        await client.add_auth("digest", "me:secret")
        first, second = Member(client, acl=zk.CREATOR_ALL_ACL), Member(other)
        tasks.start_soon(first.run)
        await a_while()
        (path,) = names_of_members(there)
        tasks.start_soon(second.run)
        await a_while()
        assert isinstance(second.error, zk.NoAuthError)
        assert second.error.path == path
        first.scope.cancel()


async def test_a_znode_that_disappears_after_a_lost_create_is_created_again() -> None:
    async with connected_clients("a") as (there, (client,)):
        await client.ensure_path(PATH)
        there.server.faults.lose_reply(OpCode.CREATE)

        def remove_it(seen: ReceivedRequest) -> None:
            names = names_of_members(there)
            if seen.opcode == OpCode.EXISTS and seen.request.path in names:
                there.before_request = lambda _: None
                there.server.processor.tree.remove(seen.request.path, there.server.processor.zxid)

        there.before_request = remove_it
        async with barrier(client, 1):
            assert len(names_of_members(there)) == 1
        assert there.znodes() == STAYS


async def test_a_directory_that_is_too_large_to_list_is_an_error() -> None:
    async with connected_clients("a") as (there, (client,)):
        await client.ensure_path(PATH)
        async with client.pipeline() as pipe:
            for number in range(100):
                pipe.create(f"{PATH}/{number:0100d}")
        async with there.connect("small", max_packet_size=5000) as small:
            with pytest.raises(zk.PacketTooLargeError):
                async with barrier(small, 1):
                    pass
            await anyio.sleep(1)
            assert not names_of_members(there)


async def test_a_child_of_ready_is_an_error() -> None:
    """The znode of the member is still deleted."""
    async with connected_clients("a") as (there, (client,)):
        with pytest.raises(zk.NotEmptyError, match="/steps/7/ready"):
            async with barrier(client, 1):
                await client.create(f"{READY}/child")
        assert not names_of_members(there)


# --- faults of every kind ---------------------------------------------------------------------------------


async def cross_alone(_: World, client: zk.Client) -> str:
    async with barrier(client, 1):
        await anyio.lowlevel.checkpoint()
    return "crossed"


async def cross(_: World, client: zk.Client) -> str:
    async with barrier(client, 2, identifier="faulty"):
        await anyio.lowlevel.checkpoint()
    return "crossed"


@asynccontextmanager
async def with_company(there: World) -> AsyncIterator[None]:
    """Let another member go through rounds all the time, so that no member waits alone."""
    async with there.connect("company") as other, anyio.create_task_group() as tasks:

        async def cross_on() -> None:
            while True:
                async with barrier(other, 2, identifier="company"):
                    await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()

        tasks.start_soon(cross_on)
        await until(lambda: len(names_of_members(there)) == 1)
        yield
        tasks.cancel_scope.cancel()
    await anyio.sleep(TIMEOUT)  # the server may keep its end of a connection for a while


@asynccontextmanager
async def before_company(there: World) -> AsyncIterator[None]:
    """As `with_company`, but the other member arrives second, and stays for a while."""
    async with there.connect("company") as other, anyio.create_task_group() as tasks:

        async def cross_on() -> None:
            await until(lambda: len(names_of_members(there)) == 1)
            while True:
                async with barrier(other, 2, identifier="company"):
                    await anyio.sleep(0.5)

        tasks.start_soon(cross_on)
        yield
        tasks.cancel_scope.cancel()
    await anyio.sleep(TIMEOUT)


def is_through(outcome: Outcome) -> None:
    assert outcome.result == "crossed"


def is_through_or_lost(outcome: Outcome) -> None:
    """After an expiry before the block the member enters again; a later expiry is raised."""
    assert outcome.result == "crossed" or isinstance(outcome.error, zk.BrokenBarrierError)


def is_through_or_cancelled(outcome: Outcome) -> None:
    assert outcome.result == "crossed" or isinstance(outcome.error, anyio.get_cancelled_exc_class())


WAYS = [
    (FaultKind.BEFORE_SEND, is_through),
    (FaultKind.AFTER_SEND, is_through),
    (FaultKind.AFTER_COMMIT, is_through),
    (FaultKind.EXPIRE, is_through_or_lost),
]


@pytest.mark.parametrize(("fault_kind", "judge"), WAYS)
async def test_fault_in_each_request_alone(fault_kind: FaultKind, judge: Any) -> None:
    assert await inject_into_each_request(cross_alone, judge, fault_kind, may_remain=STAYS) >= 10


@pytest.mark.parametrize("other_clients", [with_company, before_company])
@pytest.mark.parametrize(("fault_kind", "judge"), WAYS)
async def test_fault_in_each_request_in_company(
    fault_kind: FaultKind, judge: Any, other_clients: Any
) -> None:
    number = await inject_into_each_request(
        cross, judge, fault_kind, may_remain=STAYS, other_clients=other_clients
    )
    assert number >= 6


async def test_cancelled_at_each_pass_alone() -> None:
    assert await cancel_at_each_pass(cross_alone, is_through_or_cancelled, may_remain=STAYS) >= 20


async def test_cancelled_at_each_pass_in_company() -> None:
    number = await cancel_at_each_pass(
        cross, is_through_or_cancelled, may_remain=STAYS, other_clients=with_company
    )
    assert number >= 20


@asyncio_only
@pytest.mark.parametrize("other_clients", [None, with_company], ids=["alone", "company"])
@pytest.mark.parametrize("again_after", [None, 0, 1, 2, 3, 5])
async def test_cancelled_natively_at_each_pass(again_after: int | None, other_clients: Any) -> None:
    options = {} if other_clients is None else {"other_clients": other_clients}
    number = await cancel_at_each_pass(
        cross_alone if other_clients is None else cross,
        is_through_or_cancelled,
        may_remain=STAYS,
        native=True,
        again_after=again_after,
        every=1 if other_clients is None else 3,
        **options,
    )
    assert number >= 20


async def test_a_waiting_member_that_is_cancelled_leaves_nothing() -> None:
    async with connected_clients("a") as (there, (client,)):
        before = ClientLeftovers.of(there, client)
        with pytest.raises(TimeoutError):
            with anyio.fail_after(3):
                async with barrier(client):
                    raise AssertionError("alone inside")
        await anyio.sleep(0.1)
        assert there.znodes() == STAYS
        assert ClientLeftovers.of(there, client) == before


async def test_a_limit_that_the_block_lifts_limits_only_the_wait() -> None:
    async with connected_clients("a") as (there, (client,)):
        with anyio.fail_after(3) as scope:
            async with barrier(client, 1):
                scope.deadline = math.inf
                await anyio.sleep(10)
        assert not scope.cancelled_caught
        assert there.znodes() == STAYS


async def test_a_waiting_member_that_is_cancelled_without_a_server_leaves_nothing() -> None:
    async with connected_clients("a") as (there, (client,)):
        lost = there.server.faults.lose_reply(OpCode.MULTI, path=READY)
        with anyio.move_on_after(1):
            async with anyio.create_task_group() as tasks:

                async def cut_off() -> None:
                    await lost.wait_used()
                    there.network.cut(source="a")

                tasks.start_soon(cut_off)
                async with barrier(client, 1):
                    raise AssertionError("entered without a reply")
        assert READY in there.znodes()
        there.network.heal()
        await anyio.sleep(TIMEOUT / 4)
        assert there.znodes() == STAYS


async def test_leaving_without_a_server_is_bounded_when_the_block_fails() -> None:
    async with connected_clients("a") as (there, (client,)):
        left_at = 0.0
        with pytest.raises(KeyError):
            async with barrier(client, 1):
                there.network.cut(source="a")
                left_at = anyio.current_time()
                raise KeyError
        assert anyio.current_time() - left_at <= TIMEOUT / 8 + 0.01
        there.network.heal()
        await anyio.sleep(TIMEOUT / 2)
        assert there.znodes() == STAYS

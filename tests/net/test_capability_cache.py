"""The remembered capabilities of servers, and the way a client recovers from a wrong guess."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_4, OPCODES_3_5, OPCODES_3_6, OldServer
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.enums import OpCode, ServerVersion
from zkrecipes.net.capability_cache import CapabilityCache
from zkrecipes.net.transport.network import Address
from zkrecipes.protocol.capabilities import Capabilities
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Greeting
from zkrecipes.protocol.watch_table import WatchTable

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

NEWEST = OPCODES_3_6 | {OpCode.WHO_AM_I}


async def test_no_second_connection_is_needed_to_learn_what_a_server_can_do() -> None:
    """A server that accepts no further connection of this address: `maxClientCnxns` is reached."""
    async with world() as there, there.connect("a") as client:
        there.network.refuse()
        async with client.watch("/", recursive=True), zk.Mutex(client, "/locks"):
            await client.create_with_stat("/n", b"")
            await client.whoami()
        async with zk.Group(client, "/group").join("a", b""):
            pass


RELEASES = {"3.4": OPCODES_3_4, "3.5": OPCODES_3_5, "3.6": OPCODES_3_6, "3.7": NEWEST}


@pytest.mark.parametrize("is_down_meanwhile", [False, True])
@pytest.mark.parametrize("then", RELEASES)
@pytest.mark.parametrize("first", RELEASES)
async def test_another_release_at_the_same_address_is_found_out(
    first: str, then: str, is_down_meanwhile: bool
) -> None:
    """An upgrade, or one that is rolled back; a reused address; a proxy in front of a mixed ensemble."""
    async with world() as there:
        server = OldServer(there.network, Address("zk", 2181), RELEASES[first], None)
        async with (
            server.serving(),
            zk.connect("old", network=there.network) as client,
            client.watch("/n") as events,
        ):
            session = client.session
            with suppress(zk.UnimplementedError):
                await client.whoami()
            if is_down_meanwhile:
                there.network.refuse(host="old")
            server.opcodes = RELEASES[then]
            there.network.reset(host="old")
            if is_down_meanwhile:
                await anyio.sleep(2)
                there.network.heal()
            # Without a pause an earlier refusal still counts, which breaks nothing.
            believed = first if first in {"3.5", "3.6"} and not is_down_meanwhile else "3.7"
            newest = min(then, believed)
            with anyio.fail_after(5):
                await client.exists("/n")
                await client.create("/n")
                path, _ = await client.create_with_stat("/m", b"")
                assert path == "/m"
                assert await _can(client.whoami()) is (newest >= "3.7")
                assert await _can(client.get_ephemerals()) is (newest >= "3.6")
                assert await _can(client.create("/c", container=True)) is (then >= "3.5")
            assert client.session is session
            if RELEASES[then] >= RELEASES[first]:
                with anyio.fail_after(5):
                    await anext(events)  # it continues, or was set again one by one


async def _can(asked: Awaitable[object]) -> bool:
    try:
        await asked
    except zk.UnimplementedError:
        return False
    return True


@pytest.mark.parametrize("then", RELEASES)
async def test_a_request_that_waits_for_a_server_is_not_sent_to_an_older_one(then: str) -> None:
    calls: dict[str, Callable[[zk.Client], Awaitable[object]]] = {
        "3.7": lambda client: client.whoami(),
        "3.6": lambda client: client.get_ephemerals(),
        "3.5": lambda client: client.create("/c", container=True),
        "3.4": lambda client: client.create("/n"),
    }
    done: dict[str, bool] = {}
    async with world() as there:
        server = OldServer(there.network, Address("zk", 2181), NEWEST, None)
        async with server.serving(), zk.connect("old", network=there.network) as client:
            await client.whoami()
            there.network.refuse(host="old")
            there.network.reset(host="old")
            server.opcodes = RELEASES[then]

            async def call(release: str) -> None:
                done[release] = await _can(calls[release](client))

            async with anyio.create_task_group() as tasks:
                for release in calls:
                    tasks.start_soon(call, release)
                await anyio.sleep(1)
                before = len(server.opcodes_seen)
                there.network.heal()
            assert done == {release: release <= then for release in calls}
            unknown = set(server.opcodes_seen[before:]) - RELEASES[then]
            assert unknown <= {OpCode.GET_ALL_CHILDREN_NUMBER, OpCode.WHO_AM_I}


async def test_a_server_that_leaves_a_question_unanswered_for_ever_is_left_after_a_bounded_time() -> None:
    async with world() as there, there.connect("a", session_timeout=6) as client:
        there.server.faults.drop_request(OpCode.GET_ALL_CHILDREN_NUMBER, times=2)
        with anyio.fail_after(5):
            async with client.watch("/n"):  # one-shot watches instead of a persistent one
                assert not there.count(OpCode.ADD_WATCH)
        with pytest.raises(zk.UnimplementedError):
            async with client.watch("/n", recursive=True):
                raise AssertionError("it is not known whether it can be")


async def test_a_connection_that_breaks_by_chance_shows_nothing_about_the_servers_version() -> None:
    async with world() as there, there.connect("a") as client:
        there.server.faults.drop_request(OpCode.GET_ALL_CHILDREN_NUMBER, times=1)
        async with client.watch("/n", recursive=True):
            assert there.count(OpCode.ADD_WATCH) == 1


async def test_breaks_by_chance_are_not_added_up_over_the_life_of_a_client() -> None:
    async with world() as there, there.connect("a") as client:
        for _ in range(3):
            there.server.faults.drop_request(OpCode.GET_ALL_CHILDREN_NUMBER, times=1)
            await client.get_ephemerals()
            there.network.reset()
            await anyio.sleep(2)


async def test_a_failed_pass_drops_earlier_refusals() -> None:
    async with world() as there, there.connect("a") as client:
        there.server.faults.drop_request(OpCode.GET_ALL_CHILDREN_NUMBER, times=2)
        with pytest.raises(zk.UnimplementedError):
            await client.get_ephemerals()
        there.network.refuse()
        there.network.reset()
        await anyio.sleep(1)
        there.network.heal()
        await client.get_ephemerals()


async def test_a_surprise_drops_the_guess() -> None:
    guesses, address = CapabilityCache(), Address("zk", 2181)
    side = ClientSide(Greeting(10.0), WatchTable(), now=0.0, packet_size_max=1000)
    side.probe.known = Capabilities(ServerVersion.V3_6)
    guesses.note_attached(address, side)
    assert guesses.guess(address).at_least is ServerVersion.V3_6
    side.probe.is_surprising = True
    assert not guesses.note_end(address, side)
    assert guesses.guess(address) == Capabilities()

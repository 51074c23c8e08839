"""Places in a queue: who goes first, and what becomes of a place when its request or its znode is lost."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, World, virtual_time, world
from zkrecipes.enums import OpCode
from zkrecipes.recipes.locking.layouts import MUTEXES, READERS, WRITERS
from zkrecipes.recipes.locking.queue import LockQueue, QueueNode
from zkrecipes.recipes.locking.queue_order import QueuedName, in_order, who_goes_before
from zkrecipes.recipes.znodes.directories import make_directory

anyio_backend = virtual_time()

KAZOO_LOCK = MUTEXES["kazoo"]

TOP = 2**31 - 1
BOTTOM = -(2**31)


def _name(sequence: int, guid: str = "f" * 32) -> str:
    return f"{guid}__lock__{sequence:010d}"


# --- who goes first: pure ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sequences",
    [
        [0, 1, 2, 9, 10, 11, 99, 100],
        [TOP - 1, TOP, BOTTOM, BOTTOM + 1],
        [-2, -1, 0, 1],
        [BOTTOM, -1],
        [999_999_999, 1_000_000_000],
        [TOP - 5, TOP, TOP + 1, TOP + 2],  # as a server with longer numbers would go on
        [-5, TOP, 2**40, 2**40 + 1, 2**62],
    ],
)
def test_order_is_that_of_the_server(sequences: list[int]) -> None:
    """Case 79."""
    names = [_name(sequence) for sequence in sequences]
    for shuffled in itertools.islice(itertools.permutations(names), 200):
        assert [entry.name for entry in in_order(shuffled, KAZOO_LOCK)] == names


def test_order_stays_right_wherever_the_counter_stands() -> None:
    rng = random.Random(7)
    for _ in range(300):
        first = rng.randrange(BOTTOM, TOP)
        ahead = sorted({0, *(rng.randrange(2**31) for _ in range(8))})
        wrapped = [(first + each - BOTTOM) % 2**32 + BOTTOM for each in ahead]
        names = [_name(sequence, rng.randbytes(16).hex()) for sequence in wrapped]
        shuffled = rng.sample(names, len(names))
        assert [entry.name for entry in in_order(shuffled, KAZOO_LOCK)] == names


def test_equal_numbers_are_ordered_by_name() -> None:
    """Case 79."""
    one, other = _name(5, "a" * 32), _name(5, "b" * 32)
    assert in_order([other, one], KAZOO_LOCK) == in_order([one, other], KAZOO_LOCK)
    assert who_goes_before([other, one], other, KAZOO_LOCK) == one


def test_foreign_and_malformed_names_have_no_place() -> None:
    names = ["lock", _name(3), "__lock__x", f"{'a' * 32}__rlock__0000000001", "", _name(2)]
    assert in_order(names, KAZOO_LOCK) == [
        QueuedName(_name(2), 2, "__lock__"),
        QueuedName(_name(3), 3, "__lock__"),
    ]


def test_each_waits_for_the_one_directly_before() -> None:
    names = [_name(sequence) for sequence in (TOP - 1, TOP, BOTTOM, BOTTOM + 1)]
    before = [who_goes_before(reversed(names), name, KAZOO_LOCK) for name in names]
    assert before == [None, *names[:-1]]


@pytest.mark.parametrize("layout", ["kazoo", "curator"])
def test_a_reader_waits_for_the_last_writer_and_a_writer_for_everybody(layout: str) -> None:
    write, read = WRITERS[layout], READERS[layout]
    guid = "0" * 32
    kinds = [read, read, write, read, read, write]
    names = [f"{kind.prefix(guid)}{number:010d}" for number, kind in enumerate(kinds)]
    before = [who_goes_before(names, name, kind) for name, kind in zip(names, kinds, strict=True)]
    assert before == [None, None, names[1], names[2], names[2], names[4]]


def test_who_is_not_in_the_queue_has_nobody_before() -> None:
    with pytest.raises(LookupError):
        who_goes_before([_name(1)], _name(2), KAZOO_LOCK)
    with pytest.raises(LookupError):
        who_goes_before([], _name(2), KAZOO_LOCK)


# --- places on a server --------------------------------------------------------------------------------


def _queue(client: zk.Client) -> LockQueue:
    return LockQueue(client, "/locks/job", KAZOO_LOCK, None)


@asynccontextmanager
async def _one_client() -> AsyncIterator[tuple[World, zk.Client]]:
    async with world() as there, there.connect("a") as client:
        yield there, client


@pytest.mark.anyio
async def test_a_place_is_taken_in_one_round_trip_and_its_token_is_the_czxid() -> None:
    async with _one_client() as (there, client):
        await make_directory(client, "/locks/job")
        place = QueueNode(_queue(client), b"me", is_one_try=True)
        await place.take()
        data, stat = await client.get(place.path)
        assert (data, stat.ephemeral_owner) == (b"me", client.session.id)
        assert place.token == stat.czxid
        assert place.first == place.path
        assert not place.is_blocked
        await place.leave()
        assert there.znodes() == {"/locks", "/locks/job"}


@pytest.mark.anyio
@pytest.mark.parametrize(("layout", "kind"), [("kazoo", "persistent"), ("curator", "container")])
async def test_the_directory_is_as_its_layout_wants_it_under_persistent_parents(
    layout: str, kind: str
) -> None:
    async with _one_client() as (there, client):
        await QueueNode(_queue(client)._replace(layout=MUTEXES[layout]), b"").take()
        kinds = {path: there.server.processor.tree.get(path).kind.value for path in ("/locks", "/locks/job")}
        assert kinds == {"/locks": "persistent", "/locks/job": kind}


@pytest.mark.anyio
async def test_a_create_whose_reply_was_lost_is_adopted() -> None:
    """Case 73."""
    async with _one_client() as (there, client):
        await make_directory(client, "/locks/job")
        lost = there.server.faults.lose_reply(OpCode.CREATE)
        place = QueueNode(_queue(client), b"")
        await place.take()
        assert lost.is_spent
        (left,) = there.znodes() - {"/locks", "/locks/job"}
        assert place.path == left
        # not before a quorum has answered: everything that the last server had forwarded is there then
        opcodes = [seen.opcode for seen in there.seen]
        assert opcodes[-3:] == [OpCode.MULTI, OpCode.GET_CHILDREN, OpCode.EXISTS]
        assert place.token == (await client.get(left)).stat.czxid


@pytest.mark.anyio
@pytest.mark.parametrize("owner", ["another session", "nobody"])
async def test_a_znode_with_our_guid_is_removed_if_it_is_not_our_sessions(owner: str) -> None:
    """Case 73, of another session."""
    async with _one_client() as (there, client), there.connect("rival") as rival:
        await make_directory(client, "/locks/job")
        lost = there.server.faults.lose_reply(OpCode.CREATE)
        place = QueueNode(_queue(client), b"")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.take)
            await lost.wait_used()
            there.network.cut(source="a")  # while it cannot look
            (made,) = there.znodes() - {"/locks", "/locks/job"}
            await rival.delete(made)
            await rival.create(made, ephemeral=owner == "another session")
            there.network.heal(source="a")
        (left,) = there.znodes() - {"/locks", "/locks/job"}
        assert place.path == left != made
        assert (await client.get(left)).stat.ephemeral_owner == client.session.id


@pytest.mark.anyio
async def test_a_znode_of_the_session_before_is_not_adopted() -> None:
    async with _one_client() as (there, client), there.connect("rival"):
        await make_directory(client, "/locks/job")
        first = client.session
        lost = there.server.faults.lose_reply(OpCode.CREATE)
        place = QueueNode(_queue(client), b"")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.take)
            await lost.wait_used()
            there.network.cut(source="a")
            there.server.expire(first.id)
            there.network.heal(source="a")
        assert client.session is not first
        assert place.session is client.session
        assert (await client.get(place.path)).stat.ephemeral_owner == client.session.id


@pytest.mark.anyio
async def test_waiting_goes_on_in_no_other_session() -> None:
    """A read that waits for a connection may be answered in the next session, where our znode is not."""
    async with _one_client() as (there, client), there.connect("rival") as rival:
        first, second = QueueNode(_queue(rival), b"first"), QueueNode(_queue(client), b"second")
        await first.take()
        await second.take()
        there.network.cut(source="a")
        there.network.reset(source="a")
        await anyio.sleep(0.1)

        async def come_back_in_another_session() -> None:
            await anyio.sleep(0.1)
            there.server.expire(client.session.id)
            there.network.heal(source="a")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(come_back_in_another_session)
            with anyio.fail_after(TIMEOUT):  # and not when the one before has left
                assert not await second.wait_turn()


@pytest.mark.anyio
async def test_a_list_that_is_too_large_is_told_and_leaves_nothing() -> None:
    async with world() as there, there.connect("a") as client:
        await client.ensure_path("/locks/job")
        for number in range(64):
            await client.create(f"/locks/job/foreign-{number:032d}")
        async with there.connect("b", max_packet_size=2048) as small:
            place = QueueNode(_queue(small), b"")
            with pytest.raises(zk.PacketTooLargeError):
                await place.take()
            await place.leave()
        assert not [path for path in there.znodes() if "__lock__" in path]


@pytest.mark.anyio
async def test_data_that_the_server_does_not_take_are_told_and_no_endless_loop() -> None:
    """It says nothing, and closes the connection: `jute.maxbuffer` is another number on either side."""
    async with world(max_packet_size=100_000) as there, there.connect("a") as client:
        place = QueueNode(_queue(client), bytes(200_000))
        with anyio.fail_after(TIMEOUT), pytest.raises(zk.ConnectionLossError, match="/locks/job"):
            await place.take()
        await place.leave()
        assert there.znodes() == set()


@pytest.mark.anyio
async def test_few_data_are_tried_again_however_often_the_connection_is_lost() -> None:
    async with _one_client() as (there, client):
        await make_directory(client, "/locks/job")
        lost = there.server.faults.drop_request(OpCode.CREATE, times=7)
        await QueueNode(_queue(client), b"me").take()
        assert lost.is_spent


@pytest.mark.anyio
async def test_a_directory_that_may_not_be_listed_is_told_and_the_znode_goes() -> None:
    """Case 83."""
    async with _one_client() as (there, client):
        await client.create("/locks")
        await client.create(
            "/locks/job", acl=[zk.ACL(zk.Perms.CREATE | zk.Perms.DELETE, zk.Id("world", "anyone"))]
        )
        place = QueueNode(_queue(client), b"")
        with pytest.raises(zk.NoAuthError):
            await place.take()
        await place.leave()
        assert there.znodes() == {"/locks", "/locks/job"}


@pytest.mark.anyio
async def test_a_directory_that_is_reaped_again_and_again_is_made_again() -> None:
    """Case 80."""
    async with _one_client() as (there, client), there.connect("reaper") as reaper:
        queue = _queue(client)
        places = []
        for _ in range(3):
            place = QueueNode(queue, b"")
            await place.take()
            places.append(place.path)
            await place.leave()
            await reaper.delete("/locks/job")
        # the counter begins anew each time, and the GUID tells the places apart
        assert len(set(places)) == 3
        assert {KAZOO_LOCK.tag_and_sequence_of(path) for path in places} == {("__lock__", 0)}


@pytest.mark.anyio
async def test_leaving_twice_or_before_taking_does_nothing() -> None:
    async with _one_client() as (there, client):
        place = QueueNode(_queue(client), b"")
        await place.leave()
        assert there.znodes() == set()
        await place.take()
        await place.leave()
        await place.leave()
        assert there.znodes() == {"/locks", "/locks/job"}

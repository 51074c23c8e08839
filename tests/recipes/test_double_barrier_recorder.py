"""The recorder of the double barrier's histories, with two clients that go through the steps by hand."""

from __future__ import annotations

import anyio
import pytest
import trio
from trio.testing import MockClock

import zkrecipes as zk
from tests.recipes.double_barrier_checker import (
    BlockBegan,
    BlockEnded,
    Crashed,
    Event,
    Left,
    Member,
    ReadyCreated,
    ReadyDeleted,
    Rule,
    SessionEnded,
    ZnodeCreated,
    ZnodeDeleted,
    check,
)
from tests.recipes.double_barrier_recorder import Recorder, merged
from tests.recipes.fault_sweep import TIMEOUT, virtual_time, world
from zkrecipes.testing import SimulatedEnsemble

anyio_backend = virtual_time()

A, B = Member("A"), Member("B")
PATH = "/steps"


async def go_through_a_round(recorder: Recorder, a: zk.Client, b: zk.Client) -> None:
    """Let A and B go through one round, with the transactions of the znode layout."""
    recorder.arrived(A)
    await a.create(f"{PATH}/a", b"A", ephemeral=True, make_parents=True)
    recorder.arrived(B)
    async with b.transaction() as transaction:
        transaction.create(f"{PATH}/b", b"B", ephemeral=True)
        transaction.create(f"{PATH}/ready")
    with recorder.block(B):
        await a.sync(PATH)
    with recorder.block(A):
        await a.set(PATH, b"no event of the barrier")
    await a.delete(f"{PATH}/a")
    async with b.transaction() as transaction:
        transaction.delete(f"{PATH}/b")
        transaction.delete(f"{PATH}/ready")
    recorder.left(B)
    recorder.left(A)
    recorder.settled()


async def create_and_fail(client: zk.Client) -> None:
    async with client.transaction() as transaction:
        transaction.create(f"{PATH}/a", ephemeral=True)
        transaction.check("/nothing")


def in_short(events: list[Event]) -> list[str]:
    return [f"{type(event).__name__} {getattr(event, 'member', '') or ''}".strip() for event in events]


ROUND = [
    *("Arrived A.1", "ZnodeCreated A.1", "Arrived B.1", "ZnodeCreated B.1", "ReadyCreated"),
    *("BlockBegan B.1", "BlockEnded B.1", "BlockBegan A.1", "BlockEnded A.1", "ZnodeDeleted"),
    *("ZnodeDeleted", "ReadyDeleted", "Left B.1", "Left A.1", "Settled"),
]


@pytest.mark.anyio
async def test_a_round_on_a_dev_server() -> None:
    recorder = Recorder(PATH)
    async with world() as there, there.connect("A") as a, there.connect("B") as b:
        recorder.follow_server(there.server)
        assert [recorder.register("A", a), recorder.register("B", b)] == [A, B]
        await go_through_a_round(recorder, a, b)
    assert in_short(recorder.events)[: len(ROUND)] == ROUND
    assert check(recorder.events, parties=2) == []


@pytest.mark.anyio
async def test_the_data_distinguish_members_of_one_client() -> None:
    recorder = Recorder(PATH)
    async with world() as there, there.connect("both") as client:
        recorder.follow_server(there.server)
        recorder.register("A", client)
        recorder.register("B", client)
        await go_through_a_round(recorder, client, client)
    assert in_short(recorder.events)[: len(ROUND)] == ROUND
    assert check(recorder.events, parties=2) == []


@pytest.mark.anyio
async def test_a_transaction_that_fails_leaves_no_event() -> None:
    recorder = Recorder(PATH)
    async with world() as there, there.connect("A") as a:
        recorder.follow_server(there.server)
        await a.create(PATH)
        with pytest.raises(zk.TransactionError):
            await create_and_fail(a)
    assert recorder.events == []


@pytest.mark.anyio
async def test_a_crash_an_expiry_and_the_next_incarnation() -> None:
    recorder = Recorder(PATH)
    async with world() as there, there.connect("A") as a:
        recorder.follow_server(there.server)
        recorder.register("A", a)
        recorder.arrived(A)
        await a.create(f"{PATH}/a", b"A", ephemeral=True, make_parents=True)
        session = a.session.id
        there.network.cut(source="A")
        recorder.crashed(A)
        recorder.left(A)  # a dead process records nothing
        async with there.connect("A2") as again:
            assert recorder.register("A", again) == Member("A", 2)
            await anyio.sleep(2 * TIMEOUT)
    created = recorder.events[1]
    assert isinstance(created, ZnodeCreated)
    gone = created.zxid + 2  # in between, the next incarnation creates its session
    assert recorder.events[2:] == [Crashed(A), SessionEnded(gone, session), ZnodeDeleted(gone, "a", None)]


@pytest.mark.anyio
async def test_a_session_that_the_test_ends_is_recorded_as_forced() -> None:
    recorder = Recorder(PATH)
    async with world() as there, there.connect("A") as a:
        recorder.follow_server(there.server)
        recorder.register("A", a)
        await a.create(f"{PATH}/a", b"A", ephemeral=True, make_parents=True)
        there.server.expire(a.session.id)
    assert [event.is_forced for event in recorder.events if isinstance(event, SessionEnded)] == [True]


@pytest.mark.anyio
async def test_a_client_that_is_not_registered_is_not_ours() -> None:
    recorder = Recorder(PATH)
    async with world() as there, there.connect("curator") as other:
        recorder.follow_server(there.server)
        await other.create(f"{PATH}/a", b"", ephemeral=True, make_parents=True)
        await other.create(f"{PATH}/ready")
        await other.delete(f"{PATH}/ready")
        session = other.session.id
        znode, ready, removed = recorder.events
    assert isinstance(znode, ZnodeCreated)
    assert znode.member is None
    assert isinstance(ready, ReadyCreated)
    assert ready == ReadyCreated(ready.zxid, session, is_ours=False)
    assert removed == ReadyDeleted(ready.zxid + 1, session, is_ours=False)


def test_a_round_on_a_simulated_ensemble() -> None:
    recorder = Recorder(PATH)

    async def main() -> None:
        async with SimulatedEnsemble() as ensemble:
            network = ensemble.network
            async with (
                zk.connect(ensemble.connect_string, network=network) as a,
                zk.connect(ensemble.connect_string, network=network) as b,
            ):
                recorder.follow_ensemble(ensemble)
                recorder.register("A", a)
                recorder.register("B", b)
                await go_through_a_round(recorder, a, b)
                recorder.arrived(A)
                await a.create(f"{PATH}/a", b"A", ephemeral=True)
                recorder.expect_forced_end(a.session.id)
                ensemble.expire(a.session.id)
                await ensemble.session_ended(a.session.id)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    end = ["Arrived A.1", "ZnodeCreated A.1", "SessionEnded", "ZnodeDeleted", "SessionEnded"]
    assert in_short(recorder.events) == ROUND + end
    assert check(recorder.events, parties=2) == []


def test_a_wrong_recipe_is_found_in_the_recording() -> None:
    recorder = Recorder(PATH)

    async def main() -> None:
        async with world() as there, there.connect("A") as a:
            recorder.follow_server(there.server)
            recorder.register("A", a)
            recorder.arrived(A)
            await a.create(f"{PATH}/a", b"A", ephemeral=True, make_parents=True)
            await a.create(f"{PATH}/ready")
            with recorder.block(A):
                await trio.sleep(1)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [violation.rule for violation in check(recorder.events, parties=2)] == [Rule.PARTIES]


# --- histories of several processes ------------------------------------------------------------------------


def test_merging_places_an_event_after_the_transactions_its_member_had_seen() -> None:
    created, ready, deleted = ZnodeCreated(1, "a", 1, A), ReadyCreated(2, 1), ZnodeDeleted(3, "a", 1)
    # The time of `ready` in the server's log is too late, as the zxid that A had seen shows.
    transactions: list[tuple[float, Event]] = [(1.0, created), (2.5, ready), (4.0, deleted)]
    reported: list[tuple[float, Event]] = [(3.0, BlockEnded(A, 2)), (2.0, BlockBegan(A, 2)), (4.5, Left(A))]
    events = merged(transactions, reported)
    assert events == [created, ready, BlockBegan(A, 2), BlockEnded(A, 2), deleted, Left(A)]

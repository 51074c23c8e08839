"""Holds are proven by checks: when these are sent, the effect of their answers, and the end without them."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.far_network import far_network
from tests.recipes.fault_sweep import TIMEOUT, AliasNetwork, ReceivedRequest, World, virtual_time, world
from zkrecipes.codec.messages import CheckRequest, CreateReply, ErrorReply
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.enums import OpCode
from zkrecipes.net.hold_guard import Guard
from zkrecipes.net.holds import Holds
from zkrecipes.net.session import Session, SessionRecord
from zkrecipes.protocol.events import Connected, Replied
from zkrecipes.protocol.send_window import FIRST_SIZE

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

EIGHTH = TIMEOUT / 8
SIXTEENTH = TIMEOUT / 16


def _checks(there: World, since: float = 0.0) -> list[ReceivedRequest]:
    return [seen for seen in there.requests if isinstance(seen.request, MultiRequest) and seen.at >= since]


# --- the heartbeat -------------------------------------------------------------------------------------


async def test_a_check_goes_out_each_sixteenth_of_a_timeout() -> None:
    async with world() as there, there.connect("a") as client:
        async with zk.Mutex(client, "/lock") as hold:
            entered = anyio.current_time()
            await anyio.sleep(TIMEOUT)
            checks = _checks(there, since=entered + 0.1)
            assert {check.request for check in checks} == {MultiRequest((CheckRequest(hold.path, -1),))}
            times = [check.at for check in checks]
            assert len(times) in (15, 16)
            gaps = [later - earlier for earlier, later in pairwise(times)]
            assert gaps == pytest.approx([SIXTEENTH] * len(gaps), abs=1e-3)


async def test_one_multi_checks_all_holds_of_a_session() -> None:
    async with world() as there, there.connect("a") as client:
        async with zk.Mutex(client, "/one") as one, zk.Mutex(client, "/two") as two:
            started = anyio.current_time() + 0.1
            await anyio.sleep(TIMEOUT / 2)
            checks = _checks(there, since=started)
            assert len(checks) in (7, 8)
            for check in checks:
                assert {each.path for each in check.request.operations} == {one.path, two.path}
        left = anyio.current_time()
        await anyio.sleep(TIMEOUT / 2)
        assert _checks(there, since=left + 0.01) == []


async def test_without_holds_there_are_no_checks() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/a")
        await anyio.sleep(2 * TIMEOUT)
        assert _checks(there) == []
        assert there.count(OpCode.MULTI) == 0


async def test_checks_change_nothing_and_fire_no_watch() -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        async with zk.Mutex(client, "/lock") as hold:
            before = (await other.get(hold.path)).stat
            async with other.get_and_watch(hold.path) as (_, changed):
                await anyio.sleep(2 * TIMEOUT)
                assert not changed.has_fired
                assert (await other.get(hold.path)).stat == before


async def test_a_hold_lasts_while_it_is_proven() -> None:
    async with world() as there, there.connect("a") as client:
        async with zk.Mutex(client, "/lock") as hold:
            for _ in range(40):
                await anyio.sleep(TIMEOUT)
                hold.check()


# --- servers that do not answer ------------------------------------------------------------------------


async def test_a_server_that_does_not_answer_a_check_is_left_for_another() -> None:
    async with world() as there:
        aliases = AliasNetwork(there)
        async with zk.connect("zk1,zk2", session_timeout=TIMEOUT, network=aliases) as client:
            session = client.session
            async with zk.Mutex(client, "/lock") as hold:
                await anyio.sleep(TIMEOUT)
                (first,) = {
                    host for _, host in aliases.opened
                }  # the question about the version is sent there as well
                cut_at = anyio.current_time()
                there.network.cut(source=first)
                await anyio.sleep(TIMEOUT / 2)
                (moved_at, host) = aliases.opened[-1]
                assert host != first
                # the next check is due within a sixteenth, and may stay unanswered for an eighth
                assert EIGHTH <= moved_at - cut_at <= SIXTEENTH + EIGHTH + 0.01
                assert client.session is session
                await anyio.sleep(4 * TIMEOUT)
                hold.check()
            assert await client.get_children("/lock") == []


async def test_a_server_with_a_backlog_is_not_left() -> None:
    """A server that answers the requests before the check works, however long the check has waited."""
    async with world() as there, there.connect("a") as client:
        await client.create("/data", bytes(1000))
        async with zk.Mutex(client, "/lock") as hold:
            (link,) = (link for link in there.network.links if link.source == "a" and link.is_open)
            line = link.to_client
            line.hold()
            line.chunk_size = 500
            async with client.pipeline() as pipe:
                replies = [pipe.get("/data") for _ in range(FIRST_SIZE)]
                for reply in replies:
                    await anyio.sleep(SIXTEENTH / 3)
                    line.release()
                    while not reply.is_done:
                        await anyio.lowlevel.checkpoint()
                    line.hold()
                assert anyio.current_time() - _checks(there)[-1].at > 2 * EIGHTH
                line.release()
            assert link.is_open
            hold.check()


async def test_a_partition_ends_the_block_before_the_lock_is_given_away() -> None:
    """Case 17."""
    async with world() as there, there.connect("a") as client, there.connect("rival") as rival:
        times: dict[str, float] = {}

        async def take_over() -> None:
            async with zk.Mutex(rival, "/lock"):
                times["given away"] = anyio.current_time()

        async with anyio.create_task_group() as tasks:
            with pytest.raises(zk.LockLostError, match="the session could not be proven alive in time"):
                async with zk.Mutex(client, "/lock") as hold:
                    tasks.start_soon(take_over)
                    await anyio.sleep(2 * TIMEOUT)
                    there.network.cut(source="a")
                    times["cut"] = anyio.current_time()
                    try:
                        await anyio.sleep_forever()
                    finally:
                        times["cancelled"] = anyio.current_time()
                        times["valid until"] = hold.valid_until
            times["left"] = anyio.current_time()
        # an eighth before the end of the proof, which is left for the clean-up …
        assert times["cancelled"] == pytest.approx(times["valid until"] - EIGHTH, abs=0.01)
        assert times["left"] <= times["valid until"] + 0.01
        # … which is over before the session is: a timeout after its last sign of life
        assert times["valid until"] < times["given away"]
        assert times["cut"] + TIMEOUT - SIXTEENTH <= times["given away"]


async def test_an_outage_shorter_than_the_proof_costs_nothing() -> None:
    async with world() as there, there.connect("a") as client:
        async with zk.Mutex(client, "/lock") as hold:
            for _ in range(5):
                await anyio.sleep(TIMEOUT)
                there.network.cut(source="a")
                there.network.reset(source="a")
                # validity left in the worst case, less the eighth for the clean-up and the time to reconnect
                await anyio.sleep(TIMEOUT * 6 / 16)
                there.network.heal()
                await anyio.sleep(EIGHTH)
                hold.check()


async def test_a_client_that_knows_the_tick_survives_longer_outages() -> None:
    left = {}
    for tick_time in (None, 2.0):
        async with world() as there, there.connect("a", tick_time=tick_time) as client:
            async with zk.Mutex(client, "/lock") as hold:
                await anyio.sleep(TIMEOUT)
                left[tick_time] = hold.remaining()
    assert left[2.0] - left[None] == pytest.approx(TIMEOUT / 4 - 1, abs=SIXTEENTH)


async def test_a_smaller_timeout_of_a_new_server_ends_holds_earlier() -> None:
    async with world() as there, there.connect("a") as client:
        sessions = there.server.processor.sessions
        async with zk.Mutex(client, "/lock") as hold:
            await anyio.sleep(TIMEOUT)
            sessions.timeout_max = TIMEOUT / 2
            there.server.drop_connections()
            await anyio.sleep(1)
            assert client.session.timeout == TIMEOUT / 2
            assert hold.remaining() <= TIMEOUT / 2
            started = anyio.current_time()
            await anyio.sleep(TIMEOUT)
            hold.check()
            times = [check.at for check in _checks(there, since=started)]
            assert times[1] - times[0] == pytest.approx(SIXTEENTH / 2, abs=1e-3)


# --- what ends a hold ----------------------------------------------------------------------------------


async def test_the_next_check_reports_a_deleted_znode_and_the_others_are_checked_on() -> None:
    async with world() as there, there.connect("a") as client, there.connect("admin") as admin:
        async with zk.Mutex(client, "/one") as one:
            with pytest.raises(zk.LockLostError, match="its znode was deleted"):
                async with zk.Mutex(client, "/two") as two:
                    await anyio.sleep(SIXTEENTH / 2)
                    await admin.delete(two.path)
                    deleted_at = anyio.current_time()
                    try:
                        await anyio.sleep_forever()
                    finally:
                        assert anyio.current_time() - deleted_at <= SIXTEENTH + 0.01
            # the rest is checked again at once
            again = _checks(there, since=deleted_at)
            assert [len(check.request.operations) for check in again[:2]] == [2, 1]
            assert again[1].at - again[0].at < 0.01
            await anyio.sleep(TIMEOUT)
            one.check()


async def test_a_session_expired_by_the_server_ends_every_hold() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(zk.LockLostError, match="session expired"):
            async with zk.Mutex(client, "/one"):
                with pytest.raises(zk.LockLostError, match="session expired"):
                    async with zk.Mutex(client, "/two"):
                        there.server.expire(client.session.id)
                        expired_at = anyio.current_time()
                        await anyio.sleep_forever()
                assert anyio.current_time() - expired_at < SIXTEENTH
                await anyio.sleep_forever()
        # and the client continues in another session
        async with zk.Mutex(client, "/one") as hold:
            hold.check()


async def test_a_server_that_was_rolled_back_ends_the_hold() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(zk.LockLostError):
            async with zk.Mutex(client, "/lock"):
                await there.server.restart(keep=False)
                await anyio.sleep_forever()


async def test_the_end_of_the_client_ends_the_hold() -> None:
    async with world() as there:
        async with anyio.create_task_group() as tasks:
            is_held = anyio.Event()

            async def hold_on() -> None:
                with pytest.raises(zk.LockLostError, match="the client is closed"):
                    async with zk.Mutex(client, "/lock"):
                        is_held.set()
                        await anyio.sleep_forever()

            async with there.connect("a") as client:
                tasks.start_soon(hold_on)
                await is_held.wait()
        assert there.znodes() == {"/lock"}


async def test_a_hold_of_another_task_ends_before_its_client_closes_the_session() -> None:
    """Not when the close is answered: by then the server has given the lock away."""
    order: list[str] = []
    async with world() as there, there.connect("rival") as rival, anyio.create_task_group() as tasks:
        is_held = anyio.Event()

        async def hold_on() -> None:
            with pytest.raises(zk.LockLostError, match="the client is closed"):
                async with zk.Mutex(client, "/lock"):
                    is_held.set()
                    try:
                        await anyio.sleep_forever()
                    finally:
                        order.append("out")

        async def take_over() -> None:
            async with zk.Mutex(rival, "/lock"):
                order.append("in")

        def hold_back(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.CLOSE_SESSION:
                order.append("closed")

        there.before_request = hold_back
        async with there.connect("a") as client:
            tasks.start_soon(hold_on)
            await is_held.wait()
            tasks.start_soon(take_over)
            await anyio.sleep(1)
    assert order[0] == "out"
    assert order[1:3] == ["closed", "in"]


async def test_a_lock_made_just_before_its_client_closes_the_session_is_not_entered() -> None:
    """Its creation is answered before the close is, and after the server has given the lock away."""
    entered: list[str] = []
    async with world() as there, there.connect("rival") as rival, far_network(there, 0.2) as far:

        async def enter(client: zk.Client, name: str, after: float = 0.0) -> None:
            await anyio.sleep(after)
            async with zk.Mutex(client, "/lock"):
                entered.append(name)

        async def enter_far_away() -> None:
            with pytest.raises(zk.SessionClosedError):
                await enter(client, "far")

        async with anyio.create_task_group() as tasks:
            async with there.connect("far", network=far) as client:
                await enter(client, "before")
                tasks.start_soon(enter_far_away)
                await anyio.sleep(0.05)
                tasks.start_soon(enter, rival, "rival", 0.07)  # queues up while the close is under way
        assert entered == ["before", "rival"]


async def test_without_renewal_the_clients_block_also_ends() -> None:
    """The body of the lock is cancelled, and then that of the client; the first to raise is a race."""
    async with world() as there:
        with pytest.raises((zk.SessionExpiredError, zk.LockLostError)):
            async with there.connect("a", renew=False) as client:
                async with zk.Mutex(client, "/lock"):
                    there.server.expire(client.session.id)
                    await anyio.sleep_forever()


# --- Holds and Guard without a client ------------------------------------------------------------------


class Desk:
    """`Holds` without a client: the test answers its checks."""

    def __init__(self) -> None:
        self.hurried = 0
        self.holds = Holds(None, self._hurry)
        self.session = SessionRecord(TIMEOUT).handle
        self.holds.begin(self.session)

    def _hurry(self) -> None:
        self.hurried += 1

    def attach(self, timeout: float = TIMEOUT) -> None:
        self.holds.attached(Connected(1, bytes(16), timeout, read_only=False, sent_at=anyio.current_time()))

    def send(self) -> Any:
        (ticket,) = self.holds.take_due_checks(anyio.current_time())
        ticket.sent_at = anyio.current_time()
        return ticket

    def answer(self, ticket: Any, *codes: int) -> bool:
        results = tuple(ErrorReply(code) for code in codes)
        return self.holds.receive_reply(Replied(ticket, MultiReply(results), None, 1), anyio.current_time())

    def prove(self) -> None:
        ticket = self.send()
        assert self.answer(ticket, *(0 for _ in ticket.request.operations))

    def guard(self, path: str = "/lock/1") -> Guard:
        return Guard(self.holds.add(path, self.session))


async def test_a_guard_is_proven_by_the_first_check_that_finds_it() -> None:
    desk = Desk()
    desk.attach()
    guard = desk.guard()
    assert desk.hurried == 1
    assert bool(desk.holds)
    assert guard.valid_until == float("-inf")
    assert guard.loss_reason() == ""
    desk.prove()
    assert await guard.wait_proven()
    assert guard.valid_until == pytest.approx(anyio.current_time() + TIMEOUT * 15 / 16)
    assert desk.holds.cancel_at == pytest.approx(guard.valid_until - EIGHTH)
    guard.release()
    assert not desk.holds
    assert desk.holds.take_due_checks(anyio.current_time() + TIMEOUT) == []


async def test_a_check_proves_no_guard_that_it_does_not_name() -> None:
    desk = Desk()
    desk.attach()
    first = desk.guard("/lock/1")
    ticket = desk.send()
    second = desk.guard("/lock/2")
    assert desk.answer(ticket, 0)
    assert (first.is_proven, second.is_proven) == (True, False)
    assert second.valid_until == float("-inf")
    desk.prove()  # at once, because it was requested
    assert second.is_proven


async def test_a_smaller_timeout_moves_the_end_nearer_before_any_check() -> None:
    desk = Desk()
    desk.attach()
    guard = desk.guard()
    desk.prove()
    desk.holds.detached()
    desk.attach(timeout=TIMEOUT / 4)
    now = anyio.current_time()
    assert desk.holds.cancel_at == pytest.approx(now + TIMEOUT / 4 * (15 / 16 - 1 / 8))
    desk.holds.detached()
    desk.attach(timeout=TIMEOUT)  # and a larger one does not move it away again
    assert guard.valid_until == pytest.approx(now + TIMEOUT / 4 * 15 / 16)


async def test_a_reply_to_another_request_proves_nothing() -> None:
    desk = Desk()
    desk.attach()
    guard = desk.guard()
    ticket = desk.send()
    other = type(ticket)(ticket.request)
    assert not desk.answer(other, 0)
    assert not guard.is_proven
    desk.holds.detached()
    assert not desk.answer(ticket, 0)  # of the previous connection
    assert not guard.is_proven


async def test_an_error_of_the_whole_check_ends_no_hold() -> None:
    desk = Desk()
    desk.attach()
    guard = desk.guard()
    ticket = desk.send()
    error = zk.ThrottledError()
    assert desk.holds.receive_reply(Replied(ticket, None, error, 0), anyio.current_time())
    assert (guard.is_proven, guard.loss_reason()) == (False, "")
    await anyio.sleep(SIXTEENTH)
    desk.prove()
    assert guard.is_proven


@pytest.mark.parametrize(
    ("code", "reason", "is_unreadable"),
    [(zk.NoNodeError.code, "deleted", False), (zk.NoAuthError.code, "may not read its znode", True)],
)
async def test_the_first_that_fails_is_lost_and_no_other(
    code: int, reason: str, is_unreadable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    desk = Desk()
    desk.attach()
    guards = [desk.guard(f"/lock/{number}") for number in range(3)]
    desk.prove()
    for guard in guards:
        guard.scope.__enter__()
    await anyio.sleep(SIXTEENTH)
    assert desk.answer(desk.send(), 0, code, zk.RuntimeInconsistencyError.code)
    assert [bool(guard.loss_reason()) for guard in guards] == [False, True, False]
    assert reason in guards[1].loss_reason()
    assert guards[1].is_unreadable is is_unreadable
    assert [guard.scope.cancel_called for guard in guards] == [False, True, False]
    for guard in reversed(guards):
        guard.scope.__exit__(None, None, None)
    assert len(caplog.messages) == 1
    desk.prove()  # the rest, at once
    assert not guards[0].loss_reason()


async def test_a_check_that_succeeded_with_other_results_counts_as_well() -> None:
    desk = Desk()
    desk.attach()
    guard = desk.guard()
    ticket = desk.send()
    reply = MultiReply((CreateReply("/unlikely"),))
    assert desk.holds.receive_reply(Replied(ticket, reply, None, 1), anyio.current_time())
    assert guard.is_proven


async def test_a_guard_for_a_session_that_is_over_is_lost_from_the_start() -> None:
    desk = Desk()
    desk.attach()
    before, desk.session = desk.session, SessionRecord(TIMEOUT).handle
    desk.holds.begin(desk.session)
    guard = Guard(desk.holds.add("/lock/1", before))
    assert not await guard.wait_proven()
    assert guard.loss_reason() == "its session is over"
    assert not desk.holds


async def test_a_lost_guard_stays_lost() -> None:
    desk = Desk()
    desk.attach()
    record = desk.holds.add("/lock/1", desk.session)
    guard = Guard(record)
    desk.prove()
    await anyio.sleep(TIMEOUT)
    assert "could not be proven alive" in guard.loss_reason()
    assert not desk.holds
    record.lose("another reason")
    guard.release()
    assert "could not be proven alive" in guard.loss_reason()
    assert guard.valid_until == float("-inf")


async def test_the_end_of_the_session_gives_each_guard_its_reason() -> None:
    desk = Desk()
    desk.attach()
    guards = [desk.guard(f"/lock/{number}") for number in range(2)]
    desk.prove()
    desk.holds.end("because")
    assert [guard.loss_reason() for guard in guards] == ["because"] * 2
    assert not await guards[0].confirm()


async def test_after_the_end_of_its_holds_no_other_one_begins_in_the_session() -> None:
    holds, session = await _holds_of_a_session()
    evidence = holds.evidence()
    holds.end("the client is closed")
    assert holds.add("/lock", session, made=evidence).loss_reason() == "its session is over"
    assert holds.add("/other", session).loss_reason() == "its session is over"
    assert not holds


async def test_a_wait_for_the_first_proof_can_be_cancelled() -> None:
    desk = Desk()
    desk.attach()
    guard = desk.guard()
    with anyio.move_on_after(1):
        await guard.wait_proven()
    assert bool(desk.holds)
    guard.release()
    assert not desk.holds


# --- the proof by the creation of a hold's znode ----------------------------------------------------------


def _attached(holds: Holds) -> None:
    holds.attached(Connected(7, bytes(16), TIMEOUT, False, anyio.current_time()))


async def _holds_of_a_session() -> tuple[Holds, Session]:
    session = SessionRecord(TIMEOUT).handle
    holds = Holds(None, lambda: None)
    holds.begin(session)
    _attached(holds)
    return holds, session


async def test_a_creation_that_proves_enough_proves_the_hold_at_once() -> None:
    holds, session = await _holds_of_a_session()
    guard = holds.add("/lock", session, made=holds.evidence())
    assert guard.is_proven
    assert guard.valid_until == pytest.approx(anyio.current_time() + TIMEOUT * 15 / 16)
    assert holds.checks.next_deadline() == pytest.approx(anyio.current_time() + SIXTEENTH)


async def test_a_creation_on_another_connection_proves_nothing_here() -> None:
    holds, session = await _holds_of_a_session()
    evidence = holds.evidence()
    holds.detached()
    _attached(holds)
    assert not holds.add("/lock", session, made=evidence).is_proven


async def test_a_creation_that_proves_too_little_is_followed_by_a_check_at_once() -> None:
    holds, session = await _holds_of_a_session()
    evidence = holds.evidence()
    await anyio.sleep(TIMEOUT * 5 / 8)
    guard = holds.add("/lock", session, made=evidence)
    assert not guard.is_proven
    assert holds.take_due_checks(anyio.current_time())


async def test_a_creation_proves_nothing_of_the_other_znodes_of_a_hold() -> None:
    holds, session = await _holds_of_a_session()
    guard = holds.add("/lock", session, also=("/beside",), made=holds.evidence())
    assert not guard.is_proven
    (ticket,) = holds.take_due_checks(anyio.current_time())
    assert ticket.request == MultiRequest((CheckRequest("/lock", -1), CheckRequest("/beside", -1)))

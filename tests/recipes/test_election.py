"""Election: the order of the leaders, the reports to observers, and the znodes left behind after faults."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

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
from zkrecipes.devserver import FaultKind
from zkrecipes.devserver.fault_injector import paths_of
from zkrecipes.devserver.processor import Reply
from zkrecipes.enums import OpCode
from zkrecipes.recipes.following.latest_value import LatestReader
from zkrecipes.recipes.locking.lock_layouts import ELECTIONS, ElectionLayoutName

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

DIRECTORY = "/services/leader"
STAYS = {"/services", DIRECTORY}

Leaders = LatestReader[zk.Contender | None]


def _election(client: zk.Client, name: str = "me", **options: Any) -> zk.Election:
    return zk.Election(client, DIRECTORY, identifier=name, **options)


async def _until_candidates(client: zk.Client, number: int) -> None:
    while len(await _election(client).contenders()) < number:
        await anyio.lowlevel.checkpoint()


async def _next(leaders: Leaders) -> str | None:
    """Return the identifier of the next leader; it must be reported soon."""
    with anyio.fail_after(TIMEOUT / 8):
        leader = await anext(leaders)
    return None if leader is None else leader.identifier


async def _stays(leaders: Leaders) -> bool:
    """Whether no leader is reported for a while."""
    with anyio.move_on_after(TIMEOUT / 8):
        await anext(leaders)
        return False
    return True


def _remove(there: World, path: str) -> None:
    """Remove a znode on the server now, as its owner does on leaving."""
    there.server.processor.tree.remove(path, there.server.processor.zxid)


# --- leading -------------------------------------------------------------------------------------------


async def test_a_candidate_leads_inside_the_block_and_not_after_it() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _election(client, data=b"10.0.0.7:8080").lead() as leadership:
            assert there.znodes() == {*STAYS, leadership.path}
            assert (await client.get(leadership.path)).data == b"10.0.0.7:8080"
            with pytest.raises(zk.AcquireTimeoutError):
                async with _election(other).lead(wait=0):
                    raise AssertionError("two leaders")
            leadership.check()
            await leadership.confirm()
        assert there.znodes() == STAYS
        with pytest.raises(zk.LeadershipLostError, match="its block has ended"):
            leadership.check()
        async with _election(other).lead(wait=0) as next_leadership:
            assert next_leadership.fencing_token > leadership.fencing_token


async def test_building_an_election_does_no_io_and_refuses_invalid_arguments() -> None:
    async with connected_clients("a") as (there, (client,)):
        before = len(there.requests)
        election = zk.Election(client, DIRECTORY)
        assert election.identifier == f"{socket.gethostname()}:{os.getpid()}"
        assert repr(election) == f"<Election {DIRECTORY} {election.identifier}>"
        with pytest.raises(ValueError, match="path"):
            zk.Election(client, "leader")
        with pytest.raises(ValueError, match=r"layout must be one of kazoo, curator-latch, .*not 'curator'"):
            zk.Election(client, DIRECTORY, layout="curator")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"must give its owner READ|at least one entry"):
            zk.Election(client, DIRECTORY, acl=[])
        with pytest.raises(TypeError, match="must be bytes or None, not str"):
            zk.Election(client, DIRECTORY, data="10.0.0.7:8080")  # type: ignore[arg-type]  # the point
        with pytest.raises(ValueError, match="data must have at most"):
            zk.Election(client, DIRECTORY, data=bytes(20_000_000))
        assert len(there.requests) == before


@pytest.mark.parametrize("layout", sorted(ELECTIONS))
async def test_each_layout_has_its_names_and_a_leader(layout: ElectionLayoutName) -> None:
    async with connected_clients("a") as (_, (client,)):
        election = _election(client, "ü", layout=layout)
        async with election.lead() as leadership:
            assert ELECTIONS[layout].tag_and_sequence_of(leadership.path) is not None
            leader = await election.leader()
        assert leader == zk.Contender(
            "ü", leadership.path, leadership.fencing_token, client.session.id, "ü".encode()
        )


async def test_data_that_is_not_utf_8() -> None:
    """It is allowed in kazoo's layout; Curator's clients cannot read it."""
    async with connected_clients("a") as (_, (client,)):
        election = _election(client, data=b"\xff\x00")
        async with election.lead():
            leader = await election.leader()
            assert leader is not None
            assert (leader.data, leader.identifier) == (b"\xff\x00", "\ufffd\x00")
            assert await election.contenders() == [leader]
        for layout in ("curator-latch", "curator-selector"):
            with pytest.raises(ValueError, match=f"data must be UTF-8 in the layout '{layout}'"):
                _election(client, data=b"\xff", layout=layout)


async def test_the_same_task_again_is_an_error_instead_of_waiting_for_itself() -> None:
    async with connected_clients("a") as (there, (client,)):
        election = _election(client)
        async with election.lead() as leadership:
            with pytest.raises(RuntimeError, match=r"this task has already entered .*Election"):
                async with election.lead():
                    pass
            with pytest.raises(RuntimeError, match=r"this task has already entered .*Election"):
                await election.run(_never_called)
            leadership.check()
            assert there.znodes() == {*STAYS, leadership.path}


async def _never_called(_: zk.Hold) -> None:
    raise AssertionError("two leaders")


async def test_candidates_lead_in_the_order_of_their_arrival() -> None:
    names = ["a", "b", "c", "d"]
    async with connected_clients(*names) as (there, clients), anyio.create_task_group() as tasks:
        led: list[str] = []
        over = [anyio.Event() for _ in names]
        for number, (name, client, event) in enumerate(zip(names, clients, over, strict=True), 1):
            tasks.start_soon(_lead_until_over, client, name, led, event)
            await _until_candidates(clients[0], number)
        assert [each.identifier for each in await _election(clients[0]).contenders()] == names
        for number, event in enumerate(over, 1):
            await anyio.sleep(1)
            assert led == names[:number]
            leader = await _election(clients[0]).leader()
            assert leader is not None
            assert leader.identifier == names[number - 1]
            event.set()
        await anyio.sleep(1)
        assert there.znodes() == STAYS


async def _lead_until_over(client: zk.Client, name: str, led: list[str], over: anyio.Event) -> None:
    async with _election(client, name).lead() as leadership:
        led.append(name)
        await over.wait()
        leadership.check()


async def test_a_leader_that_steps_down_is_succeeded_immediately() -> None:
    """The next one does not wait for the end of its session, which continues."""
    async with connected_clients("a", "b") as (_, (first, second)), anyio.create_task_group() as tasks:
        led_at: list[float] = []

        async def succeed() -> None:
            async with _election(second).lead():
                led_at.append(anyio.current_time())

        async with _election(first).lead():
            tasks.start_soon(succeed)
            await _until_candidates(first, 2)
            await anyio.sleep(3)
            assert led_at == []
            stepped_down_at = anyio.current_time()
        await anyio.sleep(TIMEOUT / 8)
        assert led_at == [pytest.approx(stepped_down_at, abs=0.01)]


async def test_a_leader_whose_session_expires_gets_the_loss_and_is_succeeded() -> None:
    async with connected_clients("a", "b") as (there, (first, second)), anyio.create_task_group() as tasks:

        async def expire() -> None:
            await anyio.sleep(1)
            there.server.expire(first.session.id)

        tasks.start_soon(expire)
        with pytest.raises(zk.LeadershipLostError) as caught:
            async with _election(first).lead() as leadership:
                await anyio.sleep_forever()
        assert caught.value.path == leadership.path
        async with _election(second).lead() as next_leadership:
            assert next_leadership.fencing_token > leadership.fencing_token


async def test_a_leader_that_is_cut_off_has_stopped_before_another_leads() -> None:
    async with connected_clients("a", "b") as (there, (first, second)), anyio.create_task_group() as tasks:
        events: list[tuple[str, float]] = []

        async def succeed() -> None:
            async with _election(second, "b").lead():
                events.append(("led", anyio.current_time()))

        with pytest.raises(zk.LeadershipLostError, match="could not be proven alive"):
            async with _election(first, "a").lead():
                tasks.start_soon(succeed)
                await _until_candidates(first, 2)
                there.network.cut(source="a")
                try:
                    await anyio.sleep_forever()
                finally:
                    events.append(("stopped", anyio.current_time()))
        await anyio.sleep(TIMEOUT)
        (one, stopped_at), (other, led_at) = events
        assert (one, other) == ("stopped", "led")
        assert led_at - stopped_at > TIMEOUT / 8
        there.network.heal()


async def test_an_administrator_deletes_the_leaders_znode() -> None:
    async with connected_clients("a", "b") as (_, (client, admin)):
        with pytest.raises(zk.LeadershipLostError, match="its znode was deleted"):
            async with _election(client).lead() as leadership:
                await admin.delete(leadership.path)
                await anyio.sleep(TIMEOUT / 8)


# --- run -----------------------------------------------------------------------------------------------


async def test_run_takes_part_for_ever_and_gives_the_others_their_turn() -> None:
    async with connected_clients("a", "b") as (there, clients):
        led: list[str] = []

        async def take_part(client: zk.Client, name: str) -> None:
            async def work(leadership: zk.Hold) -> None:
                leadership.check()
                led.append(name)
                await anyio.sleep(1)

            await _election(client, name).run(work)

        with anyio.move_on_after(10):
            async with anyio.create_task_group() as tasks:
                for name, client in zip("ab", clients, strict=True):
                    tasks.start_soon(take_part, client, name)
                    await _until_candidates(clients[0], 1 + (name == "b"))
        assert led == list("abababababab")[: len(led)]
        assert len(led) >= 9
        await anyio.sleep(1)
        assert there.znodes() == STAYS


@pytest.mark.parametrize("how", ["the znode", "the session", "the server", "the way to it"])
async def test_run_takes_part_again_after_a_loss(how: str, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        connected_clients("a", "admin") as (there, (client, admin)),
        anyio.create_task_group() as tasks,
    ):
        tokens: list[int] = []
        sessions: list[int] = []

        async def work(leadership: zk.Hold) -> None:
            tokens.append(leadership.fencing_token)
            sessions.append(client.session.id)
            await anyio.sleep_forever()

        async def lose() -> None:
            leader = await _election(admin).leader()
            assert leader is not None
            if how == "the znode":
                await admin.delete(leader.path)
            elif how == "the session":
                there.server.expire(leader.session_id)
            elif how == "the server":
                await there.server.restart(keep=False)
            else:
                there.network.cut(source="a")
                await anyio.sleep(2 * TIMEOUT)
                there.network.heal()

        tasks.start_soon(_election(client).run, work)
        for number in (1, 2, 3):
            await anyio.sleep(TIMEOUT)
            assert len(tokens) == number
            await lose()
        await anyio.sleep(TIMEOUT)
        assert len(tokens) == 4
        if how != "the server":  # a server that has lost its data starts with an empty tree
            assert tokens == sorted(set(tokens))
        assert (len(set(sessions)) == 1) == (how == "the znode")
        assert sum("was lost (taking part again)" in message for message in caplog.messages) == 3
        tasks.cancel_scope.cancel()


async def test_the_functions_error_is_raised_bare_and_the_next_one_leads() -> None:
    """Case 86."""
    async with connected_clients("a", "b") as (there, (first, second)), anyio.create_task_group() as tasks:
        error = ValueError("mine")
        led = anyio.Event()

        async def fail(_: zk.Hold) -> None:
            tasks.start_soon(succeed)
            await _until_candidates(first, 2)
            raise error

        async def succeed() -> None:
            async with _election(second).lead():
                led.set()

        with pytest.raises(ValueError, match="mine") as caught:
            await _election(first).run(fail)
        assert caught.value is error
        assert error.__cause__ is None
        with anyio.fail_after(1):
            await led.wait()
        await anyio.sleep(1)
        assert there.znodes() == STAYS


async def test_the_functions_error_because_of_the_loss_is_logged_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connected_clients("a", "admin") as (_, (client, admin)):
        terms = 0

        async def work(leadership: zk.Hold) -> str:
            nonlocal terms
            terms += 1
            if terms == 2:
                raise KeyError("enough")
            await admin.delete(leadership.path)
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError("because of the loss")

        with pytest.raises(KeyError, match="enough"):
            await _election(client).run(work)
        (record,) = (each for each in caplog.records if "taking part again" in each.getMessage())
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ValueError)


async def test_the_loss_of_another_leadership_is_not_handled() -> None:
    async with connected_clients("a", "admin") as (_, (client, admin)):

        async def work(leadership: zk.Hold) -> None:
            async with zk.Election(client, "/services/other").lead() as other:
                await admin.delete(other.path)
                await anyio.sleep_forever()

        with pytest.raises(zk.LeadershipLostError) as caught:
            await _election(client).run(work)
        assert str(caught.value.path).startswith("/services/other/")


async def test_run_ends_with_the_client() -> None:
    async with world() as there:
        async with there.connect("a") as client:
            election = _election(client)
        with pytest.raises(zk.SessionClosedError):
            await election.run(_never_called)


async def test_run_that_is_cancelled_leaves_nothing() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        before = ClientLeftovers.of(there, client)
        async with _election(other).lead():
            with anyio.move_on_after(5):
                await _election(client).run(_never_called)
            await anyio.sleep(1)
            assert len(there.znodes()) == 3
        with anyio.move_on_after(5) as scope:
            await _election(client).run(_sleep)
        assert scope.cancelled_caught
        await anyio.sleep(1)
        assert there.znodes() == STAYS
        assert ClientLeftovers.of(there, client) == before


async def _sleep(_: zk.Hold) -> None:
    await anyio.sleep_forever()


# --- the leader -----------------------------------------------------------------------------------------


async def test_there_is_no_leader_before_the_first_candidate_and_after_the_last() -> None:
    async with connected_clients("a") as (there, (client,)):
        election = _election(client)
        for sync in (True, False):
            assert await election.leader(sync=sync) is None
        assert await election.contenders() == []
        assert there.znodes() == set()
        async with election.lead():
            pass
        assert await election.leader() is None


@pytest.mark.parametrize("sync", [True, False])
async def test_leader_syncs_first_unless_sync_is_false(sync: bool) -> None:
    async with connected_clients("a") as (there, (client,)):
        async with _election(client).lead():
            del there.requests[:]
            assert await _election(client).leader(sync=sync) is not None
            opcodes = [each.opcode for each in there.requests if each.opcode != OpCode.MULTI]
            assert opcodes == [OpCode.GET_CHILDREN, OpCode.GET_DATA]
            # a leader that has lost its quorum would also answer a sync
            catching_up = [each for each in there.requests if paths_of(each.request) == {"/"}]
            assert len(catching_up) == sync
            assert not sync or there.requests[0] is catching_up[0]


async def test_a_leader_that_leaves_between_list_and_read_is_not_returned() -> None:
    """Nor is another address returned: the leader is read again."""
    async with connected_clients("a", "b") as (there, (client, other)):
        name = f"{DIRECTORY}/{'f' * 32}__lock__"
        places = [
            await other.create(name, b"%d" % number, ephemeral=True, sequential=True, make_parents=True)
            for number in range(4)
        ]
        leaving = iter(places[:3])

        def vanish(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.GET_DATA:
                for place in leaving:
                    _remove(there, place)
                    return

        there.before_request = vanish
        leader = await _election(client).leader()
        assert leader is not None
        assert (leader.path, leader.data) == (places[3], b"3")
        assert there.count(OpCode.GET_CHILDREN) == 4


async def test_a_leader_read_across_two_sessions_is_read_again() -> None:
    """The server of the next session may be behind the one that gave the list."""
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _election(other, "b").lead():
            first_session = client.session.id
            there.server.faults.inject(3, FaultKind.EXPIRE, session_id=first_session)  # sync, list, read
            leader = await _election(client).leader()
            assert leader is not None
            assert leader.identifier == "b"
            assert client.session.id != first_session
            opcodes = [each.opcode for each in there.requests if each.session_id == client.session.id]
            assert OpCode.MULTI in opcodes
            assert OpCode.GET_CHILDREN in opcodes


async def test_an_observer_whose_two_reads_are_in_two_sessions_reads_again() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _election(other, "b").lead():
            there.server.faults.inject(3, FaultKind.EXPIRE, session_id=client.session.id)  # sync, list, read
            async with _election(client).changes() as leaders:
                assert await _next(leaders) == "b"
                assert await _stays(leaders)
        # In between, the client finds out whether this server can remove watches, and removes the first.
        upkeep = {OpCode.EXISTS, OpCode.REMOVE_WATCHES}
        seen = [each.opcode for each in there.requests if each.session_id == client.session.id]
        seen = [opcode for opcode in seen if opcode not in upkeep]
        assert seen[:4] == [OpCode.GET_DATA, OpCode.SYNC, OpCode.GET_CHILDREN, OpCode.GET_DATA]


def _refuse(there: World, client: zk.Client, opcode: OpCode, code: int, times: int) -> None:
    """Let the server answer some requests of a client with an error."""
    processor, session = there.server.processor, client.session
    process, left = processor.process, times

    def refusing(peer: Any, asked: int, request: Any, moment: Any) -> Reply:
        nonlocal left
        if left > 0 and asked == opcode and peer.session.id == session.id:
            left -= 1
            return Reply(processor.zxid, code)
        return process(peer, asked, request, moment)

    setattr(processor, "process", refusing)  # noqa: B010 - a checker wants the same names of arguments


@pytest.mark.parametrize("opcode", [OpCode.SYNC, OpCode.GET_CHILDREN])
async def test_a_server_that_reports_the_session_as_expired_is_asked_again(opcode: OpCode) -> None:
    async with connected_clients("a") as (there, (client,)):
        _refuse(there, client, opcode, zk.SessionExpiredError.code, times=3)
        assert await _election(client).leader() is None


async def test_a_read_only_server_cannot_catch_up() -> None:
    """An observer reports what such a server shows."""
    async with connected_clients("a") as (there, (client,)):
        _refuse(there, client, OpCode.MULTI, zk.NotReadOnlyError.code, times=1)
        _refuse(there, client, OpCode.SYNC, zk.NotReadOnlyError.code, times=1)
        election = _election(client)
        with pytest.raises(zk.NotReadOnlyError):
            await election.leader()
        assert await election.leader(sync=False) is None
        async with election.changes() as leaders:
            assert await _next(leaders) is None


async def test_foreign_children_are_not_candidates() -> None:
    async with connected_clients("a") as (_, (client,)):
        election = _election(client)
        await client.ensure_path(DIRECTORY)
        strangers = ("0", "__lock__", "stranger-0000000000", f"_c_{'0' * 32}-latch-0000000000")
        for name in strangers:
            await client.create(f"{DIRECTORY}/{name}", b"strange")
        async with election.changes() as leaders:
            assert await _next(leaders) is None
            assert await election.leader() is None
            async with election.lead(wait=0) as leadership:
                assert await _next(leaders) == "me"
                assert [each.path for each in await election.contenders()] == [leadership.path]
            assert await _next(leaders) is None
            await client.create(f"{DIRECTORY}/1")
            await client.delete(f"{DIRECTORY}/0")
            assert await _stays(leaders)


async def test_a_leader_that_may_not_be_read_is_an_error() -> None:
    async with connected_clients("a", "b") as (_, (client, other)):
        await other.add_auth("digest", "b:secret")
        async with _election(other, acl=zk.CREATOR_ALL_ACL).lead():
            election = _election(client)
            with pytest.raises(zk.NoAuthError):
                await election.leader()
            async with election.changes() as leaders:
                with pytest.raises(zk.NoAuthError):
                    await anext(leaders)


# --- observing -----------------------------------------------------------------------------------------


async def test_an_observer_starts_with_the_current_leader_and_sees_each_change() -> None:
    async with connected_clients("a", "b", "observer") as (there, (first, second, observer)):
        before = ClientLeftovers.of(there, observer)
        election = _election(observer)
        async with anyio.create_task_group() as tasks:
            over = anyio.Event()
            led: list[str] = []
            async with AsyncExitStack() as stack:
                async with _election(first, "a", data=b"a:80").lead() as leadership:
                    leaders = await stack.enter_async_context(election.changes())
                    with anyio.fail_after(1):
                        leader = await anext(leaders)
                    assert leader == zk.Contender(
                        "a:80", leadership.path, leadership.fencing_token, first.session.id, b"a:80"
                    )
                    tasks.start_soon(_lead_until_over, second, "b", led, over)
                    assert await _stays(leaders)
                assert await _next(leaders) == "b"
                over.set()
                assert await _next(leaders) is None
                assert await _stays(leaders)
            with pytest.raises(RuntimeError, match="has ended"):
                await anext(leaders)
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, observer) == before


async def test_an_observer_changes_nothing_and_waits_for_the_directory() -> None:
    async with connected_clients("a", "observer") as (there, (client, observer)):
        async with _election(observer).changes() as leaders:
            assert await _next(leaders) is None
            assert await _stays(leaders)
            assert there.znodes() == set()
            async with _election(client, "a").lead():
                assert await _next(leaders) == "a"
            assert await _next(leaders) is None
            for path in (DIRECTORY, "/services"):
                await client.delete(path)
            assert await _stays(leaders)
            assert there.znodes() == set()
            async with _election(client, "a").lead():
                assert await _next(leaders) == "a"


async def test_the_directory_is_deleted_under_leader_and_observer() -> None:
    async with connected_clients("a", "observer") as (there, (client, observer)):
        async with _election(observer).changes() as leaders, anyio.create_task_group() as tasks:
            assert await _next(leaders) is None
            tasks.start_soon(_election(client, "a").run, _sleep)
            assert await _next(leaders) == "a"
            for path in sorted(there.znodes() - {"/services"}, reverse=True):
                await observer.delete(path)
            names = [await _next(leaders)]
            if names == [None]:
                names.append(await _next(leaders))
            assert names[-1] == "a"
            tasks.cancel_scope.cancel()


async def test_candidates_that_arrive_or_leave_behind_the_leader_wake_no_observer() -> None:
    async with connected_clients("a", "b", "observer") as (there, (client, other, observer)):
        async with _election(client, "a").lead(), _election(observer).changes() as leaders:
            assert await _next(leaders) == "a"
            del there.requests[:]
            for _ in range(5):
                with suppress(zk.AcquireTimeoutError):
                    async with _election(other, "b").lead(wait=0):
                        pass
            assert await _stays(leaders)
            reads = [each for each in there.requests if each.session_id == observer.session.id]
            assert reads == []


async def test_a_leader_that_leaves_while_it_is_read_is_not_reported() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        name = f"{DIRECTORY}/{'f' * 32}__lock__"
        one, two = [
            await other.create(name, b"%d" % number, ephemeral=True, sequential=True, make_parents=True)
            for number in (1, 2)
        ]

        def vanish(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.GET_DATA and seen.request.path == one:
                there.before_request = lambda _: None
                _remove(there, one)

        there.before_request = vanish
        async with _election(client).changes() as leaders:
            assert await _next(leaders) == "2"
            await other.delete(two)
            assert await _next(leaders) is None


async def test_a_leader_may_change_its_address() -> None:
    async with connected_clients("a", "observer") as (_, (client, observer)):
        async with _election(client, "a").lead() as leadership, _election(observer).changes() as leaders:
            assert await _next(leaders) == "a"
            await client.set(leadership.path, b"elsewhere")
            assert await _next(leaders) == "elsewhere"


async def test_a_slow_reader_skips_leaders_and_gets_the_newest() -> None:
    async with connected_clients("a", "observer") as (_, (client, observer)):
        async with _election(observer).changes() as leaders:
            for number in range(5):
                async with _election(client, f"{number}").lead():
                    await anyio.sleep(1)
            async with _election(client, "newest").lead():
                await anyio.sleep(1)
                assert await _next(leaders) == "newest"
                assert await _stays(leaders)


async def test_several_readers_of_one_observer() -> None:
    async with connected_clients("a") as (_, (client,)):
        async with _election(client).changes() as one, _election(client).changes() as other:
            assert (await _next(one), await _next(other)) == (None, None)
            async with _election(client, "a").lead():
                assert (await _next(one), await _next(other)) == ("a", "a")


async def _connection_drops(there: World, _: zk.Client) -> None:
    there.network.reset(source="observer")


async def _server_is_away(there: World, observer: zk.Client) -> None:
    there.network.cut(source="observer")
    await anyio.sleep(TIMEOUT * 7 / 8)
    assert observer.session.state is zk.SessionState.SUSPENDED


async def _session_expires(there: World, observer: zk.Client) -> None:
    there.server.expire(observer.session.id)


async def _session_expires_unheard(there: World, observer: zk.Client) -> None:
    there.network.cut(source="observer")
    await anyio.sleep(2 * TIMEOUT)


@pytest.mark.parametrize(
    "harm", [_connection_drops, _server_is_away, _session_expires, _session_expires_unheard]
)
async def test_an_observer_gets_the_leaders_that_it_missed(harm: Callable[..., Any]) -> None:
    async with connected_clients("a", "b", "observer") as (there, (first, second, observer)):
        before = ClientLeftovers.of(there, observer)
        async with _election(observer).changes() as leaders:
            assert await _next(leaders) is None
            async with _election(first, "a").lead():
                assert await _next(leaders) == "a"
                await harm(there, observer)
                if harm is _connection_drops:
                    there.network.cut(source="observer")
            async with _election(second, "b").lead():
                there.network.heal()
                # the newest one; those in between may be reported or not
                names = [await _next(leaders)]
                while names[-1] != "b":
                    names.append(await _next(leaders))
                assert names in (["b"], [None, "b"])
                assert await _stays(leaders)
            assert await _next(leaders) is None
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, observer) == before


async def test_an_unchanged_leader_is_not_reported_again_after_a_new_session() -> None:
    async with connected_clients("a", "observer") as (there, (client, observer)):
        async with _election(client, "a").lead(), _election(observer).changes() as leaders:
            assert await _next(leaders) == "a"
            there.server.expire(observer.session.id)
            assert await _stays(leaders)
            assert there.count(OpCode.SYNC, session_id=observer.session.id) == 1


async def test_an_observer_of_a_client_that_may_not_renew_gets_an_error() -> None:
    async with world() as there:
        with pytest.raises(zk.SessionExpiredError):
            async with there.connect("observer", renew=False) as client:
                async with _election(client).changes() as leaders:
                    assert await _next(leaders) is None
                    there.server.expire(client.session.id)
                    with pytest.raises(zk.SessionExpiredError):
                        with anyio.CancelScope(shield=True):
                            await anext(leaders)
                    await anyio.lowlevel.checkpoint()


# --- faults of every kind ---------------------------------------------------------------------------------


async def _lead_for_a_while(_: World, client: zk.Client) -> str:
    async with _election(client, "faulty").lead() as leadership:
        await anyio.sleep(TIMEOUT * 2 / 16)
        leadership.check()
    return "led"


@asynccontextmanager
async def _a_rival(there: World) -> AsyncIterator[None]:
    """Another client leads at first, and a third one is a candidate behind it."""
    async with there.connect("rival") as rival, anyio.create_task_group() as tasks:
        leads = anyio.Event()

        async def lead_at_first() -> None:
            async with _election(rival, "rival").lead():
                leads.set()
                await anyio.sleep(TIMEOUT / 8)

        async def come_later() -> None:
            await anyio.sleep(1)
            async with _election(rival, "later").lead():
                pass

        tasks.start_soon(lead_at_first)
        await leads.wait()
        tasks.start_soon(come_later)
        yield


def _has_led(outcome: Outcome) -> None:
    assert outcome.result == "led"


def _has_led_or_lost(outcome: Outcome) -> None:
    assert outcome.result == "led" or type(outcome.error) is zk.LeadershipLostError


FAULT_KINDS = [FaultKind.BEFORE_SEND, FaultKind.AFTER_SEND, FaultKind.AFTER_COMMIT, FaultKind.EXPIRE]


@pytest.mark.parametrize("fault_kind", FAULT_KINDS)
async def test_fault_in_each_request_of_leading_and_stepping_down(fault_kind: FaultKind) -> None:
    judge = _has_led_or_lost if fault_kind is FaultKind.EXPIRE else _has_led
    number = await inject_into_each_request(
        _lead_for_a_while, judge, fault_kind, may_remain=STAYS, other_clients=_a_rival
    )
    assert number >= 6


@pytest.mark.parametrize("fault_kind", FAULT_KINDS)
async def test_fault_in_each_request_of_leader_and_observe(fault_kind: FaultKind) -> None:
    """Reads are repeated, so no error is ever raised, and no old leader is reported."""

    async def look(_: World, client: zk.Client) -> list[str]:
        election = _election(client)
        async with election.changes() as leaders:
            found = [await election.leader()]
            await anyio.sleep(TIMEOUT / 4)
            found += [await election.leader(), await anext(leaders), (await election.contenders())[0]]
        return [each.identifier for each in found if each is not None]

    @asynccontextmanager
    async def other_clients(there: World) -> AsyncIterator[None]:
        async with there.connect("b") as client, anyio.create_task_group() as tasks:
            is_there = anyio.Event()

            async def lead() -> None:
                async with _election(client, "first").lead():
                    is_there.set()
                    await anyio.sleep(TIMEOUT / 8)
                async with _election(client, "second").lead():
                    await anyio.sleep(TIMEOUT)

            tasks.start_soon(lead)
            await is_there.wait()
            yield
            tasks.cancel_scope.cancel()

    def judge(outcome: Outcome) -> None:
        assert outcome.result in (["first", *["second"] * 3], ["second"] * 4)

    await inject_into_each_request(look, judge, fault_kind, may_remain=STAYS, other_clients=other_clients)


async def _lead_for_a_moment(_: World, client: zk.Client) -> str:
    async with _election(client, "faulty").lead() as leadership:
        await anyio.lowlevel.checkpoint()
        leadership.check()
    return "led"


async def _observe_for_a_moment(_: World, client: zk.Client) -> str:
    async with _election(client).changes() as leaders:
        await anext(leaders)
    return "led"


def _has_led_or_is_cancelled(outcome: Outcome) -> None:
    assert outcome.result == "led" or isinstance(outcome.error, anyio.get_cancelled_exc_class())


@pytest.mark.parametrize("act", [_lead_for_a_moment, _observe_for_a_moment])
async def test_cancelled_at_each_pass(act: Any) -> None:
    assert await cancel_at_each_pass(act, _has_led_or_is_cancelled, may_remain=STAYS) >= 8


@asyncio_only
@pytest.mark.parametrize("act", [_lead_for_a_moment, _observe_for_a_moment])
@pytest.mark.parametrize("again_after", [None, 0, 2])
async def test_cancelled_natively_at_each_pass(again_after: int | None, act: Any) -> None:
    await cancel_at_each_pass(
        act, _has_led_or_is_cancelled, may_remain=STAYS, native=True, again_after=again_after
    )

"""A client's sessions: states, timeouts, giving up, renewing, and the server's view of each."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import logging
import time

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import accept_all, scripted
from tests.recipes.fault_sweep import TIMEOUT, AliasNetwork, World, block_the_loop, virtual_time, world
from zkrecipes.codec.messages import ConnectReply, ConnectRequest, Empty, ErrorReply
from zkrecipes.codec.multi import MultiReply
from zkrecipes.enums import OpCode, SessionState
from zkrecipes.protocol.server_side import Requested, ServerSide
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

Change = tuple[int, SessionState]


def _sessions(there: World) -> set[int]:
    return {session.id for session in there.server.processor.sessions}


async def _until(client: zk.Client, state: SessionState, session_id: int | None = None) -> None:
    async with client.session_changes() as changes:
        while client.state is not state or session_id not in (None, client.session.id):
            await anext(changes)


async def _next_session(client: zk.Client, old: int) -> None:
    async with client.session_changes() as changes:
        while client.session.id == old or client.state is not SessionState.CONNECTED:
            await anext(changes)


# --- states ----------------------------------------------------------------------------------------------


async def test_a_session_has_an_id_and_is_connected() -> None:
    async with world() as there, there.connect("a") as client:
        assert client.session.id in _sessions(there)
        assert client.state is client.session.state is SessionState.CONNECTED


@pytest.mark.parametrize(("asked", "given"), [(0.5, 4.0), (16.0, 16.0), (900.0, 40.0)])
async def test_the_timeout_is_the_one_that_the_server_gives(asked: float, given: float) -> None:
    """Case 12."""
    async with world() as there, there.connect("a", session_timeout=asked) as client:
        assert client.session.timeout == given


async def test_states_are_followed_across_connections_and_sessions() -> None:
    async with world() as there, there.connect("a") as client, client.session_changes() as changes:
        first = client.session
        there.server.drop_connections()
        seen = [await anext(changes) for _ in range(2)]
        there.server.expire(first.id)
        seen += [await anext(changes) for _ in range(3)]
        second = client.session
        assert [(change.session_id, change.state) for change in seen] == [
            (first.id, SessionState.SUSPENDED),
            (first.id, SessionState.CONNECTED),
            (first.id, SessionState.SUSPENDED),
            (first.id, SessionState.EXPIRED),
            (second.id, SessionState.CONNECTED),
        ]
        assert second is not first
        assert second.id != first.id
        assert first.state is SessionState.EXPIRED
        await first.wait_closed()


async def test_the_changes_end_with_the_client() -> None:
    seen: list[zk.SessionChange] = []

    async def follow(client: zk.Client, ready: anyio.Event) -> None:
        async with client.session_changes() as changes:
            ready.set()
            seen.extend([change async for change in changes])

    async with world() as there, anyio.create_task_group() as tasks:
        async with there.connect("a") as client:
            ready = anyio.Event()
            tasks.start_soon(follow, client, ready)
            await ready.wait()
        async with client.session_changes() as changes:
            assert [change async for change in changes] == []
    assert [change.state for change in seen] == [SessionState.CLOSED]


async def test_two_may_follow_the_states_and_one_may_leave() -> None:
    async with world() as there, there.connect("a") as client, client.session_changes() as one:
        async with client.session_changes() as other:
            there.server.drop_connections()
            assert await anext(one) == await anext(other)
        assert (await anext(one)).state is SessionState.CONNECTED


async def test_connected_is_announced_when_requests_flow() -> None:
    async with world() as there, there.connect("a", auth=[("digest", "user:pw")]) as client:
        await client.create("/mine", b"1", acl=zk.CREATOR_ALL_ACL)
        async with client.session_changes() as changes:
            there.server.drop_connections()
            while (await anext(changes)).state is not SessionState.CONNECTED:
                pass
            assert (await client.get("/mine")).data == b"1"


async def test_the_state_shows_a_read_only_server() -> None:
    """Case 24."""
    network = MemoryNetwork()

    def refuse_writes(side: ServerSide, requested: Requested) -> bool:
        side.reply(requested.xid, 1, -119)
        return True

    async with (
        scripted(network, greet=accept_all(read_only=True), answer=refuse_writes),
        zk.connect("scripted", read_only=True, network=network) as client,
    ):
        assert client.state is SessionState.CONNECTED_READ_ONLY
        with pytest.raises(zk.NotReadOnlyError):
            await client.create("/a")


async def test_a_client_of_a_read_only_server_goes_to_a_full_one_when_there_is_one() -> None:
    """Case 25: move to a new session, because no other server knows the session of a read-only server."""
    async with world() as there, scripted(there.network, "alone", greet=accept_all(read_only=True)):
        async with zk.connect("alone", read_only=True, network=there.network) as client:
            alone = client.session
            there.network.refuse(host="zk")
            client.update_hosts("alone,zk")
            await anyio.sleep(2)
            assert client.session is alone
            there.network.heal()
            await _next_session(client, alone.id)
            assert alone.state is SessionState.EXPIRED
            assert await client.create("/a") == "/a"


@pytest.mark.parametrize("trouble", ["", "refused", "silent"])
async def test_a_full_server_is_found_behind_the_name_of_the_read_only_one(trouble: str) -> None:
    async with world() as there, scripted(there.network, "alone", greet=accept_all(read_only=True)):
        there.network.names["ensemble"] = ["alone"]
        async with zk.connect("ensemble", read_only=True, network=there.network) as client:
            assert client.state is SessionState.CONNECTED_READ_ONLY
            if trouble == "silent":
                there.network.black_hole(host="down")
            there.network.names["ensemble"] = ["down", "alone", "zk"]
            async with client.session_changes() as changes:
                seen = [await anext(changes) for _ in range(3)]
            assert [change.state for change in seen] == [
                SessionState.SUSPENDED,
                SessionState.EXPIRED,
                SessionState.CONNECTED,
            ], "it went there at once, and not to the same server again"
            assert await client.create("/a") == "/a"


async def test_the_search_for_a_read_write_server_ends_with_the_read_only_one() -> None:
    async with world() as there, scripted(there.network, "alone", greet=accept_all(read_only=True)):
        async with zk.connect("alone", read_only=True, network=there.network) as client:
            alone = client.session.id
            client.update_hosts("zk")
            there.network.reset(host="alone")
            await _next_session(client, alone)
            there.network.refuse(host="zk")
            await anyio.sleep(TIMEOUT)
            assert client.state is SessionState.CONNECTED


# --- reconnecting ----------------------------------------------------------------------------------------


async def test_a_session_outlives_its_connection() -> None:
    async with world() as there, there.connect("a") as client:
        session = client.session
        await client.create("/mine", ephemeral=True)
        there.server.drop_connections()
        assert await client.exists("/mine") is not None
        assert client.session is session


async def test_the_next_host_is_tried_at_once() -> None:
    async with world() as there:
        aliases = AliasNetwork(there)
        async with zk.connect("one,two,three", session_timeout=TIMEOUT, network=aliases) as client:
            await anyio.sleep(5)
            start = anyio.current_time()
            there.network.refuse(source=aliases.opened[-1][1])
            there.network.reset()
            await client.exists("/")
            assert anyio.current_time() == start
            first, second = (host for _, host in aliases.opened)
            assert first != second


async def test_other_hosts_can_be_named_while_the_client_runs() -> None:
    async with world() as there:
        aliases = AliasNetwork(there)
        async with zk.connect("one", session_timeout=TIMEOUT, network=aliases) as client:
            session_id = client.session.id
            await client.exists("/")
            client.update_hosts("two:2181")
            await client.exists("/")
            assert [host for _, host in aliases.opened] == ["one"]  # the current connection stays
            there.network.reset()
            await client.exists("/")
            assert [host for _, host in aliases.opened] == ["one", "two"]
            assert client.session.id == session_id
            with pytest.raises(ValueError, match="without a chroot"):
                client.update_hosts("three/app")
            with pytest.raises(ValueError, match="a port must be"):
                client.update_hosts("three:no")


async def test_other_hosts_can_be_named_while_no_server_answers() -> None:
    async with world() as there:
        aliases = AliasNetwork(there)
        async with zk.connect("one", session_timeout=TIMEOUT, network=aliases) as client:
            session = client.session
            there.network.refuse(source="one")
            there.network.reset()
            await anyio.sleep(3)
            start = anyio.current_time()
            client.update_hosts("two")
            await client.exists("/")
            assert anyio.current_time() - start <= 5
            assert client.session is session


async def test_a_server_that_drops_every_connection_is_not_sought_in_a_hot_loop() -> None:
    network = MemoryNetwork(record=True)

    def hang_up(_side: ServerSide, _requested: Requested) -> bool:
        return False

    async with (
        scripted(network, greet=accept_all(timeout_ms=40_000), answer=hang_up),
        zk.connect("scripted", network=network) as client,
    ):
        with anyio.move_on_after(30):
            while True:
                with pytest.raises(zk.ConnectionLossError):
                    await client.get("/a")
        assert 10 < len(network.links) < 50


async def test_a_restart_of_the_server_that_keeps_its_sessions_is_only_an_interruption() -> None:
    async with world() as there, there.connect("a") as client:
        session = client.session
        await client.create("/mine", ephemeral=True)
        await there.server.restart(downtime=5)
        assert await client.exists("/mine") is not None
        assert client.session is session


async def test_a_restart_of_the_server_that_forgets_everything_brings_a_new_session() -> None:
    async with world() as there, there.connect("a") as client:
        session = client.session
        await client.create("/a")
        await there.server.restart(keep=False, downtime=5)
        assert await client.exists("/a") is None
        assert session.state is SessionState.EXPIRED
        assert client.session.id in _sessions(there)


async def test_a_server_that_lost_its_past_does_not_lock_its_clients_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Case 7."""
    network = MemoryNetwork()

    async def serve(stop: anyio.Event, start_zxid: int) -> None:
        async with zk.DevServer(network=network, host="zk", port=2181, start_zxid=start_zxid):
            await stop.wait()

    async with anyio.create_task_group() as tasks:
        stop = anyio.Event()
        tasks.start_soon(serve, stop, 1_000_000)
        async with zk.connect("zk", network=network, session_timeout=TIMEOUT) as client:
            await client.create("/a")
            old, last_zxid, start = client.session, client.session.last_zxid, anyio.current_time()
            stop.set()
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(serve, anyio.Event(), 5)
            assert await client.exists("/a") is None
            assert old.state is SessionState.EXPIRED
            assert client.session.state is SessionState.CONNECTED
            assert anyio.current_time() - start <= TIMEOUT + 5
            assert last_zxid < 1_000_010
        tasks.cancel_scope.cancel()
    told = "zk:2181: closed right after the greeting, which named zxid 0xf424"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(told in each for each in warnings)


# --- giving up -------------------------------------------------------------------------------------------


async def test_a_session_is_given_up_one_timeout_after_the_send_of_the_newest_answered_request() -> None:
    """Case 17."""
    async with world() as there, there.connect("a") as client:
        await anyio.sleep(1.25)
        session, sent_at = client.session, anyio.current_time()
        await client.exists("/")
        await anyio.sleep(0.5)
        there.network.cut()
        await session.wait_closed()
        assert session.state is SessionState.EXPIRED
        assert anyio.current_time() - sent_at == pytest.approx(TIMEOUT, abs=1e-6)
        assert client.state is SessionState.CONNECTING
        there.network.heal()


async def test_an_answered_ping_counts_as_a_request() -> None:
    async with world() as there, there.connect("a") as client:
        start = anyio.current_time()
        await anyio.sleep(TIMEOUT / 3 + 0.1)  # the first ping was sent at a third
        there.network.cut()
        await client.session.wait_closed()
        assert anyio.current_time() - start == pytest.approx(TIMEOUT * 4 / 3, abs=0.01)
        there.network.heal()


async def test_while_bytes_arrive_the_server_reports_the_end_of_the_session() -> None:
    """No byte of the client reaches the server, which therefore ends the session, at the end of a tick."""
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        async with client.watch("/a"):
            await other.create("/a")
            sent_at = anyio.current_time()
            link = next(each for each in there.network.links if each.source == "a" and each.is_open)
            link.to_server.hold()
            session, heard = client.session, 0
            with anyio.move_on_after(2 * TIMEOUT):
                async with anyio.create_task_group() as tasks:

                    async def chatter() -> None:
                        nonlocal heard
                        while True:
                            await other.set("/a", b"")  # the client hears of it
                            heard += 1
                            await anyio.sleep(1)

                    tasks.start_soon(chatter)
                    await session.wait_closed()
                    tasks.cancel_scope.cancel()
            assert TIMEOUT <= anyio.current_time() - sent_at <= TIMEOUT + 2.1
            assert there.server.processor.sessions.find(session.id) is None
            assert heard >= TIMEOUT - 1


async def test_a_session_that_was_given_up_is_closed_first_and_only_then_a_new_one_is_made() -> None:
    """Case 18."""
    async with world() as there, there.connect("a") as client:
        old = client.session
        await client.create("/mine", ephemeral=True)
        await anyio.sleep(2)
        there.server.pause()  # its clock stops, so the server alone would never expire the session
        await old.wait_closed()
        assert old.state is SessionState.EXPIRED
        await anyio.sleep(3)
        there.server.resume()
        await _next_session(client, old.id)
        assert _sessions(there) == {client.session.id}
        assert there.znodes() == set()
        assert there.count(OpCode.CLOSE_SESSION, session_id=old.id) == 1


async def test_a_given_up_session_is_closed_also_when_the_first_servers_cannot_be_reached() -> None:
    async with world() as there, there.connect("a") as client:
        old = client.session
        await client.create("/mine", ephemeral=True)
        there.server.pause()
        there.network.refuse()
        there.network.reset()
        await old.wait_closed()
        await anyio.sleep(20)
        there.server.resume()
        there.network.heal()
        await _next_session(client, old.id)
        assert there.znodes() == set()
        assert _sessions(there) == {client.session.id}


async def test_a_given_up_session_is_never_used_again() -> None:
    async with world() as there, there.connect("a") as client:
        old = client.session
        there.server.pause()
        await old.wait_closed()
        there.server.resume()
        await _next_session(client, old.id)
        await client.exists("/")
        opcodes = [each.opcode for each in there.requests if each.session_id == old.id]
        assert opcodes == [OpCode.CLOSE_SESSION]
        assert old.state is SessionState.EXPIRED


async def test_a_process_that_slept_longer_than_its_session_does_not_take_old_bytes_for_life() -> None:
    """Case 19."""
    async with world() as there, there.connect("a") as client, client.session_changes() as changes:
        old = client.session
        await client.create("/a")
        held = there.server.faults.hold_replies()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.exists, "/a")
            await anyio.sleep(1)
            held.release()  # the reply is on its way …
            block_the_loop(TIMEOUT + 1)  # … and no task reads it for this long
            first = await anext(changes)
            second = await anext(changes)
        assert (first.session_id, first.state) == (old.id, SessionState.SUSPENDED)
        assert (second.session_id, second.state) == (old.id, SessionState.EXPIRED)
        assert client.session is not old


async def test_a_jump_of_the_wall_clock_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 21."""
    async with world() as there, there.connect("a") as client, zk.Mutex(client, "/lock") as hold:
        session, remaining = client.session, hold.remaining()
        for jump in (1e9, -1e9):
            monkeypatch.setattr(time, "time", lambda jump=jump: 1e9 + jump)
            await anyio.sleep(TIMEOUT)
            assert client.session is session
            assert hold.remaining() > remaining / 2


async def test_a_process_that_slept_shorter_than_its_session_goes_on() -> None:
    async with world() as there, there.connect("a") as client:
        old = client.session
        block_the_loop(TIMEOUT / 4)
        await client.exists("/")
        assert client.session is old
        assert old.state is SessionState.CONNECTED


# --- renewing --------------------------------------------------------------------------------------------


async def test_after_an_expiry_there_is_a_new_session_by_itself() -> None:
    async with world() as there, there.connect("a") as client:
        old = client.session
        await client.create("/mine", ephemeral=True)
        there.server.expire(old.id)
        await _next_session(client, old.id)
        assert old.state is SessionState.EXPIRED
        assert await client.exists("/mine") is None
        await client.create("/mine", ephemeral=True)


async def test_without_renewal_the_block_is_cancelled_and_leaving_it_raises() -> None:
    async with world() as there:
        with pytest.raises(zk.SessionExpiredError) as caught:
            async with there.connect("a", renew=False) as client:
                there.server.expire(client.session.id)
                await anyio.sleep_forever()
        assert caught.value.session_id == client.session.id
        assert client.session.state is SessionState.EXPIRED


async def test_without_renewal_a_block_that_ends_by_itself_after_the_expiry_raises_too() -> None:
    async with world() as there:
        ended = False
        with pytest.raises(zk.SessionExpiredError):
            async with there.connect("a", renew=False) as client:
                there.server.expire(client.session.id)
                with anyio.CancelScope(shield=True):
                    await client.session.wait_closed()
                ended = True
        assert ended


async def test_without_renewal_a_client_that_gives_up_is_over_too() -> None:
    async with world() as there:
        with pytest.raises(zk.SessionExpiredError, match="no server answered for a whole session timeout"):
            async with there.connect("a", renew=False):
                there.network.cut()
                await anyio.sleep_forever()
        there.network.heal()


async def test_an_error_of_the_block_that_comes_out_when_it_is_cancelled_is_bare() -> None:
    async with world() as there:
        with pytest.raises(ValueError, match="mine"):
            async with there.connect("a", renew=False) as client:
                there.server.expire(client.session.id)
                try:
                    await anyio.sleep_forever()
                finally:
                    raise ValueError("mine")


# --- a session that moves --------------------------------------------------------------------------------


async def test_a_moved_session_is_reported_to_the_caller_and_attached_again() -> None:
    """Case 22."""
    network = MemoryNetwork()
    answers = 0

    def answer(side: ServerSide, requested: Requested) -> bool:
        nonlocal answers
        answers += 1
        side.reply(requested.xid, 7, -118 if answers == 1 else -101)
        return True

    async with (
        scripted(network, greet=accept_all(), answer=answer),
        zk.connect("scripted", network=network) as client,
    ):
        session = client.session
        with pytest.raises(zk.SessionMovedError):
            await client.get("/a")
        assert await client.exists("/a") is None
        assert client.session is session


async def test_a_moved_session_that_only_a_transaction_reveals_is_attached_again() -> None:
    """Case 22, on servers before 3.5: they leave the connection open, and no write succeeds on it."""
    network = MemoryNetwork()
    greetings = 0

    def greet(request: ConnectRequest) -> ConnectReply | None:
        nonlocal greetings
        greetings += 1
        return accept_all()(request)

    def answer(side: ServerSide, requested: Requested) -> bool:
        if greetings == 1:
            moved = MultiReply((ErrorReply(zk.SessionMovedError.code), ErrorReply(-2)))
            side.reply_multi(requested.xid, 1, [OpCode.CHECK] * 2, moved)
        else:
            side.reply_multi(requested.xid, 1, [OpCode.CHECK] * 2, MultiReply((Empty(), Empty())))
        return True

    async def check(client: zk.Client) -> None:
        async with client.transaction() as transaction:
            transaction.check("/a")
            transaction.check("/b")

    async with (
        scripted(network, greet=greet, answer=answer),
        zk.connect("scripted", network=network) as client,
    ):
        with pytest.raises(zk.ConnectionLossError, match="the session has moved to another connection"):
            await check(client)
        await check(client)
        assert greetings == 2


async def test_an_expiry_that_a_request_is_answered_with_ends_the_session() -> None:
    """Case 23."""
    network = MemoryNetwork()
    ids = iter([0x11, 0x22])

    def greet(request: ConnectRequest) -> ConnectReply | None:
        return accept_all(next(ids))(request)

    def answer(side: ServerSide, requested: Requested) -> bool:
        side.reply(requested.xid, 7, -112 if requested.opcode == OpCode.DELETE else -101)
        return True

    async with (
        scripted(network, greet=greet, answer=answer),
        zk.connect("scripted", network=network) as client,
    ):
        session = client.session
        with pytest.raises(zk.SessionExpiredError):
            await client.delete("/a")
        assert await client.exists("/a") is None
        assert session.state is SessionState.EXPIRED
        assert client.session.id == 0x22


async def test_the_same_session_attached_elsewhere_is_taken_back() -> None:
    async with world() as there, there.connect("a") as client:
        session = client.session
        stranger = there.network.view("stranger")
        stream = await stranger.connect("zk", 2181)
        await stream.send(_greeting(session.id, session.password))
        await stream.receive()
        assert await client.exists("/") is not None
        assert client.session is session
        await stream.aclose()


def _greeting(session_id: int, password: bytes) -> bytes:
    body = (
        bytes(4)
        + bytes(8)
        + int(TIMEOUT * 1000).to_bytes(4, "big")
        + session_id.to_bytes(8, "big", signed=True)
        + len(password).to_bytes(4, "big")
        + password
        + b"\0"
    )
    return len(body).to_bytes(4, "big") + body


async def test_changes_cannot_be_closed_inside_their_block_and_are_over_after_it() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.session_changes() as changes:
            assert not hasattr(changes, "close")
            assert not hasattr(changes, "aclose")
            there.server.drop_connections()
            assert (await anext(changes)).state is SessionState.SUSPENDED
        with pytest.raises(RuntimeError, match="the block of session_changes has been left"):
            await anext(changes)
        assert await client.exists("/") is not None


async def test_one_task_iterates_over_changes_and_a_cancelled_wait_loses_none() -> None:
    async with world() as there, there.connect("a") as client, client.session_changes() as changes:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, changes)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await anext(changes)
            tasks.cancel_scope.cancel()
        there.server.drop_connections()
        assert (await anext(changes)).state is SessionState.SUSPENDED
        assert (await anext(changes)).state is SessionState.CONNECTED

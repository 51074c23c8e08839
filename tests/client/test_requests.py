"""Requests: their order, connections that break, sessions that end, wrong arguments."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import logging
import math
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import accept_all, scripted
from tests.recipes.fault_sweep import TIMEOUT, World, virtual_time, world
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode, SessionState
from zkrecipes.protocol.server_side import Requested, ServerSide
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def _suspend(there: World, client: zk.Client) -> None:
    await there.server.refuse()
    there.server.drop_connections()
    async with client.session_changes() as changes:
        while client.state is not SessionState.SUSPENDED:
            await anext(changes)


# --- order -----------------------------------------------------------------------------------------------


async def test_requests_reach_the_server_in_the_order_of_the_calls() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        async with client.pipeline() as pipe:
            sets = [pipe.set("/n", str(number).encode()) for number in range(200)]
            reads = [pipe.get("/n") for _ in range(3)]
        assert [reply.result().version for reply in sets] == list(range(1, 201))
        assert {reply.result().data for reply in reads} == {b"199"}
        sent = [each.request.data for each in there.requests if each.opcode == OpCode.SET_DATA]
        assert sent == [str(number).encode() for number in range(200)]


async def test_what_waited_while_suspended_is_sent_in_the_order_of_the_calls() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        await _suspend(there, client)
        async with anyio.create_task_group() as tasks:
            async with client.pipeline() as pipe:
                sets = [pipe.set("/n", str(number).encode()) for number in range(20)]
                await anyio.sleep(1)
                assert not any(reply.is_done for reply in sets)
                tasks.start_soon(there.server.accept)
        assert [reply.result().version for reply in sets] == list(range(1, 21))


async def test_a_request_waits_while_suspended_and_a_scope_bounds_that() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        await _suspend(there, client)
        with anyio.move_on_after(2) as scope:
            await client.delete("/n")
        assert scope.cancelled_caught
        await there.server.accept()
        assert await client.exists("/n") is not None  # what was cancelled was not sent


# --- connections that break ------------------------------------------------------------------------------


async def test_a_read_that_was_sent_and_not_answered_is_sent_again() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        for lose in (there.server.faults.lose_reply, there.server.faults.drop_request):
            fault = lose(OpCode.GET_DATA, times=3)
            assert (await client.get("/n")).data == b"1"
            assert fault.times_used == 3
        assert there.count(OpCode.GET_DATA) == 3 + 1 + 1


@pytest.mark.parametrize("was_applied", [True, False])
async def test_a_write_that_was_sent_and_not_answered_has_an_unknown_outcome(was_applied: bool) -> None:
    async with world() as there, there.connect("a") as client:
        lose = there.server.faults.lose_reply if was_applied else there.server.faults.drop_request
        lose(OpCode.CREATE)
        with pytest.raises(zk.ConnectionLossError, match="Create /n was answered") as caught:
            await client.create("/n")
        assert caught.value.path == "/n"
        assert not caught.value.nothing_changed
        assert (await client.exists("/n") is not None) == was_applied
        assert there.count(OpCode.CREATE) == was_applied  # it was not sent twice


async def test_a_request_that_never_reached_the_socket_is_sent_on_the_next_connection() -> None:
    async with world() as there, there.connect("a") as client:
        there.server.faults.inject(1, FaultKind.BEFORE_SEND, session_id=client.session.id)
        await anyio.wait_all_tasks_blocked()
        assert await client.create("/n") == "/n"
        assert there.count(OpCode.CREATE) == 1


async def test_each_request_of_a_broken_connection_meets_its_own_fate() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"0")
        there.server.faults.hold_replies(session_id=client.session.id)
        async with client.pipeline() as pipe:
            replies: list[Any] = [pipe.get("/n"), pipe.set("/n", b"1"), pipe.exists("/n"), pipe.create("/m")]
            await anyio.sleep(0.1)
            await there.server.refuse()
            there.network.reset()
            await anyio.sleep(0.1)
            there.server.faults.clear()
            replies += [pipe.get("/n"), pipe.set("/n", b"2")]
            await there.server.accept()
        assert isinstance(replies[1].error, zk.ConnectionLossError)
        assert isinstance(replies[3].error, zk.ConnectionLossError)
        assert replies[0].result().data == b"1"  # sent again after the write that was applied unheard
        assert replies[2].result().version == 1
        assert replies[4].result().data == b"1"
        assert replies[5].result().version == 2


async def test_a_connection_may_bring_every_byte_by_itself() -> None:
    network = MemoryNetwork(chunk_size=1)
    async with (
        zk.DevServer(network=network, host="zk", port=2181),
        zk.connect("zk", network=network) as client,
    ):
        async with client.watch("/n") as events:
            await client.create("/n", b"12345")
            assert (await client.get("/n")).data == b"12345"
            assert (await anext(events)).type is zk.EventType.CREATED


async def test_nonsense_ends_the_connection_and_not_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """Case 36."""
    caplog.set_level(logging.INFO)
    network = MemoryNetwork()
    nonsense: Iterator[Callable[[ServerSide, Requested], None]] = iter(
        [
            lambda side, requested: side.reply(requested.xid + 1, 1),  # an unknown xid
            lambda side, requested: side.reply(-2, 1),  # a ping that was not sent
            lambda side, requested: side.send_text("\x7f\xff\xff\xff        "),  # too large
            lambda side, requested: side.send_text("\xff\xff\xff\xf0"),  # a negative length
        ]
    )

    def answer(side: ServerSide, requested: Requested) -> bool:
        say = next(nonsense, None)
        if say is None:
            side.reply(requested.xid, 1, -101)
        else:
            say(side, requested)
        return True

    async with (
        scripted(network, greet=accept_all(timeout_ms=40_000), answer=answer),
        zk.connect("scripted", network=network, session_timeout=40) as client,
    ):
        session = client.session
        with pytest.raises(zk.NoNodeError):
            await client.get("/n")
        assert client.session is session
    told = [record.getMessage() for record in caplog.records if "is suspended" in record.getMessage()]
    assert len(told) == 4
    assert "xid 2" in told[0]


async def test_a_reply_that_cannot_be_read_is_an_error_of_its_request() -> None:
    """Case 32."""
    network = MemoryNetwork()
    answers = 0

    def answer(side: ServerSide, requested: Requested) -> bool:
        nonlocal answers
        answers += 1
        side.reply(requested.xid, 1)  # without a body
        return True

    async with (
        scripted(network, greet=accept_all(), answer=answer),
        zk.connect("scripted", network=network) as client,
    ):
        session = client.session
        with pytest.raises(zk.ProtocolError, match="/n is malformed"):
            await client.get("/n")
        assert answers == 1  # it is not asked for again and again
        await client.delete("/n")
        assert client.session is session


# --- large replies ---------------------------------------------------------------------------------------


async def test_a_reply_that_is_too_large_fails_its_request_alone_and_is_not_asked_for_again() -> None:
    """Case 31."""
    async with world() as there, there.connect("a", max_packet_size=10_000) as client:
        async with there.connect("b") as other:
            await other.create("/large", bytes(20_000))
            await other.create("/small", b"1")
        async with client.pipeline() as pipe:
            before, large, after, write = (
                pipe.get("/small"),
                pipe.get("/large"),
                pipe.get("/small"),
                pipe.set("/small", b"2"),
            )
        error = large.error
        assert isinstance(error, zk.PacketTooLargeError)
        assert (error.path, error.limit) == ("/large", 10_000)
        assert error.size > 20_000
        assert before.result().data == b"1"
        assert after.result().data is not None  # sent again
        assert isinstance(write.error, zk.ConnectionLossError)
        assert there.count(OpCode.GET_DATA) == 4
        with pytest.raises(zk.PacketTooLargeError, match="20088 bytes, more than max_packet_size=10000"):
            await client.get("/large")


async def test_a_list_of_children_that_is_too_large_fails_its_request_alone() -> None:
    """Case 46."""
    async with world() as there, there.connect("a", max_packet_size=5_000) as client:
        await client.create("/parent")
        for number in range(100):
            await client.create(f"/parent/{number:0100}")
        with pytest.raises(zk.PacketTooLargeError):
            await client.get_children("/parent")
        assert len((await client.get("/parent")).data or b"") == 0


# --- sessions that end -----------------------------------------------------------------------------------


async def test_when_the_session_expires_waiting_writes_fail_and_reads_go_on_in_the_next_one() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        old = client.session
        await _suspend(there, client)
        there.server.expire(old.id)
        async with client.pipeline() as pipe:
            read, write, other_write = pipe.get("/n"), pipe.set("/n", b"2"), pipe.delete("/n")
            await anyio.wait_all_tasks_blocked()
            await there.server.accept()
        assert read.result().data == b"1"
        for reply in (write, other_write):
            assert isinstance(reply.error, zk.SessionExpiredError)
            assert reply.error.session_id == old.id
        assert write.error is not other_write.error
        assert client.session is not old


async def test_a_write_that_was_in_flight_when_the_session_expired_is_unknown() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        there.server.faults.inject(1, FaultKind.EXPIRE, session_id=client.session.id)
        with pytest.raises(zk.ConnectionLossError):
            await client.set("/n", b"2")
        assert (await client.get("/n")).data == b"1"


# --- wrong arguments -------------------------------------------------------------------------------------

Call = Callable[[zk.Client], Awaitable[Any]]

WRONG: list[tuple[Call, type[Exception], str]] = [
    (lambda client: client.get("a"), ValueError, "'a' must start with a slash"),
    (lambda client: client.get("/a/"), ValueError, "'/a/' must not end in a slash"),
    (lambda client: client.get("/a//b"), ValueError, "'/a//b' must not contain an empty component"),
    (lambda client: client.get("/a/./b"), ValueError, "'/a/./b' must not contain a relative component"),
    (lambda client: client.get("/.."), ValueError, "'/..' must not contain a relative component"),
    (lambda client: client.get("/a\0"), ValueError, "'/a\\x00' must not contain '\\x00'"),
    (lambda client: client.get("/\ue000"), ValueError, "ZooKeeper forbids this character"),
    (lambda client: client.get("/\ud800"), ValueError, "ZooKeeper forbids this character"),
    (lambda client: client.get("/\U0001f600"), ValueError, "ZooKeeper forbids this character"),
    (lambda client: client.get(b"/a"), TypeError, "not bytes: b'/a'"),  # type: ignore[arg-type]
    (lambda client: client.get(""), ValueError, "''"),
    (lambda client: client.exists("a"), ValueError, "'a'"),
    (lambda client: client.get_children("a"), ValueError, "'a'"),
    (lambda client: client.get_children_with_stat("a"), ValueError, "'a'"),
    (lambda client: client.get_acl("a"), ValueError, "'a'"),
    (lambda client: client.sync("a"), ValueError, "'a'"),
    (lambda client: client.ensure_path("a"), ValueError, "'a'"),
    (lambda client: client.create("a"), ValueError, "'a'"),
    (lambda client: client.create("/a/"), ValueError, "'/a/'"),
    (lambda client: client.create("/a", "text"), TypeError, "not str"),  # type: ignore[arg-type]
    (lambda client: client.create("/a", bytearray(b"x")), TypeError, "not bytearray"),  # type: ignore[arg-type]
    (lambda client: client.create("/a", bytes(100_000)), ValueError, "data must have at most"),
    (lambda client: client.create("/a", acl=[]), ValueError, "at least one entry"),
    (lambda client: client.create("/a", acl=["x"]), TypeError, "not of 'x'"),  # type: ignore[list-item]
    (
        lambda client: client.create("/a", container=True, ephemeral=True),
        ValueError,
        "must be given without ephemeral",
    ),
    (lambda client: client.create("/a", ttl=5, ephemeral=True), ValueError, "without ttl"),
    (lambda client: client.create("/a", ttl=0), ValueError, "not 0"),
    (lambda client: client.create("/a", ttl=-1), ValueError, "not -1"),
    (lambda client: client.create("/a", ttl=math.inf), ValueError, "not inf"),
    (lambda client: client.create("/a", ttl=math.nan), ValueError, "not nan"),
    (lambda client: client.create("/a", ttl=1e12), ValueError, "not 1000000000000.0"),
    (lambda client: client.create("/a", ttl="5"), TypeError, "not '5'"),  # type: ignore[arg-type]
    (lambda client: client.create("/a", ttl=True), TypeError, "not True"),
    (lambda client: client.reconfig(leaving=[1], from_version="1"), TypeError, "not '1'"),  # type: ignore[arg-type]
    (lambda client: client.stream([], window="9").__aenter__(), TypeError, "not '9'"),  # type: ignore[arg-type]
    (lambda client: client.walk(window=1.5).__aenter__(), TypeError, "not 1.5"),  # type: ignore[arg-type]
    (lambda client: client.create("a", container=True), ValueError, "'a'"),
    (lambda client: client.create("/a", acl=[zk.ACL(32, zk.ANYONE_ID)]), ValueError, "from 0 to 31"),
    (lambda client: client.set("/a", b"", version=2**31), ValueError, "at most 2147483647, not 2147483648"),
    (lambda client: client.create_with_stat("a"), ValueError, "'a'"),
    (lambda client: client.set("/a", b"", version=-1), ValueError, "not be negative, got -1; None means any"),
    (lambda client: client.set("/a", b"", version=-(2**31)), ValueError, "not be negative, got -2147483648"),
    (lambda client: client.set("/a", b"", version="1"), TypeError, "not '1'"),  # type: ignore[arg-type]
    (lambda client: client.set("/a", b"", version=True), TypeError, "not True"),
    (lambda client: client.set("/a", 5), TypeError, "not int"),  # type: ignore[arg-type]
    (lambda client: client.set("/a", bytes(100_000)), ValueError, "not 100000"),
    (lambda client: client.delete("/a", version=-1), ValueError, "not be negative, got -1"),
    (lambda client: client.set_acl("/a", []), ValueError, "at least one entry"),
    (lambda client: client.set_acl("/a", zk.OPEN_ACL, version=-2), ValueError, "not be negative, got -2"),
    (lambda client: client.watch("a").__aenter__(), ValueError, "'a'"),
    (lambda client: client.get_and_watch("a").__aenter__(), ValueError, "'a'"),
    (lambda client: client.exists_and_watch("a").__aenter__(), ValueError, "'a'"),
    (lambda client: client.get_children_and_watch("a").__aenter__(), ValueError, "'a'"),
    (lambda client: client.add_auth("digest", 5), TypeError, "not int"),  # type: ignore[arg-type]
    (lambda client: client.add_auth(b"digest", "a:b"), TypeError, "not bytes"),  # type: ignore[arg-type]
]


async def test_a_wrong_argument_is_refused_before_anything_is_sent() -> None:
    """Case 45."""
    network = MemoryNetwork(record=True)
    async with (
        zk.DevServer(network=network, host="zk", port=2181),
        zk.connect("zk", network=network, max_packet_size=100_000) as client,
    ):
        sent = [link.to_server.recorded for link in network.links]
        for call, kind, message in WRONG:
            with pytest.raises(kind, match=re.escape(message)):
                await call(client)
        await anyio.wait_all_tasks_blocked()
        assert [link.to_server.recorded for link in network.links] == sent
        with pytest.raises(ValueError, match="'a'"):
            client.chroot("a")


async def test_a_wrong_argument_in_a_block_is_refused_at_once_and_nothing_is_sent() -> None:
    async with world() as there, there.connect("a") as client:
        for wrong in ("create", "set", "delete", "check"):
            with pytest.raises(ValueError, match="'a' must start with a slash"):
                async with client.transaction() as tx:
                    tx.create("/fine")
                    getattr(tx, wrong)(*(("a", b"") if wrong in ("create", "set") else ("a",)))
        assert there.requests == []
        with pytest.raises(ValueError, match="'a' must start with a slash"):
            async with client.pipeline() as pipe:
                pipe.get("a")
        assert there.requests == []


async def test_a_wrong_argument_is_refused_without_a_connection() -> None:
    async with world() as there, there.connect("a", max_packet_size=100_000) as client:
        await _suspend(there, client)
        for call, kind, message in WRONG:
            with pytest.raises(kind, match=re.escape(message)):
                await call(client)


async def test_a_request_that_is_larger_than_servers_take_is_named_and_never_sent_again() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        message = r"the request has 1\d{6} bytes: more than the server's jute\.maxbuffer\?"
        with pytest.raises(zk.ConnectionLossError, match=message):
            await client.set("/n", bytes(2**20))
        with pytest.raises(zk.ConnectionLossError, match=message):
            async with client.transaction() as tx:
                tx.check("/n")
                for number in range(2):
                    tx.create(f"/{number}", bytes(2**19))
        with pytest.raises(zk.ConnectionLossError, match=message):
            async with client.multi_read() as reads:
                for number in range(1100):
                    reads.get(f"/{number:01000}")
        assert sorted(await client.get_children("/")) == ["n", "zookeeper"]
        assert client.stats().connections == 4


async def test_data_of_exactly_the_limit_is_sent() -> None:
    async with world() as there, there.connect("a", max_packet_size=100_000) as client:
        await client.create("/a", bytes(100_000 - 1024))
        assert len((await client.get("/a")).data or b"") == 100_000 - 1024


# --- what the server says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-127, zk.ThrottledError),
        (-125, zk.QuotaExceededError),
        (-122, zk.RequestTimeoutError),
        (-14, zk.ReconfigInProgressError),
        (-6, zk.UnimplementedError),
        (-4, zk.ConnectionLossError),
        (-9999, zk.UnknownServerError),
    ],
)
async def test_a_refusal_is_raised_as_its_code_says(code: int, kind: type[zk.ZooKeeperError]) -> None:
    """Case 52."""
    network = MemoryNetwork()

    def answer(side: ServerSide, requested: Requested) -> bool:
        side.reply(requested.xid, 7, code)
        return True

    async with (
        scripted(network, greet=accept_all(), answer=answer),
        zk.connect("scripted", network=network) as client,
    ):
        with pytest.raises(kind) as caught:
            await client.set("/a", b"")
        assert getattr(caught.value, "code", None) == code
        assert getattr(caught.value, "path", None) == "/a"


async def test_a_long_session_keeps_its_session_alive_by_pings() -> None:
    async with world() as there, there.connect("a") as client:
        session = client.session
        await anyio.sleep(100 * TIMEOUT)
        assert client.session is session
        assert session.state is SessionState.CONNECTED

"""connect(): its arguments, how long entering takes, what comes out of the block, and how it is left."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import accept_all, saying, scripted
from tests.recipes.fault_sweep import TIMEOUT, World, asyncio_only, real_time, virtual_time, world
from zkrecipes.devserver import FaultKind, HeldReplies
from zkrecipes.enums import OpCode, SessionState
from zkrecipes.net.transport.network import Address, Handler, Stream, TcpNetwork
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


class OwnGroup(ExceptionGroup[Exception]):
    """A subclass of exception groups that the caller has defined."""


# --- arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": ""}, "connect string ''"),
        ({"hosts": "h:1:2:x["}, "must be written as '[address]:port'"),
        ({"session_timeout": 10_000}, "seconds, not milliseconds: at most 1000, not 10000"),
        ({"session_timeout": 0}, "session_timeout must be above 0 seconds, not 0"),
        ({"session_timeout": float("nan")}, "session_timeout must be above 0 seconds, not nan"),
        ({"connect_timeout": -1}, "connect_timeout must be above 0 seconds, not -1"),
        ({"tick_time": 0.0}, "tick_time must be above 0 seconds, not 0.0"),
        ({"max_packet_size": 1024}, "max_packet_size must be above 1024 bytes, not 1024"),
        ({"default_acl": []}, "acl must have at least one entry"),
        (
            {"resume": zk.SessionKey(0, bytes(16), 4.0)},
            "must be a 64-bit number other than 0, not 0",
        ),
        (
            {"resume": zk.SessionKey(2**63, bytes(16), 4.0)},
            "a 64-bit number other than 0, not 9223372036854775808",
        ),
        (
            {"resume": zk.SessionKey(1, bytes(16), 0)},
            "timeout of a SessionKey must be above 0 seconds, not 0",
        ),
    ],
)
async def test_an_argument_that_cannot_be_right_is_a_value_error(
    options: dict[str, Any], message: str
) -> None:
    network = MemoryNetwork(record=True)
    with pytest.raises(ValueError, match=re.escape(message)):
        async with zk.connect(**_defaults(network) | options):
            pass
    assert network.links == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": 5}, "a connect string must be a str, not int"),
        ({"session_timeout": "10"}, "session_timeout must be a number of seconds, not '10'"),
        ({"session_timeout": True}, "session_timeout must be a number of seconds, not True"),
        ({"connect_timeout": "1"}, "connect_timeout must be a number of seconds, not '1'"),
        ({"max_packet_size": "4m"}, "max_packet_size must be a number of bytes, not '4m'"),
        ({"auth": "digest:user:pw"}, "auth must be a list of pairs"),
        ({"auth": ("digest", "user:pw")}, "auth must be a list of pairs"),
        ({"auth": [("digest",)]}, "auth must be a list of pairs"),
        ({"auth": [(b"digest", "user:pw")]}, "an auth scheme must be a str, not bytes"),
        ({"auth": [("digest", 12345)]}, "a credential must be a str or bytes, not int"),
        ({"default_acl": ["world:anyone"]}, "acl must be a list of ACL entries"),
        ({"resume": (1, b"12345")}, "resume must be a SessionKey, such as session.key, not tuple"),
        ({"resume": zk.SessionKey(1, "12345", 4.0)}, "must consist of an int, bytes and a number"),  # type: ignore[arg-type]
    ],
)
async def test_an_argument_of_the_wrong_type_is_a_type_error_that_shows_no_secret(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(message)) as caught:
        async with zk.connect(**_defaults(MemoryNetwork()) | options):
            pass
    assert "pw" not in str(caught.value).replace("user:password", "")
    assert "12345" not in str(caught.value)


def _defaults(network: MemoryNetwork) -> dict[str, Any]:
    return {"hosts": "zk", "network": network}


# --- entering --------------------------------------------------------------------------------------------


async def test_entering_waits_until_there_is_a_session() -> None:
    async with world() as there:
        await there.server.refuse()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_accept_after, there.server, 7.0)
            start = anyio.current_time()
            async with there.connect("a") as client:
                assert client.state is SessionState.CONNECTED
                assert 7 <= anyio.current_time() - start <= 13


async def _accept_after(server: zk.DevServer, seconds: float) -> None:
    await anyio.sleep(seconds)
    await server.accept()


async def test_entering_is_bounded_and_the_error_lists_every_host_with_its_last_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Case 3."""
    network = MemoryNetwork()
    async with saying(network, b"HTTP/1.1 400 Bad Request\r\n\r\n", "http"), saying(network, b"", "silent"):
        network.black_hole(host="10.0.0.9")
        start = anyio.current_time()
        with pytest.raises(zk.ConnectTimeoutError) as caught:
            async with zk.connect(
                "http,silent,unknown,10.0.0.1,10.0.0.9",
                network=network,
                connect_timeout=12,
                session_timeout=10,
            ):
                pass
        assert anyio.current_time() - start == pytest.approx(12)
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert error.timeout == 12
    assert list(error.reasons) == [
        "http:2181",
        "silent:2181",
        "unknown:2181",
        "10.0.0.1:2181",
        "10.0.0.9:2181",
    ]
    assert "it speaks HTTP" in error.reasons["http:2181"]
    assert "no answer within 3.33 seconds" in error.reasons["silent:2181"]
    assert "does not resolve" in error.reasons["unknown:2181"]
    assert "refused" in error.reasons["10.0.0.1:2181"]
    assert "no answer to the attempt to connect within 3.33 seconds" in error.reasons["10.0.0.9:2181"]
    assert str(error).startswith("no ZooKeeper session within 12 seconds\n  http:2181: ")
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings
    assert all(host in warnings[0].getMessage() for host in error.reasons)


async def test_entering_may_be_unbounded() -> None:
    async with world() as there:
        await there.server.refuse()
        with anyio.move_on_after(1000) as scope:
            async with there.connect("a", connect_timeout=None):
                raise AssertionError("there is nobody to connect to")
        assert scope.cancelled_caught


async def test_a_refused_credential_ends_entering_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Case 63."""
    async with world() as there:
        with pytest.raises(zk.AuthFailedError, match="refused the credentials"):
            async with there.connect("a", auth=[("nonsense", "user:pw")]):
                raise AssertionError("not attached")


async def test_credentials_are_sent_before_anything_else_on_every_connection() -> None:
    """Case 68."""
    async with (
        world() as there,
        there.connect("a", auth=[("digest", "user:pw"), ("digest", b"b:c")]) as client,
    ):
        await client.create("/mine", b"", acl=zk.CREATOR_ALL_ACL)
        (acl, _) = await client.get_acl("/mine")
        assert [entry.id for entry in acl] == [zk.digest_id("user", "pw"), zk.digest_id("b", "c")]
        there.server.drop_connections()
        assert (await client.get("/mine")).data == b""
        opcodes = [each.opcode for each in there.requests]
        assert opcodes[:2] == opcodes[4:6] == [OpCode.AUTH] * 2
        assert opcodes.count(OpCode.AUTH) == 4


async def test_a_chroot_that_is_missing_can_be_made() -> None:
    async with world() as there:
        hosts = f"{there.server.connect_string}/app/team"
        async with zk.connect(hosts, network=there.network, create_chroot=True) as client:
            assert there.znodes() == {"/app", "/app/team"}
            await client.create("/a")
            assert "/app/team/a" in there.znodes()
        async with zk.connect(hosts, network=there.network, create_chroot=True) as client:
            assert await client.get_children("/") == ["a"]


async def test_making_the_chroot_is_a_part_of_entering_and_as_bounded() -> None:
    async with world() as there:
        hosts = f"{there.server.connect_string}/app"
        held = there.server.faults.drop_request(OpCode.CREATE, times=1000)
        with pytest.raises(zk.ConnectTimeoutError, match="within 5 seconds"):
            async with zk.connect(hosts, network=there.network, create_chroot=True, connect_timeout=5):
                raise AssertionError("there is no chroot")
        held.remove()
        assert there.znodes() == set()
        there.server.faults.drop_request(OpCode.CREATE)
        async with zk.connect(hosts, network=there.network, create_chroot=True):
            assert there.znodes() == {"/app"}


async def test_a_chroot_is_not_made_unless_asked_for() -> None:
    async with world() as there:
        async with zk.connect(f"{there.server.connect_string}/app", network=there.network):
            pass
        assert there.znodes() == set()


async def test_cancelling_the_entering_leaves_nothing_behind() -> None:
    async with world() as there:
        await there.server.refuse()
        with anyio.move_on_after(3) as scope:
            async with there.connect("a"):
                raise AssertionError("there is nobody to connect to")
        assert scope.cancelled_caught
        await there.server.accept()
        await anyio.sleep(60)
        assert len(there.server.processor.sessions) == 0


async def test_an_answer_that_comes_while_entering_is_given_up_does_no_harm() -> None:
    async with world() as there:
        outcomes = set()
        for _ in range(10):  # whichever comes first
            held = there.server.faults.hold_replies()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_release_after, held, 1.0)
                outcomes.add(await _enter(there, connect_timeout=1.0, session_timeout=40.0))
        assert outcomes <= {"entered", "zk:2181: no answer yet, while greeting"}


async def _release_after(held: HeldReplies, seconds: float) -> None:
    await anyio.sleep(seconds)
    held.release()


async def _enter(there: World, **options: Any) -> str:
    try:
        async with there.connect("a", **options):
            return "entered"
    except zk.ConnectTimeoutError as error:
        return "; ".join(f"{host}: {reason}" for host, reason in error.reasons.items())


# --- what comes out --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        KeyboardInterrupt(),
        SystemExit(3),
        ExceptionGroup("mine", [ValueError("one")]),
        ExceptionGroup("mine", [ValueError("one"), OSError("two")]),
        OwnGroup("mine", [ValueError("one")]),
        BaseExceptionGroup("mine", [KeyboardInterrupt()]),
        zk.NoNodeError("/mine"),
    ],
    ids=repr,
)
async def test_what_the_block_raises_comes_out_as_it_is(error: BaseException) -> None:
    async with world() as there:
        with pytest.raises(type(error)) as caught:
            async with there.connect("a"):
                raise error
        assert caught.value is error
        assert error.__cause__ is None
        assert len(there.server.processor.sessions) == 0


async def test_a_block_that_fails_while_it_is_cancelled_raises_its_own_error_bare() -> None:
    error = ValueError("mine")

    async def fail_while_cancelled(there: World) -> None:
        with anyio.CancelScope() as outer:
            async with there.connect("a"):
                outer.cancel()
                try:
                    await anyio.sleep_forever()
                finally:
                    raise error

    async with world() as there:
        with pytest.raises(ValueError, match="mine") as caught:
            await fail_while_cancelled(there)
        assert caught.value is error


async def test_a_cancellation_from_outside_passes_on() -> None:
    async with world() as there:
        with anyio.move_on_after(5) as scope:
            async with there.connect("a"):
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert len(there.server.processor.sessions) == 0


async def test_a_fault_of_the_clients_own_ends_the_block_and_is_bare() -> None:
    class Faulty:
        async def resolve(self, host: str, port: int) -> list[Address]:
            raise ZeroDivisionError("a bug")

        async def connect(self, host: str, port: int) -> Stream:
            raise NotImplementedError

        def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
            raise NotImplementedError

    with pytest.raises(ZeroDivisionError, match="a bug"):
        async with zk.connect("zk", network=Faulty()):
            raise AssertionError("not entered")


# --- leaving ---------------------------------------------------------------------------------------------


async def test_leaving_closes_the_session_and_its_ephemerals_go_at_once() -> None:
    async with world() as there:
        async with there.connect("a") as client:
            await client.create("/mine", ephemeral=True)
        assert there.znodes() == set()
        assert len(there.server.processor.sessions) == 0
        assert client.state is SessionState.CLOSED
        await client.session.wait_closed()


async def test_a_session_that_is_kept_goes_on_in_another_client_with_its_ephemerals() -> None:
    async with world() as there:
        async with there.connect("a", keep_session=True) as first:
            await first.create("/mine", ephemeral=True)
            key = first.session.key
        assert first.state is SessionState.CLOSED
        assert there.znodes() == {"/mine"}
        await anyio.sleep(TIMEOUT / 2)
        async with there.connect("b", resume=key) as second:
            assert second.session.id == first.session.id
            assert second.session.key == key
            assert (second.stats().sessions, second.stats().connections) == (1, 1)
            await anyio.sleep(2 * TIMEOUT)
            there.server.drop_connections()
            await second.sync()
            await second.delete("/mine")
            assert second.session.id == first.session.id
        assert len(there.server.processor.sessions) == 0


async def test_a_kept_session_expires_if_no_client_resumes_it() -> None:
    async with world() as there:
        async with there.connect("a", keep_session=True) as first:
            await first.create("/mine", ephemeral=True)
        await anyio.sleep(2 * TIMEOUT)
        assert there.znodes() == set()
        async with there.connect("a", resume=first.session.key) as second:
            assert second.session.id not in {0, first.session.id}
            await second.create("/mine", ephemeral=True)
        with pytest.raises(zk.SessionExpiredError) as caught:
            async with there.connect("a", resume=first.session.key, renew=False):
                raise AssertionError("there is nothing to go on with")
        assert caught.value.session_id == first.session.id


async def test_a_session_is_kept_whatever_ends_the_block_and_whether_there_is_a_server_or_not() -> None:
    async with world() as there:
        with pytest.raises(ValueError, match="mine"):
            async with there.connect("a", keep_session=True) as first:
                raise ValueError("mine")
        async with there.connect("b", keep_session=True, resume=first.session.key):
            there.network.cut()
            start = anyio.current_time()
        assert anyio.current_time() - start < 0.1, "there is nothing to say to a server"
        there.network.heal()
        async with there.connect("c", resume=first.session.key) as third:
            assert third.session.id == first.session.id


async def test_a_session_that_no_server_can_be_asked_about_is_given_up_after_its_timeout() -> None:
    async with world() as there:
        async with there.connect("a", keep_session=True) as first:
            pass
        there.server.pause()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_resume_after, there.server, TIMEOUT + 1)
            start = anyio.current_time()
            async with there.connect("b", resume=first.session.key, connect_timeout=None) as second:
                assert anyio.current_time() - start >= TIMEOUT
                assert second.session.id != first.session.id
        assert len(there.server.processor.sessions) == 0, "the old one was closed before the new one was made"


async def _resume_after(server: zk.DevServer, seconds: float) -> None:
    await anyio.sleep(seconds)
    server.resume()


@pytest.mark.parametrize(("asked", "given"), [(2 * TIMEOUT, TIMEOUT), (TIMEOUT / 2, TIMEOUT / 2)])
async def test_a_session_is_resumed_with_a_shorter_timeout_and_never_with_a_longer_one(
    asked: float, given: float
) -> None:
    async with world() as there:
        async with there.connect("a", keep_session=True) as first:
            pass
        async with there.connect("b", resume=first.session.key, session_timeout=asked) as second:
            assert second.session.timeout == given
            there.server.drop_connections()
            await second.sync()
            assert second.session.timeout == given
            there.server.expire(second.session.id)
            await second.session.wait_closed()
            await second.sync()
            assert second.session.timeout == asked, "a session of its own"


async def test_the_key_of_a_session_does_not_show_its_password() -> None:
    async with world() as there, there.connect("a") as client:
        key = client.session.key
        assert repr(key) == f"SessionKey(id=0x{client.session.id:x}, timeout={TIMEOUT})"
        assert key == zk.SessionKey(client.session.id, client.session.password, TIMEOUT)


async def test_leaving_is_bounded_when_the_server_is_gone() -> None:
    """Case 28."""
    async with world() as there:
        async with there.connect("a"):
            there.network.cut()
            start = anyio.current_time()
        assert anyio.current_time() - start <= 2.1
        there.network.heal()


async def test_leaving_while_suspended_closes_the_session_if_a_server_comes_back_in_time() -> None:
    async with world() as there:
        async with anyio.create_task_group() as tasks, there.connect("a"):
            await there.server.refuse()
            there.server.drop_connections()
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(_accept_after, there.server, 0.5)
        assert len(there.server.processor.sessions) == 0


async def test_leaving_in_the_moment_of_an_expiry_opens_no_new_session() -> None:
    async with world() as there:
        async with there.connect("a") as client:
            there.server.faults.inject(1, FaultKind.EXPIRE, session_id=client.session.id)
        await anyio.sleep(1)
        assert len(there.server.processor.sessions) == 0
        assert client.state.is_final


async def test_after_leaving_every_call_raises_that_the_client_is_closed() -> None:
    async with world() as there:
        async with there.connect("a") as client:
            pass
        for call in (client.get, client.delete, client.create, client.exists):
            with pytest.raises(zk.SessionClosedError, match="the client is closed"):
                await call("/a")
        with pytest.raises(zk.SessionClosedError):
            async with client.watch("/a"):
                pass


async def test_requests_that_still_wait_when_the_block_ends_get_an_error() -> None:
    """Case 27."""
    errors: list[zk.ZooKeeperError] = []

    async def ask(client: zk.Client, path: str) -> None:
        try:
            await client.get(path)
        except zk.ZooKeeperError as error:
            errors.append(error)

    async with world() as there, anyio.create_task_group() as tasks:
        async with there.connect("a") as client:
            await there.server.refuse()
            there.server.drop_connections()
            for path in ("/a", "/b"):
                tasks.start_soon(ask, client, path)
            await anyio.wait_all_tasks_blocked()
        await anyio.wait_all_tasks_blocked()
        assert [type(error) for error in errors] == [zk.SessionClosedError] * 2
        assert errors[0] is not errors[1]  # each is raised in a separate task


# --- asyncio's own cancellation --------------------------------------------------------------------------


@asyncio_only
@pytest.mark.parametrize("passes", range(1, 8))
async def test_cancelling_twice_natively_still_closes_the_session(passes: int) -> None:
    """Case 29."""
    async with world() as there:
        entered = asyncio.Event()

        async def work() -> None:
            async with there.connect("a") as client:
                await client.create("/mine", ephemeral=True)
                entered.set()
                await asyncio.sleep(1000)

        task = asyncio.ensure_future(work())
        await entered.wait()
        task.cancel()
        for _ in range(passes):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert there.znodes() == set()
        assert len(there.server.processor.sessions) == 0


@asyncio_only
async def test_a_timeout_of_asyncio_closes_the_session() -> None:
    async with world() as there:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5), there.connect("a"):
                await asyncio.sleep(1000)
        assert len(there.server.processor.sessions) == 0


@asyncio_only
async def test_a_timeout_of_asyncio_that_ends_while_the_session_is_closed_does_not_stop_that() -> None:
    async with world() as there, there.connect("b") as other:
        held = None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                async with there.connect("a") as client:
                    await client.create("/mine", ephemeral=True)
                    held = there.server.faults.hold_replies(session_id=client.session.id)
                    await asyncio.sleep(4.5)
        assert held is not None
        assert there.znodes() == set()
        assert {each.id for each in there.server.processor.sessions} == {other.session.id}


# --- over TCP --------------------------------------------------------------------------------------------


@real_time
async def test_the_default_network_is_tcp() -> None:
    async with zk.DevServer() as server:
        async with zk.connect(server.connect_string) as client:
            assert await client.create("/a", b"1") == "/a"
            assert (await client.get("/a")).data == b"1"
        assert len(server.processor.sessions) == 0


@real_time
async def test_a_refused_port_is_a_reason() -> None:
    network = TcpNetwork()

    async def never(stream: object) -> None:
        raise AssertionError("nobody listens any more")

    async with network.serve("127.0.0.1", 0, never) as (host, port):
        pass
    with pytest.raises(zk.ConnectTimeoutError, match="Connection refused") as caught:
        async with zk.connect(f"{host}:{port}", connect_timeout=0.05):
            pass
    assert list(caught.value.reasons) == [f"127.0.0.1:{port}"]


async def test_a_negative_session_id_is_as_good_as_any() -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(-5)),
        zk.connect("scripted", network=network, session_timeout=TIMEOUT) as client,
    ):
        assert client.session.id == -5

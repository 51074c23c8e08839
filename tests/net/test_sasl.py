"""SASL with the whole client, in memory and in virtual time: accepted clients, and each refusal."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_6, OldServer
from tests.net.sasl_peers import CHALLENGE, Answer, Mute, SaslServer, Say, rspauth
from tests.recipes.fault_sweep import virtual_time
from zkrecipes.enums import OpCode, SessionState
from zkrecipes.net.transport.network import Address
from zkrecipes.protocol.sasl import SaslExchange
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

SECRET = "open-sesame"
BOB = zk.DigestMD5("bob", SECRET)


@pytest.fixture(autouse=True)
def _no_secret_in_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check after each test that no log record shows the password."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        assert SECRET not in f"{record.getMessage()} {record.__dict__!r}"


@asynccontextmanager
async def sasl_server(**options: Any) -> AsyncIterator[SaslServer]:
    """Serve at `sasl:2181` a server that refuses all requests before SASL."""
    network = MemoryNetwork()
    server = SaslServer(network, **options)
    async with zk.DevServer(network=network, host="zk", port=2181, seed=1, start_time=1e9), server.serving():
        yield server


def connect(
    server: SaslServer, hosts: str = "sasl", **options: Any
) -> AbstractAsyncContextManager[zk.Client]:
    options.setdefault("sasl", BOB)
    return zk.connect(hosts, network=server.network, **options)


async def why_not(server: SaslServer, **options: Any) -> str:
    """Return the reason why entering fails, at once and after one connection."""
    start = anyio.current_time()
    with pytest.raises(zk.AuthFailedError) as caught:
        async with connect(server, **options):
            raise AssertionError("attached")
    assert anyio.current_time() - start < 1
    assert server.seen.count(0) == 1
    assert_no_secret(caught.value)
    return caught.value.reason


def assert_no_secret(error: BaseException | None) -> None:
    """Check that no secret is in the text of an error, nor in its traceback, including local variables."""
    assert error is not None
    assert SECRET not in f"{error} {error!r} {vars(error)!r}"
    assert SECRET not in "".join(traceback.format_exception(error))
    with_locals = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert SECRET not in "".join(with_locals.format())


# --- accepted clients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [None, 1])
async def test_the_client_gets_in(chunk_size: int | None) -> None:
    async with sasl_server() as server:
        server.network = MemoryNetwork(chunk_size=chunk_size)
        async with (
            zk.DevServer(network=server.network, host="zk", port=2181),
            server.serving(),
            connect(server) as client,
        ):
            await client.create("/a", b"1")
            assert (await client.get("/a")).data == b"1"
            assert server.seen[:4] == [0, OpCode.SASL, OpCode.SASL, OpCode.CREATE]


async def test_every_connection_begins_with_it_also_before_credentials_and_watches() -> None:
    """Case 68."""
    async with sasl_server() as server, connect(server, auth=[("digest", "user:pw")]) as client:
        await client.create("/a", b"1")
        async with client.get_and_watch("/a"):
            session_id = client.session.id
            server.seen.clear()
            server.network.reset(host="sasl")
            assert (await client.get("/a")).data == b"1"
            assert client.session.id == session_id
            assert server.seen == [
                0,
                OpCode.SASL,
                OpCode.SASL,
                OpCode.AUTH,
                OpCode.SET_WATCHES,
                OpCode.GET_DATA,
            ]


async def test_each_connection_has_its_own_nonce() -> None:
    responses = []

    def say(nth: int, token: bytes) -> Answer:
        if nth == 0:
            return Answer(CHALLENGE)
        responses.append(token)
        return Answer(rspauth({"bob": SECRET}, token))

    async with sasl_server(say=say) as server:
        for _ in range(2):
            async with connect(server):
                pass
    assert responses[0] != responses[1]


async def test_what_a_server_can_do_is_asked_with_sasl_as_well() -> None:
    """A server that hides its version, and answers only authenticated clients."""
    async with sasl_server() as server:
        old = OldServer(server.network, Address("zk", 2181), OPCODES_3_6, None)
        server.behind = Address("old", 2181)
        async with old.serving(), connect(server) as client, client.watch("/a", recursive=True):
            with pytest.raises(zk.UnimplementedError, match=r"whoami needs ZooKeeper 3\.7"):
                await client.whoami()


class Expiring:
    """A mechanism without a first token while its tickets have expired."""

    blocks: ClassVar[bool] = False
    suspects: ClassVar[str] = "the tickets"

    def __init__(self) -> None:
        self.is_expired = False

    def exchange(self, host: str, nonce: bytes) -> SaslExchange:
        exchange = BOB.exchange(host, nonce)
        return self if self.is_expired else exchange

    def begin(self) -> bytes:
        raise zk.AuthFailedError(reason="the tickets have expired")

    def respond(self, challenge: bytes | None) -> bytes | None:
        raise AssertionError("it never begins")


async def test_a_reconnect_waits_for_tickets_as_long_as_the_session_may_live(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Case 67. Nothing is sent until then, and every pass is logged."""
    async with sasl_server() as server:
        tickets = Expiring()
        async with connect(server, sasl=tickets, session_timeout=30) as client:
            session_id = client.session.id
            tickets.is_expired = True
            server.seen.clear()
            server.network.reset(host="sasl")
            with anyio.move_on_after(15):
                await client.get("/")
            assert client.state is SessionState.SUSPENDED
            assert server.seen == []
            assert "sasl:2181: the tickets have expired" in caplog.text
            tickets.is_expired = False
            assert (await client.get("/")).data is not None
            assert client.session.id == session_id


async def test_a_silent_kdc_is_reported_as_such_and_not_as_a_silent_server() -> None:
    """A thread waits for it, which continues in real time."""

    class Silent(Expiring):
        blocks: ClassVar[bool] = True
        hangs = threading.Event()

        def begin(self) -> bytes:
            self.hangs.wait(10)
            return b""

    silent = Silent()
    silent.is_expired = True
    async with sasl_server() as server:
        with pytest.raises(zk.ConnectTimeoutError) as caught:
            async with connect(server, sasl=silent, connect_timeout=7):
                raise AssertionError("attached")
        silent.hangs.set()
    assert caught.value.reasons == {"sasl:2181": "no answer from the KDC within 3.5 seconds"}


async def test_a_client_that_gets_no_tickets_ends_when_its_session_has_run_out() -> None:
    """Case 67. Nothing is sent, not even to close the session early."""
    async with sasl_server() as server:
        tickets = Expiring()
        with pytest.raises(zk.AuthFailedError, match="the tickets have expired"):
            async with connect(server, sasl=tickets, session_timeout=30) as client:
                tickets.is_expired = True
                server.seen.clear()
                server.network.reset(host="sasl")
                start, changes = anyio.current_time(), client.session_changes()
                async with changes as states:
                    with pytest.raises(zk.AuthFailedError):
                        await client.get("/")
                    assert [change.state async for change in states] == [
                        SessionState.SUSPENDED,
                        SessionState.EXPIRED,
                        SessionState.AUTH_FAILED,
                    ]
        assert 29 < anyio.current_time() - start < 35
        assert server.seen == []


# --- refused clients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [zk.DigestMD5("bob", "wrong"), zk.DigestMD5("eve", SECRET)])
async def test_a_wrong_password_and_an_unknown_user_are_refused_at_once(user: zk.DigestMD5) -> None:
    """Case 63."""
    async with sasl_server() as server:
        assert await why_not(server, sasl=user) == (
            "the server refused the SASL authentication; look at user and password, and whether its "
            "mechanism is DIGEST-MD5; its log says why"
        )


async def test_a_client_without_sasl_learns_that_the_server_requires_it() -> None:
    """Case 64. Such a server shows this only in its answer to a request."""
    async with sasl_server() as server:
        with pytest.raises(zk.AuthFailedError) as caught:
            async with connect(server, sasl=None) as client:
                async with anyio.create_task_group() as tasks:
                    errors: list[Exception] = []
                    for _ in range(3):
                        tasks.start_soon(_fails, client, errors)
                assert len(errors) == 3
                assert client.state is SessionState.AUTH_FAILED
                await anyio.sleep_forever()
        assert caught.value.reason == "the server requires clients to authenticate (`sasl=`, or `auth=`)"
        assert server.seen.count(0) == 1


async def _fails(client: zk.Client, errors: list[Exception]) -> None:
    try:
        await client.get("/")
    except zk.AuthFailedError as error:
        errors.append(error)


async def test_a_server_that_does_not_know_the_password_is_not_trusted() -> None:
    """Case 65. The server accepted any response, and the client sends nothing more to it."""
    for proof in (b"rspauth=" + b"0" * 32, b"rspauth", b"\x00\xff"):
        async with sasl_server(say=lambda nth, _, proof=proof: Answer(proof if nth else CHALLENGE)) as server:
            reason = await why_not(server)
        assert "does not know the password" in reason or "did not answer in DIGEST-MD5" in reason
        assert server.seen == [0, OpCode.SASL, OpCode.SASL]


async def test_a_server_that_lets_everybody_in_is_not_trusted() -> None:
    """Case 65. Apache's with `zookeeper.allowSaslFailedClients` grants no identity, without reporting it."""
    async with sasl_server(say=lambda nth, _: Answer(None if nth else CHALLENGE)) as server:
        assert await why_not(server) == "the server gave no proof that it accepts and knows the password"


async def test_a_server_without_sasl_is_reported() -> None:
    async with sasl_server(say=lambda _nth, _token: Answer(None)) as server:
        assert await why_not(server) == "the server sent no challenge: SASL is not configured there"
    async with sasl_server(say=lambda _nth, _token: Answer(None, -6)) as server:
        reason = await why_not(server)
        assert reason == "the SASL authentication failed on the server: not implemented by the server"


async def test_a_server_with_another_mechanism_is_reported() -> None:
    for token in (b"", b"\x60\x48\x06\x06", b"SCRAM-SHA-256"):
        async with sasl_server(say=lambda _nth, _token, token=token: Answer(token)) as server:
            assert "SASL is not configured" in (reason := await why_not(server)) or "another" in reason


async def test_a_server_that_stalls_is_left_for_the_next() -> None:
    """Case 66."""
    for nth_silent in (0, 1):
        async with sasl_server() as good:
            stalled = SaslServer(good.network, say=_stalling_at(nth_silent))
            async with stalled.serving("stalled"):
                while not stalled.seen:  # hosts are tried in random order
                    start = anyio.current_time()
                    async with connect(good, "stalled,sasl", session_timeout=10) as client:
                        assert anyio.current_time() - start < 4
                        assert await client.get_children("/") == ["zookeeper"]


def _stalling_at(silent: int) -> Say:
    return lambda nth, _: Mute.STALL if nth == silent else Answer(CHALLENGE)


async def test_a_server_that_stalls_and_is_the_only_one_is_bounded() -> None:
    """Case 66."""
    async with sasl_server(say=lambda _nth, _token: Mute.STALL) as server:
        start = anyio.current_time()
        with pytest.raises(zk.ConnectTimeoutError) as caught:
            async with connect(server, connect_timeout=12, session_timeout=10):
                raise AssertionError("attached")
        assert anyio.current_time() - start < 12.1
        assert caught.value.reasons == {"sasl:2181": "no answer within 6 seconds, while authenticating"}
        assert server.seen.count(0) <= 3


async def test_a_server_that_closes_instead_of_refusing_is_tried_again_with_pauses() -> None:
    """Servers of 3.4 refuse in this way; one that stops looks the same, so the session survives."""
    async with sasl_server(say=lambda nth, _: Mute.HANG_UP if nth else Answer(CHALLENGE)) as server:
        with pytest.raises(zk.ConnectTimeoutError) as caught:
            async with connect(server, connect_timeout=30):
                raise AssertionError("attached")
        (reason,) = caught.value.reasons.values()
        assert reason == (
            "closed by the server during the SASL authentication, as older servers refuse it; look at user "
            "and password, and whether its mechanism is DIGEST-MD5; its log says why"
        )
        assert server.seen.count(0) < 40
        assert_no_secret(caught.value)


async def test_a_connection_that_breaks_at_any_token_is_replaced() -> None:
    for nth_broken in (0, 1):
        greetings = 0

        def say(nth: int, token: bytes, broken: int = nth_broken) -> Answer | Mute:
            nonlocal greetings
            greetings += nth == 0
            if greetings == 1 and nth == broken:
                return Mute.HANG_UP
            return Answer(CHALLENGE if nth == 0 else rspauth({"bob": SECRET}, token))

        async with sasl_server(say=say) as server, connect(server) as client:
            assert await client.get_children("/") == ["zookeeper"]
            assert server.seen.count(0) == 2


async def test_entering_that_is_cancelled_at_any_pass_leaves_no_connection() -> None:
    for passes in range(200):
        async with sasl_server() as server:
            is_in = False
            async with anyio.create_task_group() as tasks:

                async def enter(server: SaslServer = server) -> None:
                    nonlocal is_in
                    async with connect(server):
                        is_in = True

                tasks.start_soon(enter)
                for _ in range(passes):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked()
            ours = [link for link in server.network.links if link.server.host == "sasl"]
            assert not any(link.is_open for link in ours)
        if is_in:
            return
    raise AssertionError("nobody gets in")


# --- later -----------------------------------------------------------------------------------------------


async def test_a_password_that_is_changed_ends_the_client_at_the_next_reconnect() -> None:
    """Case 63. Requests that wait fail, and there is no other try."""
    async with sasl_server() as server:
        with pytest.raises(zk.AuthFailedError) as caught:
            async with connect(server) as client:
                server.users = {"bob": "another"}
                server.seen.clear()
                server.network.reset(host="sasl")
                with pytest.raises(zk.AuthFailedError, match="the server refused the SASL authentication"):
                    await client.get("/a")
                assert client.state is SessionState.AUTH_FAILED
                await anyio.sleep_forever()
        assert server.seen == [0, OpCode.SASL, OpCode.SASL]
        assert_no_secret(caught.value)


async def test_a_new_session_authenticates_as_well() -> None:
    async with sasl_server() as server, connect(server, session_timeout=10) as client:
        first = client.session
        server.network.cut(host="sasl")
        await anyio.sleep(30)
        assert first.state is SessionState.EXPIRED
        server.network.heal()
        await client.create("/a", b"1")
        assert client.session is not first


@pytest.mark.parametrize(
    ("sasl", "what"),
    [(("bob", SECRET), "tuple"), (SECRET, "str"), (zk.DigestMD5, "DigestMD5"), (True, "bool")],
)
async def test_a_value_that_is_not_a_mechanism_is_an_error_without_secrets(sasl: Any, what: str) -> None:
    with pytest.raises(TypeError, match=rf"sasl must be a mechanism, such as .*, not {what}$") as caught:
        async with zk.connect("zk", sasl=sasl):
            pass
    assert SECRET not in str(caught.value)

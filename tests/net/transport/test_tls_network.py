"""TLS over a network in memory: the data, the verification of peers, and each failure.

The client is the whole one, and the server is the dev server, all in virtual time.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import saying
from tests.net.tls_peers import Papers, ServingTls, papers
from tests.recipes.fault_sweep import virtual_time
from zkrecipes.net.transport.network import Stream
from zkrecipes.net.transport.tls_errors import CertificateRefusedError, TlsError
from zkrecipes.net.transport.tls_network import TlsNetwork
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

NAME = "zk.example.org"
PORT = 2281
NOW = datetime.now(UTC)


@pytest.fixture
def ours(tmp_path: Path) -> Papers:
    return papers(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Papers:
    """Another authority, which is not trusted."""
    return papers(tmp_path / "theirs")


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    """Run the tests that use it with each version."""
    return ssl.TLSVersion[request.param]


@asynccontextmanager
async def dev_server(
    context: ssl.SSLContext, network: MemoryNetwork | None = None, host: str = NAME
) -> AsyncIterator[ServingTls]:
    """A dev server that speaks TLS, at `zk.example.org:2281`."""
    serving = ServingTls(network or MemoryNetwork(), context)
    async with zk.DevServer(network=serving, host=host, port=PORT, seed=1, start_time=1e9):
        yield serving


def connect(
    serving: ServingTls, tls: Any, hosts: str = f"{NAME}:{PORT}"
) -> AbstractAsyncContextManager[zk.Client]:
    return zk.connect(hosts, tls=tls, connect_timeout=10, network=serving.network)


async def why_not(serving: ServingTls, tls: Any, hosts: str = f"{NAME}:{PORT}") -> dict[str, str]:
    """Return the reason of each host from the error of entering."""
    with pytest.raises(zk.ConnectTimeoutError) as caught:
        async with connect(serving, tls, hosts):
            raise AssertionError("attached")
    return caught.value.reasons


# --- what arrives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [None, 1000, 1])
async def test_the_client_works_over_tls(
    ours: Papers, version: ssl.TLSVersion, chunk_size: int | None
) -> None:
    context = ours.server_context(NAME)
    context.minimum_version = context.maximum_version = version
    data = bytes(range(256)) * (4 if chunk_size == 1 else 3000)
    async with (
        dev_server(context, MemoryNetwork(chunk_size=chunk_size, record=True)) as serving,
        connect(serving, zk.TLS(ca_file=ours.ca_file)) as client,
    ):
        await client.create("/node", data)
        assert (await client.get("/node")).data == data
        async with client.watch("/node", recursive=True) as events:
            await client.set("/node", b"")
            async for event in events:
                assert event.path == "/node"
                break
    assert isinstance(serving.network, MemoryNetwork)
    for link in serving.network.links:
        for direction in (link.to_server, link.to_client):
            assert b"/node" not in direction.recorded


async def test_a_context_of_the_callers_does(ours: Papers) -> None:
    context = ssl.create_default_context(cafile=ours.ca_file)
    async with dev_server(ours.server_context(NAME)) as serving, connect(serving, context) as client:
        assert await client.get_children("/") == ["zookeeper"]


async def test_a_connection_that_ends_without_tls_s_farewell_is_a_lost_connection(ours: Papers) -> None:
    async with (
        dev_server(ours.server_context(NAME)) as serving,
        connect(serving, zk.TLS(ca_file=ours.ca_file)) as client,
    ):
        assert isinstance(serving.network, MemoryNetwork)
        session_id = client.session.id
        for link in serving.network.links:
            await link.server_end.aclose()
        await client.get_children("/")
        assert client.session.id == session_id
        serving.network.reset()
        await client.get_children("/")


async def test_the_end_of_the_stream_is_what_it_is_without_tls(ours: Papers) -> None:
    async def say_goodbye(stream: Stream) -> None:
        await stream.send(b"goodbye")
        await stream.aclose()

    serving = ServingTls(MemoryNetwork(), ours.server_context(NAME))
    async with serving.serve(NAME, PORT, say_goodbye):
        stream = await TlsNetwork(serving.network, zk.TLS(ca_file=ours.ca_file)).connect(NAME, PORT)
        assert stream.peer == (NAME, PORT)
        assert await stream.receive() == b"goodbye"
        assert await stream.receive() == b""
        assert await stream.receive() == b""
        await stream.aclose()


async def test_a_stream_that_was_closed_here_raises_os_error(ours: Papers) -> None:
    serving = ServingTls(MemoryNetwork(), ours.server_context(NAME))
    async with serving.serve(NAME, PORT, _say_nothing):
        stream = await TlsNetwork(serving.network, zk.TLS(ca_file=ours.ca_file)).connect(NAME, PORT)
        await stream.aclose()
        await stream.aclose()
        with pytest.raises(ConnectionAbortedError):
            await stream.send(b"x")
        with pytest.raises(ConnectionAbortedError):
            await stream.receive()


async def _say_nothing(stream: Stream) -> None:
    while await stream.receive():
        pass


async def test_bytes_that_cannot_be_decrypted_are_an_os_error(ours: Papers) -> None:
    async def speak_plainly(stream: Stream) -> None:
        await stream.receive()
        await serving.carriers[-1].send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    serving = ServingTls(MemoryNetwork(), ours.server_context(NAME))
    async with serving.serve(NAME, PORT, speak_plainly):
        stream = await TlsNetwork(serving.network, zk.TLS(ca_file=ours.ca_file)).connect(NAME, PORT)
        await stream.send(b"x")
        with pytest.raises(TlsError, match="TLS failed: "):
            await stream.receive()
        with pytest.raises(OSError, match=r"."):
            await stream.send(b"x")
        await stream.aclose()


@pytest.mark.parametrize("has_received", [False, True])
async def test_a_reset_is_an_os_error_that_names_it(ours: Papers, has_received: bool) -> None:
    async def greet(stream: Stream) -> None:
        await stream.send(b"hello")
        await anyio.sleep_forever()

    network = MemoryNetwork()
    serving = ServingTls(network, ours.server_context(NAME))
    async with serving.serve(NAME, PORT, greet):
        stream = await TlsNetwork(network, zk.TLS(ca_file=ours.ca_file)).connect(NAME, PORT)
        if has_received:
            assert await stream.receive() == b"hello"
        network.reset()
        with pytest.raises(ConnectionResetError, match="reset by peer"):
            await stream.send(b"x")
        await stream.aclose()


async def test_a_reset_during_the_handshake_is_reported(ours: Papers) -> None:
    """Case 71. A server resets if it closes before it has read all; one without TLS may do this."""

    async def reset(stream: Stream) -> None:
        network.reset()

    network = MemoryNetwork()
    async with network.serve(NAME, PORT, reset):
        with pytest.raises(TlsError, match=r"reset by peer \(during the TLS handshake; is this a port"):
            await TlsNetwork(network, zk.TLS(ca_file=ours.ca_file)).connect(NAME, PORT)


# --- stalls ----------------------------------------------------------------------------------------------


async def test_a_handshake_that_stalls_takes_no_more_than_its_share_of_the_attempt(ours: Papers) -> None:
    """Case 69. One server accepts the connection and stays silent, the other sends half of a record."""
    async with dev_server(ours.server_context(NAME, "silent", "half")) as serving:
        tls = zk.TLS(ca_file=ours.ca_file)
        async with (
            saying(serving.network, b"", "silent"),
            saying(serving.network, b"\x16\x03\x03\x40\x00half", "half"),
        ):
            reasons = await why_not(serving, tls, "silent,half")
            [reason] = set(reasons.values())
            assert reason.startswith("no answer in the TLS handshake within ")
            start = anyio.current_time()
            async with connect(serving, tls, f"silent,half,{NAME}:{PORT}"):
                assert anyio.current_time() - start <= 8
    assert isinstance(serving.network, MemoryNetwork)
    assert all(link.client_end.is_closed for link in serving.network.links)


async def test_a_handshake_that_is_cancelled_closes_the_connection(ours: Papers) -> None:
    network = MemoryNetwork()
    async with saying(network, b"", "silent"):
        with anyio.move_on_after(1) as scope:
            await TlsNetwork(network, zk.TLS(ca_file=ours.ca_file)).connect("silent", 2181)
        assert scope.cancelled_caught
        assert all(link.client_end.is_closed for link in network.links)


# --- the verification of peers----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "options", "finding"),
    [
        ("other.example.org", {}, f"it is not for '{NAME}'"),
        ("10.0.0.1", {}, f"it is not for '{NAME}'"),
        (NAME, {"not_after": NOW - timedelta(days=1)}, "it has expired"),
        (NAME, {"not_before": NOW + timedelta(days=1)}, "it is not valid yet"),
    ],
)
async def test_a_certificate_that_proves_nothing_counts_against_the_host_and_the_next_one_is_tried(
    ours: Papers, identity: str, options: dict[str, Any], finding: str
) -> None:
    """Case 70."""
    network = MemoryNetwork()
    tls = zk.TLS(ca_file=ours.ca_file)
    if "not_before" in options:
        options = options | {"not_after": NOW + timedelta(days=9)}
    async with dev_server(ours.server_context(identity, **options), network) as serving:
        assert await why_not(serving, tls) == {f"{NAME}:{PORT}": f"its certificate is refused: {finding}"}
        assert serving.refusals
        with pytest.raises(CertificateRefusedError):
            await TlsNetwork(network, tls).connect(NAME, PORT)
        async with (
            dev_server(ours.server_context("good"), network, "good"),
            connect(serving, tls, f"{NAME}:{PORT},good:{PORT}") as client,
        ):
            assert client.state is zk.SessionState.CONNECTED


async def test_a_certificate_of_an_authority_that_is_not_trusted_is_refused(
    ours: Papers, theirs: Papers
) -> None:
    """Case 70."""
    untrusted = "its certificate is refused: it is not signed by an authority trusted here"
    async with dev_server(theirs.server_context(NAME)) as serving:
        assert list((await why_not(serving, zk.TLS(ca_file=ours.ca_file))).values()) == [untrusted]
        assert list((await why_not(serving, zk.TLS())).values()) == [untrusted]


async def test_the_name_that_is_verified_is_that_of_the_connect_string_not_the_address_it_resolves_to(
    ours: Papers,
) -> None:
    network = MemoryNetwork()
    network.names = {NAME: ["10.0.0.1"], "alias": ["10.0.0.1"]}
    tls = zk.TLS(ca_file=ours.ca_file)
    async with dev_server(ours.server_context(NAME), network, "10.0.0.1") as serving:
        async with connect(serving, tls, f"alias:{PORT},{NAME}:{PORT}") as client:
            await client.get_children("/")
        assert set(serving.names) <= {NAME, "alias"}
        assert NAME in serving.names
        reasons = await why_not(serving, tls, f"alias:{PORT},10.0.0.1:{PORT}")
        assert list(reasons.values()) == [
            "its certificate is refused: it is not for 'alias'",
            "its certificate is refused: it is not for '10.0.0.1'",
        ]


@pytest.mark.parametrize(
    ("host", "identity"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), (f"{NAME}.", NAME), ("fe80::1%eth0", "fe80::1")],
)
async def test_addresses_and_full_names_are_verified_as_certificates_have_them(
    ours: Papers, host: str, identity: str
) -> None:
    async with dev_server(ours.server_context(identity), host=host) as serving:
        stream = await TlsNetwork(serving.network, zk.TLS(ca_file=ours.ca_file)).connect(host, PORT)
        await stream.aclose()
    assert serving.names == [NAME if identity == NAME else None]


async def test_a_name_that_no_certificate_can_have_is_an_os_error(ours: Papers) -> None:
    name = "a" * 64
    async with dev_server(ours.server_context(NAME), host=name) as serving:
        with pytest.raises(TlsError, match="no certificate can be for 'aaa"):
            await TlsNetwork(serving.network, zk.TLS(ca_file=ours.ca_file)).connect(name, PORT)


async def test_any_name_is_accepted_if_the_caller_allows_it(ours: Papers, theirs: Papers) -> None:
    async with dev_server(ours.server_context("other.example.org")) as serving:
        async with connect(serving, zk.TLS(ca_file=ours.ca_file, verify_host_name=False)):
            assert serving.names[0] == NAME
        reasons = await why_not(serving, zk.TLS(ca_file=theirs.ca_file, verify_host_name=False))
        assert "not signed by an authority trusted here" in reasons[f"{NAME}:{PORT}"]


async def test_the_names_that_are_remembered_are_bounded(ours: Papers) -> None:
    network = MemoryNetwork()
    network.names = {NAME: [f"10.0.{n // 250}.{n % 250}" for n in range(1500)]}
    tls = TlsNetwork(network, zk.TLS(ca_file=ours.ca_file))
    async with dev_server(ours.server_context(NAME), network, "10.0.5.0") as serving:
        first, *_ = await tls.resolve(NAME, PORT)
        assert first.host == "10.0.0.0"
        await (await tls.connect("10.0.5.0", PORT)).aclose()
    assert serving.names == [NAME]


# --- the requirements of servers --------------------------------------------------------------------------


async def test_a_client_certificate_is_shown_to_a_server_that_wants_one(
    ours: Papers, theirs: Papers, version: ssl.TLSVersion
) -> None:
    context = ours.server_context(NAME, wants_clients=True)
    context.minimum_version = context.maximum_version = version
    async with dev_server(context) as serving:
        tls = zk.TLS(ca_file=ours.ca_file, cert_file=ours.issue("client", "me@example.org"))
        async with connect(serving, tls) as client:
            await client.get_children("/")
        reasons = await why_not(serving, zk.TLS(ca_file=ours.ca_file))
        assert "requires a client certificate" in reasons[f"{NAME}:{PORT}"]
        stranger = zk.TLS(ca_file=ours.ca_file, cert_file=theirs.issue("client", "me@example.org"))
        reasons = await why_not(serving, stranger)
        assert "it rejects our certificate" in reasons[f"{NAME}:{PORT}"]


async def test_no_version_in_common_is_reported(ours: Papers) -> None:
    context = ours.server_context(NAME)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    own = ssl.create_default_context(cafile=ours.ca_file)
    own.maximum_version = ssl.TLSVersion.TLSv1_2
    async with dev_server(context) as serving:
        reasons = await why_not(serving, own)
    assert reasons == {f"{NAME}:{PORT}": "it supports none of our TLS versions (protocol version)"}


# --- the wrong port --------------------------------------------------------------------------------------


async def test_a_client_without_tls_at_a_port_for_tls_gets_a_hint(ours: Papers) -> None:
    """Case 71. A server sends an alert, as OpenSSL does, or closes without an answer, as Apache's does."""
    async with (
        dev_server(ours.server_context(NAME)) as serving,
        saying(serving.network, b"\x15\x03\x03\x00\x02\x02\x0a", "alert", then_close=True),
        saying(serving.network, b"", "silent", then_close=True),
    ):
        reasons = await why_not(serving, None, f"{NAME}:{PORT},alert,silent")
    assert "port for TLS" in reasons[f"{NAME}:{PORT}"]
    assert reasons["alert:2181"] == "it answers with a TLS alert: this is a port for TLS (`tls=`)"
    assert reasons["silent:2181"].startswith("closed by the server while greeting; usual causes: ")
    assert "a port for TLS" in reasons["silent:2181"]


async def test_a_client_with_tls_at_a_port_without_gets_a_hint(ours: Papers) -> None:
    """Case 71."""
    network = MemoryNetwork()
    serving = ServingTls(network, ours.server_context(NAME))
    async with (
        zk.DevServer(network=network, host="dev", port=2181, seed=1, start_time=1e9),
        saying(network, b"HTTP/1.1 400 Bad Request\r\n\r\n", "http"),
        saying(network, b"", "silent", then_close=True),
        saying(network, b"\x16\x03\x03", "cut", then_close=True),
    ):
        reasons = await why_not(serving, zk.TLS(ca_file=ours.ca_file), "dev,http,silent,cut")
    assert "is this a port without TLS?" in reasons["dev:2181"]
    assert reasons["http:2181"] == "the server does not speak TLS: is this a port without TLS?"
    assert reasons["silent:2181"] == (
        "closed by the server during the TLS handshake, without an answer: is this a port without TLS?"
    )
    assert reasons["cut:2181"] == "closed by the server during the TLS handshake"


# --- files that are replaced -----------------------------------------------------------------------------


async def test_certificates_that_are_replaced_are_used_at_the_next_reconnect(ours: Papers) -> None:
    """Case 72. The authority has changed since; only the new certificate is accepted."""
    network = MemoryNetwork()
    cert_file = ours.issue("client", "me@example.org")
    tls = zk.TLS(ca_file=ours.ca_file, cert_file=cert_file)
    async with (
        dev_server(ours.server_context(NAME, wants_clients=True), network) as serving,
        connect(serving, tls) as client,
    ):
        session_id = client.session.id
        renewed = papers(ours.folder)
        renewed.issue("client", "me@example.org")
        serving.context = renewed.server_context(NAME, wants_clients=True)
        await client.get_children("/")
        network.reset()
        await client.get_children("/")
        assert client.session.id == session_id
        assert not serving.refusals


# --- errors before anything is sent ---------------------------------------------------------------------


async def test_bad_files_and_arguments_are_reported_before_anything_is_sent(ours: Papers) -> None:
    network = MemoryNetwork(record=True)
    junk = ours.folder / "junk.pem"
    junk.write_bytes(b"junk")
    for tls, error, message in (
        (zk.TLS(ca_file="missing.pem"), FileNotFoundError, r"missing\.pem"),
        (zk.TLS(ca_file=junk), ValueError, r"junk\.pem"),
        (True, TypeError, "tls must be a zkrecipes.TLS"),
    ):
        with pytest.raises(error, match=message):
            async with zk.connect("zk", tls=tls, network=network):  # type: ignore[arg-type]
                raise AssertionError("attached")
    assert network.links == []

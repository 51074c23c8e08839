"""TLS to Apache's server: versions, certificates, and the errors of failures.

The server is configured as in `docs/how-to/tls.md`, so that the page is also tested.
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError

import zkrecipes as zk
from tests.apache.identities import identities
from tests.apache.server_versions import since, version_of_server
from tests.house.source_tree import ROOT
from tests.net.tls_peers import Papers, encrypt_key, papers
from zkrecipes.ensemble import ApacheServer
from zkrecipes.ensemble.ports import free_ports
from zkrecipes.ensemble.zoo_cfg_writer import Setting
from zkrecipes.enums import ServerVersion
from zkrecipes.net.transport.network import Address, Handler, Stream, TcpNetwork

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

PAGE = ROOT / "docs" / "how-to" / "tls.md"


NAME = "zk.example.org"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


class Names:
    """TCP with a network in which every name is this machine, so that certificates can name hosts."""

    def __init__(self) -> None:
        self._tcp = TcpNetwork()

    async def resolve(self, host: str, port: int) -> list[Address]:
        return await self._tcp.resolve("127.0.0.1", port)

    async def connect(self, host: str, port: int) -> Stream:
        return await self._tcp.connect(host, port)

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        return self._tcp.serve(host, port, handler)


@dataclass
class Secured:
    """A server with ports with and without TLS. `ours` changes when its certificates are renewed."""

    server: ApacheServer
    port: int
    ours: Papers
    theirs: Papers

    @property
    def version(self) -> ServerVersion:
        """The server's version."""
        return version_of_server(self.server)

    @property
    def tls(self) -> zk.TLS:
        """The TLS settings of an accepted client."""
        return zk.TLS(ca_file=self.ours.ca_file, cert_file=self.ours.folder / "client.pem")

    def connect(self, tls: Any, **options: Any) -> AbstractAsyncContextManager[zk.Client]:
        return zk.connect(f"{NAME}:{self.port}", tls=tls, network=Names(), **options)

    async def why_not(
        self, tls: zk.TLS | ssl.SSLContext | None, host: str = NAME, port: int | None = None
    ) -> str:
        """Return the reason for the host in the error of entering."""
        hosts = f"{host}:{self.port if port is None else port}"
        with pytest.raises(zk.ConnectTimeoutError) as caught:
            async with zk.connect(hosts, tls=tls, network=Names(), connect_timeout=1.5, session_timeout=2):
                raise AssertionError("attached")
        return caught.value.reasons[hosts]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The server of the page."""
    yield from _serve(papers(tmp_path_factory.mktemp("ours")), {})


def _serve(ours: Papers, changes: dict[str, Setting]) -> Iterator[Secured]:
    theirs = papers(ours.folder / "theirs")
    ours.issue("client", "me@example.org")
    (port,) = free_ports(1)
    ours.issue("server", NAME, "127.0.0.1")
    settings: dict[str, Setting] = {
        **_settings_of_the_page(ours.folder),
        "secureClientPort": port,
        "secureClientPortAddress": "127.0.0.1",
        **changes,
    }
    server = ApacheServer(settings=settings, java_options=("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"))
    server.open()
    try:
        with ThreadPoolExecutor(1) as thread:  # this thread may be running the test's loop
            thread.submit(anyio.run, server.start).result()
        yield Secured(server, port, ours, theirs)
    finally:
        server.close()


def _settings_of_the_page(folder: Path) -> dict[str, str]:
    text = _block_of_the_page("properties").replace("/etc/zookeeper/tls", str(folder))
    return dict(line.split("=", 1) for line in text.splitlines())


def _block_of_the_page(language: str) -> str:
    """Return the first block: the program, or the server's configuration."""
    block = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert block is not None
    return block[1]


async def test_the_program_of_the_page_runs_against_the_server_of_the_page(secured: Secured) -> None:
    folder = secured.ours.folder
    encrypted = encrypt_key(folder / "client.pem", b"secret")
    program = _block_of_the_page("python")
    program = re.sub("zk1.*2281", f"127.0.0.1:{secured.port}", program)
    program = program.replace("/etc/app/tls", str(folder)).replace(
        f'{folder}/client.key"', f'{encrypted}", key_password="secret"'
    )
    done = await anyio.run_process([sys.executable, "-W", "error", "-c", program], check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"zookeeper" in done.stdout


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_client_works_over_tls(
    secured: Secured, fresh_path: str, version: ssl.TLSVersion | None
) -> None:
    tls: zk.TLS | ssl.SSLContext = secured.tls
    if version is not None:
        tls = ssl.create_default_context(cafile=secured.ours.ca_file)
        tls.load_cert_chain(secured.ours.folder / "client.pem")
        tls.minimum_version = tls.maximum_version = version
    data = bytes(range(256)) * 3000
    async with secured.connect(tls) as client:
        await client.create(fresh_path, data)
        assert (await client.get(fresh_path)).data == data
        async with client.watch(fresh_path, recursive=True) as events:  # asks the server for its version
            await client.set(fresh_path, b"")
            async for event in events:
                assert event.path == fresh_path
                break
        async with zk.Mutex(client, f"{fresh_path}-lock").acquire() as hold:
            assert hold.path


async def test_the_client_certificate_is_an_identity_for_acls(secured: Secured, fresh_path: str) -> None:
    async with secured.connect(secured.tls) as client:
        await client.create(fresh_path, b"mine", acl=zk.CREATOR_ALL_ACL)
        ((entry, *_), _) = await client.get_acl(fresh_path)
        assert entry.id.scheme == "x509"
    async with zk.connect(secured.server.connect_string) as other:
        with pytest.raises(zk.NoAuthError):
            await other.get(fresh_path)


async def test_the_dev_server_knows_a_certificate_by_the_same_name(secured: Secured, fresh_path: str) -> None:
    """Java also escapes characters that RFC 2253 does not require."""
    ours = secured.ours
    odd = {"common_name": "a client, of ours", "organization_name": ' #a=b+c<d>e;"f\\  '}
    tls = zk.TLS(ca_file=ours.ca_file, cert_file=ours.issue("odd", "me@example.org", **odd))
    async with secured.connect(tls) as client:
        known_as = await identities(client, fresh_path)
    context = ours.server_context("127.0.0.1", wants_clients=True)
    async with (
        zk.DevServer(tls=context) as server,
        zk.connect(server.connect_string, tls=tls) as client,
    ):
        assert await identities(client, fresh_path) == known_as


@since(ServerVersion.V3_7, "whoami")
async def test_whoami_returns_the_client_certificate(secured: Secured, fresh_path: str) -> None:
    async with secured.connect(secured.tls) as client:
        (certificate,) = await identities(client, fresh_path)
        assert certificate in await client.whoami()


async def test_a_session_survives_a_restart_with_other_certificates(
    secured: Secured, fresh_path: str
) -> None:
    """Case 72."""
    async with secured.connect(secured.tls, session_timeout=30) as client:
        session_id = client.session.id
        await client.create(fresh_path, ephemeral=True)
        renewed = secured.ours = papers(secured.ours.folder)
        renewed.issue("server", NAME, "127.0.0.1")
        renewed.issue("client", "me@example.org")
        await secured.server.restart()
        assert await client.exists(fresh_path) is not None
        assert client.session.id == session_id


async def test_an_untrusted_server_is_refused_with_the_reason(secured: Secured) -> None:
    """Case 70."""
    reason = await secured.why_not(secured.tls, "other.example.org")
    assert reason == "its certificate is refused: it is not for 'other.example.org'"
    untrusting = zk.TLS(ca_file=secured.theirs.ca_file)
    assert await secured.why_not(untrusting) == (
        "its certificate is refused: it is not signed by an authority trusted here"
    )


async def test_a_client_without_an_accepted_certificate_gets_the_reason(secured: Secured) -> None:
    reason = await secured.why_not(zk.TLS(ca_file=secured.ours.ca_file))
    assert reason == "it requires a client certificate: set cert_file (bad certificate)"
    untrusted = secured.theirs.issue("stranger", "stranger@example.org")
    reason = await secured.why_not(zk.TLS(ca_file=secured.ours.ca_file, cert_file=untrusted))
    assert reason.startswith("it rejects our certificate, or requires one")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_each_version_of_tls_reports_it(secured: Secured, version: ssl.TLSVersion) -> None:
    """In 1.3 the client's handshake ends before the server checks its certificate."""
    context = ssl.create_default_context(cafile=secured.ours.ca_file)
    context.minimum_version = context.maximum_version = version
    reason = await secured.why_not(context)
    assert reason == "it rejects our certificate, or requires one (bad certificate)"


async def test_expired_certificates_are_reported_on_both_sides(secured: Secured) -> None:
    """Case 70. Then the server's certificate is replaced, as by an operator."""
    renewed = secured.ours = papers(secured.ours.folder)
    renewed.issue("client", "me@example.org")
    expired = renewed.issue("expired", "me@example.org", not_after=YESTERDAY)
    renewed.issue("server", NAME, "127.0.0.1", not_after=YESTERDAY)
    await secured.server.restart()
    try:
        assert await secured.why_not(secured.tls) == "its certificate is refused: it has expired"
    finally:
        renewed.issue("server", NAME, "127.0.0.1")
        await secured.server.restart()
    async with secured.connect(secured.tls):
        pass
    reason = await secured.why_not(zk.TLS(ca_file=renewed.ca_file, cert_file=expired))
    assert reason.startswith("it rejects our certificate, or requires one")


async def test_the_wrong_port_is_reported(secured: Secured) -> None:
    """Case 71."""
    reason = await secured.why_not(None)
    assert reason.startswith("closed by the server while greeting; usual causes: it has no quorum")
    assert reason.endswith("or this is a port for TLS (`tls=`)")
    reason = await secured.why_not(secured.tls, NAME, secured.server.port)
    assert "is this a port without TLS?" in reason


async def test_a_handshake_with_a_server_that_has_stopped_is_bounded(secured: Secured) -> None:
    """Case 69. The kernel accepts the connection, but no process answers the handshake."""
    secured.server.pause()
    try:
        reason = await secured.why_not(secured.tls)
        assert reason.startswith("no answer in the TLS handshake within ")
    finally:
        secured.server.resume()


async def test_kazoos_client_with_the_same_certificate_has_the_same_identity(
    secured: Secured, fresh_path: str
) -> None:
    own = str(secured.ours.folder / "client.pem")
    async with secured.connect(secured.tls) as client:
        await client.create(fresh_path, b"ours", acl=zk.CREATOR_ALL_ACL)

    assert await _read_with_kazoo(secured, fresh_path, certfile=own, keyfile=own) == b"ours"
    with pytest.raises(KazooTimeoutError):
        await _read_with_kazoo(secured, fresh_path)


async def _read_with_kazoo(secured: Secured, path: str, **options: str) -> bytes:
    def read() -> bytes:
        kazoo = KazooClient(
            f"127.0.0.1:{secured.port}", use_ssl=True, ca=str(secured.ours.ca_file), **options
        )
        try:
            kazoo.start(timeout=2)
            return bytes(kazoo.get(path)[0])
        finally:
            kazoo.stop()
            kazoo.close()

    return await anyio.to_thread.run_sync(read)


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server that requests no client certificate."""
    yield from _serve(papers(tmp_path_factory.mktemp("own")), {"ssl.clientAuth": "none"})


async def test_a_server_without_client_certificates_accepts_a_client(
    trusting: Secured, fresh_path: str
) -> None:
    async with trusting.connect(zk.TLS(ca_file=trusting.ours.ca_file)) as client:
        await client.create(fresh_path, b"data")
        assert await _read_with_kazoo(trusting, fresh_path) == b"data"
    assert "not signed by an authority trusted here" in await trusting.why_not(zk.TLS())


async def test_an_authority_that_the_system_trusts_needs_no_file(
    trusting: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusting.ours.ca_file))  # the place where OpenSSL looks for them
    async with trusting.connect(zk.TLS()) as client:
        assert await client.exists("/") is not None
    reason = await trusting.why_not(zk.TLS(), "other.example.org")
    assert reason == "its certificate is refused: it is not for 'other.example.org'"

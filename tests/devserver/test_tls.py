"""The dev server with TLS."""

from __future__ import annotations

import logging
import re
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.tls_peers import Papers, papers
from tests.recipes.fault_sweep import virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return papers(tmp_path_factory.mktemp("papers"))


def _tls(authority: Papers, cert_file: Path | None = None) -> zk.TLS:
    return zk.TLS(ca_file=authority.ca_file, cert_file=cert_file)


async def test_a_client_that_trusts_the_authority_connects(authority: Papers) -> None:
    async with (
        world(tls=authority.server_context("zk")) as there,
        there.connect("a", tls=_tls(authority)) as client,
    ):
        await client.create("/n", b"x" * 200_000)
        assert len((await client.get("/n")).data or b"") == 200_000
        there.server.drop_connections()
        assert await client.exists("/n")


async def test_the_log_has_the_reason_of_a_refused_connection(
    authority: Papers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server's wording of an error, which differs from a client's."""
    theirs = papers(tmp_path)
    strangers: list[tuple[zk.TLS | None, str]] = [
        (None, "the client does not speak TLS"),
        (_tls(theirs), "it rejects our certificate (unknown ca)"),
        (_tls(authority), "TLS failed: peer did not return a certificate"),
        (
            _tls(authority, theirs.issue("stranger", "x@example.org")),
            "its certificate is refused: it is not signed by an authority trusted here",
        ),
    ]
    async with world(tls=authority.server_context("zk", wants_clients=True)) as there:
        for tls, said in strangers:
            caplog.clear()
            with pytest.raises(zk.ConnectTimeoutError):
                async with there.connect("a", tls=tls, connect_timeout=2.0):
                    raise AssertionError("attached")
            logged = [each.getMessage() for each in caplog.records if each.name == "zkrecipes.devserver"]
            assert any(
                text.startswith("could not set up TLS with") and text.endswith(f": {said}") for text in logged
            )
        caplog.clear()
        stream = await there.network.connect("zk", 2181)
        await stream.aclose()
        await anyio.sleep(1)
        assert "closed by the client during the TLS handshake, without an answer" in caplog.text


async def test_a_client_with_a_certificate_has_its_name(authority: Papers) -> None:
    # The same identity as on Apache's server (tests/apache/test_tls.py).
    own = authority.issue("client", common_name="a client, of ours", organization_name=' #a=b+c<d>e;"f\\  ')
    context = authority.server_context("zk", wants_clients=True)
    async with world(tls=context) as there, there.connect("a", tls=_tls(authority, own)) as client:
        ((name,),) = [[each.id for each in await client.whoami() if each.scheme == "x509"]]
        assert re.fullmatch(
            r"CN=a client\\, of ours,OU=Testing cert \\#[^,]+,"
            + re.escape(r"O=\ \#a\=b\+c\<d\>e\;\"f\\\ \ "),
            name,
        )
        await client.create("/mine", b"", acl=zk.CREATOR_ALL_ACL)
        ((entry,), _) = await client.get_acl("/mine")
        assert entry.id == zk.Id("x509", name)
        assert await client.get("/mine")


async def test_a_client_without_a_certificate_is_refused_where_one_is_wanted(authority: Papers) -> None:
    context = authority.server_context("zk", wants_clients=True)
    async with world(tls=context) as there:
        with pytest.raises(zk.ConnectTimeoutError, match="client certificate"):
            async with there.connect("a", tls=_tls(authority), connect_timeout=2.0):
                pass


async def test_a_silent_connection_is_closed_after_a_while(authority: Papers, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    async with world(tls=authority.server_context("zk")) as there:
        stream = await there.network.connect("zk", 2181)
        with anyio.fail_after(11):
            assert await stream.receive() == b""
    assert "could not set up TLS with" in caplog.text


async def test_any_context_will_do(authority: Papers) -> None:
    context = authority.server_context("zk")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with world(tls=context) as there, there.connect("a", tls=_tls(authority)) as client:
        assert await client.exists("/")

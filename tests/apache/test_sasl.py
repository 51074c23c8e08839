"""SASL DIGEST-MD5 with Apache's server: logins, the resulting ACL identities, and the errors of refusals.

The server is configured as in `docs/how-to/sasl.md`, so that the page is also tested. kazoo with the same
server is the control.
"""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import kazoo.client
import kazoo.exceptions
import kazoo.security
import pytest

import zkrecipes as zk
from tests.apache.guarded import (
    BOB,
    MORE_USERS,
    REFUSED,
    SASL,
    SECRET,
    Guarded,
    block_of_the_page,
    run,
    serving,
)
from tests.apache.identities import identities
from tests.apache.server_versions import since
from tests.net.tls_peers import papers
from zkrecipes.ensemble import ApacheServer
from zkrecipes.ensemble.ports import free_ports
from zkrecipes.ensemble.zoo_cfg_writer import Setting
from zkrecipes.enums import ServerVersion

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

CLIENT_NEEDS_IT = "the server requires clients to authenticate (`sasl=`, or `auth=`)"


@pytest.fixture(autouse=True)
def _no_secret_in_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check after each test that no log line shows the password."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        if record.name.startswith("zkrecipes"):
            assert SECRET not in f"{record.getMessage()} {record.__dict__!r}"


@pytest.fixture
def guarded(_guarded: Guarded) -> Iterator[Guarded]:
    """The server of the page, serving at the start of each test."""
    yield _guarded
    if not _guarded.server.is_running:
        run(_guarded.server.start)


@pytest.fixture(scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    settings = dict(line.split("=", 1) for line in block_of_the_page("properties").splitlines())
    with serving(tmp_path_factory.mktemp("guarded"), settings) as served:
        yield served


# --- getting in ------------------------------------------------------------------------------------------


async def test_the_program_of_the_page_runs_against_the_server_of_the_page(guarded: Guarded) -> None:
    program = re.sub("zk1.*2181", guarded.server.connect_string, block_of_the_page("python"))
    program = program.replace('"/bobs"', f'"/bobs-{guarded.server.port}-{anyio.current_time()}"')
    done = await anyio.run_process([sys.executable, "-W", "error", "-c", program], check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"scheme='sasl', id='bob'" in done.stdout


@pytest.mark.parametrize("name", ["bob", *MORE_USERS])
async def test_each_user_can_log_in_and_acls_know_the_user(
    guarded: Guarded, fresh_path: str, name: str
) -> None:
    user = zk.DigestMD5(name, {"bob": SECRET, **MORE_USERS}[name])
    async with guarded.connect(user) as client:
        await client.create(fresh_path, b"mine", acl=zk.CREATOR_ALL_ACL)
        assert (await client.get_acl(fresh_path))[0] == [zk.ACL(zk.Perms.ALL, zk.Id("sasl", name))]
        assert (await client.get(fresh_path)).data == b"mine"


async def test_the_jaas_file_of_a_java_client_also_works(
    guarded: Guarded, tmp_path: Path, fresh_path: str
) -> None:
    file = tmp_path / "client.conf"
    file.write_text(block_of_the_page("jaas"))
    async with zk.connect(guarded.server.connect_string, sasl=zk.read_jaas(file)) as client:
        assert await identities(client, fresh_path) == [zk.Id("sasl", "bob")]


@since(ServerVersion.V3_7, "whoami")
async def test_whoami_returns_the_user(guarded: Guarded) -> None:
    async with guarded.connect() as client:
        assert zk.Id("sasl", "bob") in await client.whoami()


async def test_sasl_works_together_with_tls(tmp_path: Path, fresh_path: str) -> None:
    ours = papers(tmp_path / "papers")
    ours.issue("server", "127.0.0.1")
    (port,) = free_ports(1)
    tls: dict[str, Setting] = {
        "secureClientPort": port,
        "secureClientPortAddress": "127.0.0.1",
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "ssl.keyStore.type": "PEM",
        "ssl.keyStore.location": str(ours.folder / "server.pem"),
        "ssl.clientAuth": "none",
    }
    with serving(tmp_path, {**SASL, **tls, "sessionRequireClientSASLAuth": "true"}):
        async with zk.connect(f"127.0.0.1:{port}", tls=zk.TLS(ca_file=ours.ca_file), sasl=BOB) as client:
            assert await identities(client, fresh_path) == [zk.Id("sasl", "bob")]


async def test_an_acl_excludes_others_but_not_the_super_user(guarded: Guarded, fresh_path: str) -> None:
    async with guarded.connect() as client:
        await client.create(fresh_path, b"bob's", acl=[zk.ACL(zk.Perms.ALL, zk.Id("sasl", "bob"))])
    async with guarded.connect(zk.DigestMD5("alice", MORE_USERS["alice"])) as client:
        with pytest.raises(zk.NoAuthError):
            await client.get(fresh_path)
    async with guarded.connect(zk.DigestMD5("super", "change-me")) as client:
        assert (await client.get(fresh_path)).data == b"bob's"


async def test_recipes_and_watches_work_with_sasl(guarded: Guarded, fresh_path: str) -> None:
    async with guarded.connect() as client:
        await client.create(fresh_path)
        async with client.watch(fresh_path, recursive=True) as events:
            await client.set(fresh_path, b"1")
            async for event in events:
                assert event.path == fresh_path
                break
        async with zk.Mutex(client, f"{fresh_path}-lock") as hold:
            assert hold.path


async def test_a_session_and_waiting_requests_survive_a_restart_of_the_server(
    guarded: Guarded, fresh_path: str
) -> None:
    """Case 68. The server answers no unauthenticated connection, neither for watches nor waiting requests."""
    async with guarded.connect(
        session_timeout=30, default_acl=zk.CREATOR_ALL_ACL, auth=[("digest", "a:b")]
    ) as client:
        session_id = client.session.id
        await client.create(fresh_path, ephemeral=True)
        async with client.get_and_watch(fresh_path) as (_, changed):
            async with client.session_changes() as changes:
                guarded.server.kill()
                assert (await anext(changes)).state is zk.SessionState.SUSPENDED
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(guarded.server.start)
                await client.set(fresh_path, b"2")
            assert (await changed.wait()).type is zk.EventType.DATA_CHANGED
        assert client.session.id == session_id
        await client.delete(fresh_path)


# --- not getting in --------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [zk.DigestMD5("bob", "not the password"), zk.DigestMD5("eve", "anything")])
async def test_a_wrong_password_and_an_unknown_user_are_refused(guarded: Guarded, user: zk.DigestMD5) -> None:
    """Case 63."""
    with anyio.fail_after(5):
        assert await guarded.why_not(user) == REFUSED


async def test_a_client_without_sasl_is_refused_with_the_reason(guarded: Guarded) -> None:
    """Case 64."""
    with pytest.raises(zk.AuthFailedError) as caught:
        async with guarded.connect(None) as client:
            await client.get("/")
    assert caught.value.reason == CLIENT_NEEDS_IT


async def test_a_password_that_is_changed_ends_the_client_at_its_next_reconnect(
    tmp_path: Path, fresh_path: str
) -> None:
    """Case 63."""
    with serving(tmp_path, dict(SASL)) as served:
        with pytest.raises(zk.AuthFailedError) as caught:
            async with served.connect(session_timeout=30) as client:
                served.jaas.write_text(served.jaas.read_text("utf-8").replace(SECRET, "another"), "utf-8")
                await served.server.restart()
                await client.get("/")
        assert caught.value.reason == REFUSED
        assert client.state is zk.SessionState.AUTH_FAILED


async def test_bad_credentials_are_refused_even_if_sasl_is_not_required(
    tmp_path: Path, fresh_path: str
) -> None:
    with serving(tmp_path, dict(SASL)) as served:
        async with served.connect() as client, served.connect(None) as anonymous:
            await client.create(fresh_path, acl=zk.CREATOR_ALL_ACL)
            assert fresh_path[1:] in await anonymous.get_children("/")
            with pytest.raises(zk.NoAuthError):
                await anonymous.get(fresh_path)
        wrong = zk.DigestMD5("bob", "not the password")
        assert await served.why_not(wrong) == REFUSED


async def test_enforced_schemes_have_the_same_effect(tmp_path: Path, fresh_path: str) -> None:
    """Case 64. Servers before 3.7 ignore the setting."""
    enforced = {"enforce.auth.enabled": "true", "enforce.auth.schemes": "sasl"}
    with serving(tmp_path, {**SASL, **enforced}) as served:
        async with served.connect() as client:
            await client.create(fresh_path, acl=zk.CREATOR_ALL_ACL)
        if served.version < ServerVersion.V3_7:
            async with served.connect(None) as client:
                await client.get("/")
            return
        with pytest.raises(zk.AuthFailedError) as caught:
            async with served.connect(None) as client:
                await client.get("/")
        assert caught.value.reason == CLIENT_NEEDS_IT


async def test_a_server_that_accepts_failed_logins_is_not_trusted(tmp_path: Path) -> None:
    """Case 65."""
    with serving(tmp_path, dict(SASL), **{"zookeeper.allowSaslFailedClients": "true"}) as served:
        async with served.connect():
            pass
        reason = await served.why_not(zk.DigestMD5("bob", "not the password"))
        assert reason == "the server gave no proof that it accepts and knows the password"


async def test_a_server_without_sasl_is_reported(apache_server: ApacheServer) -> None:
    with pytest.raises(zk.AuthFailedError) as caught:
        async with zk.connect(apache_server.connect_string, sasl=BOB):
            raise AssertionError("attached")
    assert caught.value.reason == "the server sent no challenge: SASL is not configured there"


async def test_a_server_that_has_stopped_is_bounded(guarded: Guarded) -> None:
    """Case 66."""
    guarded.server.pause()
    try:
        with anyio.fail_after(5), pytest.raises(zk.ConnectTimeoutError):
            async with guarded.connect(connect_timeout=1.5, session_timeout=2):
                raise AssertionError("attached")
    finally:
        guarded.server.resume()


# --- kazoo, the control ----------------------------------------------------------------------------------


def test_kazoo_is_the_same_user(guarded: Guarded, fresh_path: str) -> None:
    options = {"mechanism": "DIGEST-MD5", "username": "bob", "password": SECRET}
    client = guarded.kazoo(sasl_options=options)
    client.start(10)
    try:
        client.create(fresh_path, b"kazoo's", acl=[kazoo.security.make_acl("auth", "", all=True)])
        ((entry,), _) = client.get_acls(fresh_path)
        assert (entry.id.scheme, entry.id.id) == ("sasl", "bob")
        assert anyio.run(_get, guarded, fresh_path) == b"kazoo's"
    finally:
        client.stop()
        client.close()


async def _get(guarded: Guarded, path: str) -> bytes | None:
    async with guarded.connect() as client:
        return (await client.get(path)).data


def test_kazoo_without_sasl_is_also_refused(guarded: Guarded) -> None:
    client = guarded.kazoo(command_retry={"max_tries": 0}, connection_retry={"max_tries": 1})
    client.start(10)
    try:
        with pytest.raises(kazoo.exceptions.KazooException):
            client.get("/")
    finally:
        client.stop()
        client.close()

"""SASL with Kerberos: a real KDC, real tickets, and Apache's server as in `docs/how-to/kerberos.md`."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any

import anyio
import anyio.to_thread
import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

import tests.apache.kdc
import zkrecipes as zk
from tests.apache.identities import identities
from tests.apache.kdc import REALM, Kdc, kdc, missing
from tests.house.source_tree import ROOT
from zkrecipes.ensemble import ApacheServer
from zkrecipes.net.kerberos import client_credentials
from zkrecipes.protocol.sasl import SaslExchange

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

PAGE = ROOT / "docs" / "how-to" / "kerberos.md"
# kazoo's SASL needs the second one.
PACKAGES = ("gssapi", "kerberos")


@dataclass(frozen=True)
class Realm:
    """A KDC, a server in its realm, and a client's keys."""

    kdc: Kdc
    server: ApacheServer
    keytab: Path

    async def why_not(self, kerberos: Any, **options: Any) -> str:
        """Return the reason why entering fails."""
        with pytest.raises(zk.AuthFailedError) as caught:
            async with zk.connect(self.server.connect_string, sasl=kerberos, **options):
                raise AssertionError("attached")
        return caught.value.reason


@pytest.fixture(scope="module")
def _realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    _need_kerberos()
    folder = tmp_path_factory.mktemp("kdc")
    with kdc(folder) as running:
        principal = "zookeeper/127.0.0.1"
        jaas = folder / "jaas.conf"
        text = block_of_the_page("text").replace(
            "/etc/zookeeper/zookeeper.keytab", str(running.add(principal))
        )
        jaas.write_text(text.replace("zookeeper/zk1.example.org@EXAMPLE.ORG", f"{principal}@{REALM}"))
        settings = dict(line.split("=", 1) for line in block_of_the_page("properties").splitlines())
        server = ApacheServer(
            settings=settings,
            properties={
                "java.security.auth.login.config": str(jaas),
                "java.security.krb5.conf": str(running.krb5_conf),
            },
            java_options=("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
        )
        server.open()
        try:
            _run(server.start)
            yield Realm(running, server, running.add("client", "second"))
        finally:
            server.close()


@pytest.fixture
def realm(_realm: Realm, monkeypatch: pytest.MonkeyPatch) -> Realm:
    """The realm, also configured for this process, without tickets in the cache."""
    for name, value in _realm.kdc.environment.items():
        monkeypatch.setenv(name, value)
    (_realm.kdc.folder / "ccache").unlink(missing_ok=True)
    return _realm


def block_of_the_page(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)


def _need_kerberos() -> None:
    lacking = missing() + [f"the Python package {name}" for name in PACKAGES if find_spec(name) is None]
    if lacking and os.environ.get("ZKRECIPES_REQUIRE_ZOOKEEPER") == "1":
        pytest.fail(f"missing: {', '.join(lacking)}")
    if lacking:
        pytest.skip(f"missing: {', '.join(lacking)}; scripts/install-test-peers says how to get it")


def _run(func: Callable[[], Awaitable[object]]) -> None:
    """Run a function on a loop in a new thread, because this thread may be running the test's loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, func).result()


@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_kdc_that_is_missing_is_named_and_fails_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    """It is required in continuous integration."""
    monkeypatch.setattr(tests.apache.kdc, "PROGRAMS", ("krb5kdc-that-is-not-there", "kinit"))
    monkeypatch.setenv("ZKRECIPES_REQUIRE_ZOOKEEPER", required)
    with pytest.raises(outcome, match="missing: the program krb5kdc-that-is-not-there"):
        _need_kerberos()


# --- getting in ------------------------------------------------------------------------------------------


async def test_the_program_of_the_page_runs_against_the_server_of_the_page(
    realm: Realm, fresh_path: str
) -> None:
    program = re.sub("zk1.*2181", realm.server.connect_string, block_of_the_page("python"))
    program = program.replace("/etc/app/app.keytab", str(realm.keytab)).replace('"/mine"', f'"{fresh_path}"')
    done = await anyio.run_process([sys.executable, "-W", "error", "-c", program], check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"scheme='sasl', id='client'" in done.stdout


async def test_tickets_of_the_cache_are_enough(realm: Realm, fresh_path: str) -> None:
    realm.kdc.kinit("client", realm.keytab)
    async with zk.connect(realm.server.connect_string, sasl=zk.Kerberos()) as client:
        assert await identities(client, fresh_path) == [zk.Id("sasl", "client")]


@pytest.mark.parametrize("principal", [None, "second", f"second@{REALM}"])
async def test_a_keytab_gets_tickets_automatically(
    realm: Realm, fresh_path: str, principal: str | None
) -> None:
    kerberos = zk.Kerberos(principal=principal, keytab=realm.keytab)
    async with zk.connect(realm.server.connect_string, sasl=kerberos) as client:
        assert await identities(client, fresh_path) == [zk.Id("sasl", "second" if principal else "client")]
    assert not (realm.kdc.folder / "ccache").exists()


async def test_another_cache_may_be_named_even_in_a_jaas_file(
    realm: Realm, tmp_path: Path, fresh_path: str
) -> None:
    realm.kdc.run("kinit", "-c", f"FILE:{tmp_path}/tickets", "-kt", str(realm.keytab), "second")
    kerberos = zk.Kerberos(cache_file=tmp_path / "tickets")
    async with zk.connect(realm.server.connect_string, sasl=kerberos) as client:
        assert await identities(client, fresh_path) == [zk.Id("sasl", "second")]
    text = block_of_the_page("jaas").replace("/etc/app/app.keytab", str(realm.keytab))
    (tmp_path / "jaas.conf").write_text(text.replace("app@EXAMPLE.ORG", f"second@{REALM}"))
    sasl = zk.read_jaas(tmp_path / "jaas.conf", service="zookeeper")
    async with zk.connect(realm.server.connect_string, sasl=sasl) as client:
        assert await identities(client, fresh_path) == [zk.Id("sasl", "second")]
    module = "com.sun.security.auth.module.Krb5LoginModule"
    for options, name in (
        (f'useTicketCache=true ticketCache="{tmp_path}/tickets"', "second"),
        (f'useKeyTab=true keyTab="{realm.keytab}" principal="client@{REALM}"', "client"),
    ):
        (tmp_path / "jaas.conf").write_text(f"Client {{ {module} required {options}; }};")
        sasl = zk.read_jaas(tmp_path / "jaas.conf")
        async with zk.connect(realm.server.connect_string, sasl=sasl) as client:
            assert await identities(client, fresh_path) == [zk.Id("sasl", name)]


async def test_the_servers_principal_may_be_given(realm: Realm) -> None:
    """It is independent of the hosts' names in the connect string."""
    port = realm.server.port
    whole = zk.Kerberos(keytab=realm.keytab, server_principal=f"zookeeper/127.0.0.1@{REALM}")
    async with zk.connect(f"localhost:{port}", sasl=whole) as client:
        assert await client.exists("/") is not None


async def test_the_servers_realm_may_be_given(realm: Realm) -> None:
    """It is needed if `krb5.conf` does not map the hosts to the realm."""
    kerberos = zk.Kerberos(keytab=realm.keytab, server_realm=REALM)
    async with zk.connect(realm.server.connect_string, sasl=kerberos) as client:
        assert await client.exists("/") is not None
    reason = await realm.why_not(zk.Kerberos(keytab=realm.keytab, server_realm="ELSEWHERE.EXAMPLE"))
    assert reason.startswith(f"Kerberos: Server krbtgt/ELSEWHERE.EXAMPLE@{REALM} not found")


async def test_a_session_survives_a_restart_of_the_server_without_a_kdc(
    realm: Realm, fresh_path: str
) -> None:
    """Case 67. The tickets for the server are kept."""
    kerberos = zk.Kerberos(keytab=realm.keytab)
    async with zk.connect(realm.server.connect_string, sasl=kerberos, session_timeout=30) as client:
        session_id = client.session.id
        await client.create(fresh_path, ephemeral=True)
        realm.kdc.stop()
        try:
            await realm.server.restart()
            assert await client.exists(fresh_path) is not None
        finally:
            realm.kdc.start()
        assert client.session.id == session_id


async def test_a_keytab_gets_tickets_again_once_they_have_expired(realm: Realm, fresh_path: str) -> None:
    """Case 67."""
    kerberos = zk.Kerberos(keytab=_short_lived(realm, "short-lived", "2 seconds"))
    async with zk.connect(realm.server.connect_string, sasl=kerberos, session_timeout=30) as client:
        await client.create(fresh_path, ephemeral=True)
        await anyio.sleep(2.5)
        await realm.server.restart()
        assert await client.exists(fresh_path) is not None


def test_a_keytab_asks_the_kdc_once_for_all_its_users(realm: Realm) -> None:
    """Reading a JAAS file for each client gives a new object each time."""
    keytab = realm.kdc.add("frugal")
    client_credentials(zk.Kerberos(keytab=keytab))
    asked = realm.kdc.times_asked()
    assert client_credentials(zk.Kerberos(keytab=str(keytab))).lifetime > 0
    assert realm.kdc.times_asked() == asked
    client_credentials(zk.Kerberos(keytab=keytab, principal="frugal"))
    assert realm.kdc.times_asked() > asked


def test_a_keytab_gets_tickets_before_the_old_ones_end(realm: Realm) -> None:
    """A client that connects shortly before the end gets tickets with a full lifetime."""
    kerberos = zk.Kerberos(keytab=_short_lived(realm, "renewed", "9 seconds"))
    assert client_credentials(kerberos).lifetime > 7
    time.sleep(2.5)
    assert client_credentials(kerberos).lifetime > 7


def _new_principal(realm: Realm) -> Path:
    """Return the keytab of a principal that has no tickets yet."""
    return realm.kdc.add(f"user-{token_hex(8)}")


def _short_lived(realm: Realm, name: str, lifetime: str) -> Path:
    """Return the keytab of a new principal with short-lived tickets."""
    keytab = realm.kdc.add(name)
    realm.kdc.run("kadmin.local", "-r", REALM, "-q", f'modprinc -maxlife "{lifetime}" {name}')
    return keytab


async def test_a_reconnect_waits_for_a_cache_to_be_renewed(realm: Realm, fresh_path: str) -> None:
    """Case 67. The session survives."""
    realm.kdc.kinit("client", realm.keytab, lifetime="1s")
    async with zk.connect(realm.server.connect_string, sasl=zk.Kerberos(), session_timeout=30) as client:
        session_id = client.session.id
        await client.create(fresh_path, ephemeral=True)
        await _until_expired()
        await realm.server.restart()
        with anyio.move_on_after(1):
            await client.exists("/")
        assert client.state is zk.SessionState.SUSPENDED
        realm.kdc.kinit("client", realm.keytab)
        assert await client.exists(fresh_path) is not None
        assert client.session.id == session_id


async def _until_expired() -> None:
    """Wait until tickets of one second have expired; Kerberos counts in whole seconds."""
    await anyio.sleep(2.1)


# --- not getting in --------------------------------------------------------------------------------------

REFUSED = (
    "the server refused the SASL authentication; look at its keytab and its clock, and whether its mechanism "
    "is Kerberos; its log says why"
)
LOOK_AT_CACHE = "; look at the credential cache: does it need a kinit?"
LOOK_AT_KEYTAB = "; look at the keytab: is it there, for this principal, and with its newest keys?"
LOOK_AT_CLOCKS = "; look at the clocks: here, of the KDC and of the server"
LOOK_AT_PRINCIPAL = "; look at the principal: has the KDC removed or locked it?"


async def test_without_tickets_nothing_is_sent(realm: Realm, tmp_path: Path) -> None:
    reason = await realm.why_not(zk.Kerberos())
    assert reason.startswith("Kerberos: No Kerberos credentials available")
    assert reason.endswith(LOOK_AT_CACHE)
    reason = await realm.why_not(zk.Kerberos(cache_file=tmp_path / "none"))
    assert reason == f"Kerberos: No credentials cache found{LOOK_AT_CACHE}"


async def test_a_file_that_is_not_a_cache_is_reported(realm: Realm, tmp_path: Path) -> None:
    (tmp_path / "tickets").write_bytes(b"\x05\x04nonsense")
    reason = await realm.why_not(zk.Kerberos(cache_file=tmp_path / "tickets"))
    assert "Bad format in credentials cache" in reason
    assert reason.endswith(LOOK_AT_CACHE)


async def test_expired_tickets_are_reported(realm: Realm) -> None:
    """Case 67. Once they are renewed in the cache, the next try succeeds."""
    realm.kdc.kinit("client", realm.keytab, lifetime="1s")
    await _until_expired()
    assert await realm.why_not(zk.Kerberos()) == f"Kerberos: Ticket expired{LOOK_AT_CACHE}"
    realm.kdc.kinit("client", realm.keytab)
    async with zk.connect(realm.server.connect_string, sasl=zk.Kerberos()):
        pass


async def test_a_server_unknown_to_the_kdc_is_reported(realm: Realm) -> None:
    reason = await realm.why_not(zk.Kerberos(keytab=realm.keytab, service="nobody"))
    assert reason == (
        f"Kerberos: Server nobody/127.0.0.1@{REALM} not found in Kerberos database; "
        "look at the connect string: are host, service and realm those of the server's principal?"
    )


async def test_missing_keys_are_reported(realm: Realm, tmp_path: Path) -> None:
    assert (await realm.why_not(zk.Kerberos(keytab=tmp_path / "none.keytab"))).endswith(LOOK_AT_KEYTAB)
    assert (await realm.why_not(zk.Kerberos(principal="eve", keytab=realm.keytab))).endswith(LOOK_AT_KEYTAB)


@pytest.mark.parametrize("flags", ["", "+requires_preauth"])
async def test_changed_keys_are_reported(realm: Realm, flags: str) -> None:
    """The KDC notices only if it requires pre-authentication."""
    name = f"changed{len(flags)}"
    keytab = realm.kdc.add(name)
    for query in (f"modprinc {flags} {name}", f"cpw -randkey {name}"):
        realm.kdc.run("kadmin.local", "-r", REALM, "-q", query)
    reason = await realm.why_not(zk.Kerberos(keytab=keytab))
    what = "Preauthentication failed" if flags else "Decrypt integrity check failed"
    assert reason == f"Kerberos: {what}{LOOK_AT_KEYTAB}"


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("delprinc -force {}", f"Client '{{}}@{REALM}' not found in Kerberos database"),
        ("modprinc -allow_tix {}", "Client's credentials have been revoked"),
    ],
)
async def test_a_deleted_or_locked_principal_is_reported(realm: Realm, query: str, what: str) -> None:
    name, _, _ = query.partition(" ")
    keytab = realm.kdc.add(name)
    realm.kdc.run("kadmin.local", "-r", REALM, "-q", query.format(name))
    reason = await realm.why_not(zk.Kerberos(keytab=keytab))
    assert reason == f"Kerberos: {what.format(name)}{LOOK_AT_PRINCIPAL}"


async def test_a_clock_that_differs_from_the_kdcs_is_reported(
    realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client reports it, if `krb5.conf` forbids it to compensate for the difference."""
    text = realm.kdc.krb5_conf.read_text()
    (tmp_path / "krb5.conf").write_text(text.replace("[realms]", "    kdc_timesync = 0\n[realms]"))
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    async with _kdc_ahead(realm, hours=2):
        reason = await realm.why_not(zk.Kerberos(keytab=_new_principal(realm)))
    assert reason == f"Kerberos: Clock skew too great in KDC reply{LOOK_AT_CLOCKS}"


async def test_a_clock_that_differs_from_the_servers_is_reported(realm: Realm) -> None:
    """The client uses the KDC's time, and the server refuses that without a reason."""
    async with _kdc_ahead(realm, hours=2):
        reason = await realm.why_not(zk.Kerberos(keytab=_new_principal(realm)))
    assert reason == REFUSED
    assert "its clock" in reason


@asynccontextmanager
async def _kdc_ahead(realm: Realm, *, hours: int) -> AsyncIterator[None]:
    realm.kdc.stop()
    realm.kdc.start(clock_ahead=hours * 3600)
    try:
        yield
    finally:
        realm.kdc.stop()
        realm.kdc.start()


async def test_an_unreachable_kdc_counts_as_a_server_that_is_down(realm: Realm) -> None:
    kerberos = zk.Kerberos(keytab=_new_principal(realm))
    realm.kdc.stop()
    try:
        with pytest.raises(zk.ConnectTimeoutError) as caught:
            async with zk.connect(realm.server.connect_string, sasl=kerberos, connect_timeout=2):
                raise AssertionError("attached")
    finally:
        realm.kdc.start()
    (reason,) = caught.value.reasons.values()
    assert reason == f"Kerberos: Cannot contact any KDC for realm '{REALM}'"


def test_a_server_that_requires_protected_messages_is_refused(realm: Realm) -> None:
    """A server may require more with `sasl.qop`; the test acts as that server with its keys."""
    exchange, server = _met(realm)
    reply = server.step(exchange.begin())
    assert exchange.respond(reply) == b""
    with pytest.raises(zk.AuthFailedError, match="use TLS instead"):
        exchange.respond(server.wrap(bytes([2 | 4, 0, 16, 0]), False).message)


def test_garbage_instead_of_a_token_is_reported(realm: Realm) -> None:
    """Case 65."""
    for nonsense in (b"\x60\x00", b"realm=zk-sasl-md5", bytes(1000)):
        exchange, server = _met(realm)
        reply = server.step(exchange.begin())
        with pytest.raises(zk.AuthFailedError, match="Kerberos: "):
            exchange.respond(nonsense)
        exchange, server = _met(realm)
        reply = server.step(exchange.begin())
        exchange.respond(reply)
        with pytest.raises(zk.AuthFailedError, match="Kerberos: "):
            exchange.respond(nonsense)


def test_an_empty_token_is_reported(realm: Realm) -> None:
    """Case 65. A server that accepts failed logins sends it."""
    exchange, server = _met(realm)
    reply = server.step(exchange.begin())
    exchange.respond(reply)
    with pytest.raises(zk.AuthFailedError, match="the server sent no token"):
        exchange.respond(None)


def _met(realm: Realm) -> tuple[SaslExchange, Any]:
    """Return a client's exchange and the server's end of it."""
    import gssapi

    store: dict[str | bytes, str | bytes] = {"keytab": f"FILE:{realm.kdc.folder}/zookeeper-127.0.0.1.keytab"}
    keys = gssapi.Credentials(usage="accept", store=store)
    server = gssapi.SecurityContext(creds=keys, usage="accept")
    return zk.Kerberos(keytab=realm.keytab).exchange("127.0.0.1", b""), server


async def test_a_server_of_the_other_mechanism_refuses(realm: Realm, apache_server: ApacheServer) -> None:
    refused = (
        "the server refused the SASL authentication; look at user and password, and whether its mechanism"
    )
    assert (await realm.why_not(zk.DigestMD5("bob", "open-sesame"))).startswith(refused)
    with pytest.raises(zk.AuthFailedError, match="the server sent no token: SASL is not configured there"):
        async with zk.connect(apache_server.connect_string, sasl=zk.Kerberos(keytab=realm.keytab)):
            raise AssertionError("attached")


# --- kazoo, the control ----------------------------------------------------------------------------------


async def test_kazoo_is_the_same_user(realm: Realm, fresh_path: str) -> None:
    realm.kdc.kinit("client", realm.keytab)
    async with zk.connect(realm.server.connect_string, sasl=zk.Kerberos()) as client:
        await client.create(fresh_path, b"ours", acl=zk.CREATOR_ALL_ACL)
    assert await anyio.to_thread.run_sync(_read_by_kazoo, realm, fresh_path) == b"ours"


async def test_kazoo_without_tickets_is_also_refused(realm: Realm) -> None:
    with pytest.raises((KazooException, KazooTimeoutError)):
        await anyio.to_thread.run_sync(_read_by_kazoo, realm, "/")


def _read_by_kazoo(realm: Realm, path: str) -> bytes:
    kazoo = KazooClient(realm.server.connect_string, sasl_options={"mechanism": "GSSAPI"})
    try:
        kazoo.start(timeout=3)
        return bytes(kazoo.get(path)[0])
    finally:
        kazoo.stop()
        kazoo.close()

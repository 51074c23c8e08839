"""A secret that a caller passes wrongly, through any argument, appears in no error, frame or log line."""

# ruff: noqa: BLE001 - whatever comes is looked at

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.client.leaks import in_logs, leaks
from tests.recipes.fault_sweep import World, virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

SECRET = "open-sesame-7c1f"
HALF = "\ud800"
LONG = "x" * 100
# Each is wrong in a different way: the client refuses it, or the server does.
CREDENTIALS: dict[str, tuple[Any, Any]] = {
    "unknown scheme": ("nonsense", f"bob:{SECRET}"),
    "long": ("nonsense", f"{SECRET}{LONG}"),
    "no colon": ("digest", SECRET),
    "no colon, bytes": ("digest", SECRET.encode()),
    "no text": ("digest", f"bob:{SECRET}{HALF}"),
    "scheme is no text": (f"digest{HALF}", f"bob:{SECRET}"),
    "not UTF-8": ("nonsense", f"bob:{SECRET}".encode() + b"\xff"),
    "a bytearray": ("digest", bytearray(f"bob:{SECRET}".encode())),
    "a list": ("digest", [f"bob:{SECRET}"]),
    "swapped": (f"bob:{SECRET}".encode(), "digest"),
}

Way = Callable[[World, Path], Awaitable[object]]


async def _connect(there: World, *, hosts: str | None = None, **options: Any) -> None:
    where = there.server.connect_string if hosts is None else hosts
    async with zk.connect(where, network=there.network, connect_timeout=1.0, **options):
        raise AssertionError("attached")


def _auth(pair: tuple[Any, Any]) -> Way:
    return lambda there, _: _connect(there, auth=[pair])


def _add_auth(pair: tuple[Any, Any]) -> Way:
    async def add(there: World, _: Path) -> None:
        async with there.connect("a") as client:
            await client.add_auth(*pair)

    return add


def _late_auth(pair: tuple[Any, Any]) -> Way:
    """The credential is added while the next connection is being attached."""

    async def add(there: World, _: Path) -> None:
        async with there.connect("a") as client:
            there.server.drop_connections()
            there.server.pause()
            await anyio.sleep(0.3)
            assert client.state is zk.SessionState.SUSPENDED

            async def wait() -> None:
                with suppress(zk.ZooKeeperError):
                    await client.add_auth(*pair)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.sleep(0.1)
                there.server.resume()
                await anyio.sleep_forever()

    return add


def _hosts(text: str) -> Way:
    return lambda there, _: _connect(there, hosts=text)


def _update_hosts(text: str) -> Way:
    async def update(there: World, _: Path) -> None:
        async with there.connect("a") as client:
            client.update_hosts(text)

    return update


def _made(make: Callable[[], object]) -> Way:
    async def run(_: World, __: Path) -> None:
        make()

    return run


def _jaas(text: str, section: str = "Client") -> Way:
    async def read(_: World, folder: Path) -> None:
        file = folder / "jaas.conf"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        zk.read_jaas(file, section)

    return read


def _sasl(mechanism: zk.DigestMD5) -> Way:
    async def connect(there: World, _: Path) -> None:
        async with zk.DevServer(sasl_users={"bob": "another"}, network=there.network, host="sasl") as server:
            await _connect(there, hosts=server.connect_string, sasl=mechanism)

    return connect


MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule required"
BAD_HOSTS = [
    f"zk://bob:{SECRET}@h:2181",
    f"bob:{SECRET}@h:2181",
    f"bob:{SECRET}@h:2181,h2:2181/app",
    f"h1:2181,bob:{SECRET}@h2:2181",
    f"zk://bob:{SECRET}@h:2181//",
    f"bob:{SECRET}@h:port",
    f"h:2181/app,bob:{SECRET}@h2:2181/app",
]
WAYS: dict[str, Way] = {
    **{f"auth, {how}": _auth(pair) for how, pair in CREDENTIALS.items()},
    "auth, one pair": lambda there, _: _connect(there, auth=("digest", f"bob:{SECRET}")),
    "auth, a string": lambda there, _: _connect(there, auth=f"digest:bob:{SECRET}"),
    "auth, a triple": lambda there, _: _connect(there, auth=[("digest", "bob", SECRET)]),
    "auth, another argument is wrong": lambda there, _: _connect(
        there, auth=[("digest", f"bob:{SECRET}")], session_timeout=-1
    ),
    "auth, an unknown argument": lambda there, _: _connect(
        there, auth=[("digest", f"bob:{SECRET}")], sesion_timeout=1
    ),
    "auth, nothing answers": lambda there, _: _connect(
        there, hosts="nowhere:1", auth=[("digest", f"bob:{SECRET}")]
    ),
    **{f"add_auth, {how}": _add_auth(pair) for how, pair in CREDENTIALS.items()},
    **{f"late add_auth, {how}": _late_auth(CREDENTIALS[how]) for how in ("unknown scheme", "long")},
    **{f"hosts, {text}": _hosts(text) for text in BAD_HOSTS},
    **{f"update_hosts, {text}": _update_hosts(text) for text in BAD_HOSTS},
    "update_hosts, chroot": _update_hosts(f"h:2181/app@bob:{SECRET}@h"),
    "digest_id, no text": _made(lambda: zk.digest_id("bob", SECRET + HALF)),
    "digest_id, bytes": _made(lambda: zk.digest_id("bob", SECRET.encode())),  # type: ignore[arg-type]
    "digest_id, a colon": _made(lambda: zk.digest_id("bob:b", SECRET)),
    "digest_id, algorithm": _made(lambda: zk.digest_id("bob", SECRET, algorithm="ROT-13")),
    "sasl, no text": _made(lambda: zk.DigestMD5("bob", SECRET + HALF)),
    "sasl, bytes": _made(lambda: zk.DigestMD5("bob", SECRET.encode())),  # type: ignore[arg-type]
    "sasl, no user": _made(lambda: zk.DigestMD5("", SECRET)),
    "sasl, an unknown argument": _made(lambda: zk.DigestMD5("bob", pasword=SECRET)),  # type: ignore[call-arg]
    "sasl, refused": _sasl(zk.DigestMD5("bob", SECRET)),
    "sasl, refused, not in Latin-1": _sasl(zk.DigestMD5("bob", SECRET + "\u20ac")),
    "sasl, not there": lambda there, _: _connect(there, sasl=zk.DigestMD5("bob", SECRET)),
    "sasl, a string": lambda there, _: _connect(there, sasl=f"bob:{SECRET}"),
    "tls, password without a key": _made(lambda: zk.TLS(key_password=SECRET)),
    "tls, password of a wrong type": _made(lambda: zk.TLS(cert_file="c", key_password=[SECRET])),  # type: ignore[arg-type]
    "tls, the key itself": _made(
        lambda: zk.TLS(cert_file="c", key_file=f"-----BEGIN PRIVATE KEY-----\n{SECRET}")
    ),
    "tls, no such file": lambda there, _: _connect(
        there, tls=zk.TLS(cert_file="missing.pem", key_password=SECRET)
    ),
    "resume, a wrong type": lambda there, _: _connect(there, resume=(1, SECRET.encode(), 4.0)),
    "resume, a wrong id": lambda there, _: _connect(there, resume=zk.SessionKey(0, SECRET.encode(), 4.0)),
    "resume, another argument is wrong": lambda there, _: _connect(
        there, resume=zk.SessionKey(1, SECRET.encode(), 4.0), session_timeout=-1
    ),
    "resume, nothing answers": lambda there, _: _connect(
        there, hosts="nowhere:1", resume=zk.SessionKey(1, SECRET.encode(), 4.0)
    ),
    "jaas, broken": _jaas(f'Client {{ {MODULE} username="bob" password="{SECRET}";'),
    "jaas, single quotes": _jaas(f"Client {{ {MODULE} username='bob' password='{SECRET}'; }};"),
    "jaas, no quotes": _jaas(f"Client {{ {MODULE} username bob password {SECRET}; }};"),
    "jaas, no section": _jaas(f'Client {{ {MODULE} username="bob" password="{SECRET}"; }};', "Other"),
    "jaas, no user": _jaas(f'Client {{ {MODULE} password="{SECRET}"; }};'),
    "jaas, no text": _jaas(f'Client {{ {MODULE} username="bob" password="{SECRET}{HALF}"; }};'),
    "jaas, another module": _jaas(f'Client {{ some.Module required password="{SECRET}"; }};'),
    "jaas, the text as the path": _made(lambda: zk.read_jaas(f'Client {{ password="{SECRET}"; }};')),
}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG)
    return lambda: [f"{record.getMessage()} {record.__dict__!r}" for record in caplog.records]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_no_error_shows_the_secret(way: Way, tmp_path: Path, lines: Callable[[], list[str]]) -> None:
    error: BaseException | None = None
    async with world() as there:
        try:
            await way(there, tmp_path)
        except Exception as raised:
            error = raised
    assert error is not None, "it was not wrong"
    assert not leaks(error, SECRET)
    assert not in_logs(lines(), SECRET)


async def test_a_leak_would_be_found() -> None:
    """The search itself: in attributes, causes, contexts, groups and the objects of errors."""
    for raised in (
        ValueError(SECRET),
        UnicodeEncodeError("utf-8", SECRET + HALF, 16, 17, "surrogates not allowed"),
        ExceptionGroup("several", [ValueError(f"<{SECRET}>")]),
        zk.SessionExpiredError(1, reason=f"the password is {SECRET!r}"),
    ):
        assert leaks(raised, SECRET)
        outer = RuntimeError("something else")
        outer.__context__ = raised
        assert leaks(outer, SECRET)


async def test_no_instrument_is_shown_a_secret() -> None:
    told: list[object] = []

    class Recorder(zk.Instrument):
        def request_started(self, request: zk.ObservedRequest) -> None:
            told.append(vars(request) if hasattr(request, "__dict__") else repr(request))

        def request_finished(self, request: zk.ObservedRequest) -> None:
            told.append(repr(request))

    auth = [("digest", f"bob:{SECRET}")]
    async with world() as there, there.connect("a", instrument=Recorder(), auth=auth) as client:
        await client.add_auth("digest", f"ann:{SECRET}")
        await client.create("/n", acl=zk.CREATOR_ALL_ACL)
        assert repr(client.session.key).count("=") == 2
        assert told
        assert not in_logs([repr(each) for each in told], SECRET)


@pytest.mark.parametrize("pair", [CREDENTIALS["no text"], CREDENTIALS["scheme is no text"]])
async def test_a_credential_that_cannot_be_sent_is_not_kept(pair: tuple[str, str]) -> None:
    """Kept, it would end the client at its next connection."""
    async with world() as there, there.connect("a") as client:
        with pytest.raises(ValueError, match="must be text that UTF-8 can encode"):
            await client.add_auth(*pair)
        there.server.drop_connections()
        assert await client.exists("/") is not None


async def test_a_digest_needs_a_colon() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(ValueError, match="must be 'user:password'; the one given has no ':'"):
            await client.add_auth("digest", SECRET)
        await client.add_auth("digest", "bob:")

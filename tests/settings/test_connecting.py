"""A client connects with settings, on either loop; overrides replace them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import zkrecipes as zk

SECRET = "hunter" + "2"  # so that the source lines of a traceback do not contain it


@pytest.fixture
async def server() -> AsyncIterator[zk.DevServer]:
    async with zk.DevServer() as server:
        yield server


def settings(folder: Path, *lines: str) -> zk.Settings:
    path = folder / "app.properties"
    path.write_text("".join(f"zookeeper.{line}\n" for line in lines), "utf-8")
    return zk.read_settings(path)


@pytest.mark.anyio
async def test_a_client_has_the_options_of_the_settings(server: zk.DevServer, tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        f"connection-string={server.connect_string} # the dev server",
        "chroot=/app",
        "create-chroot=true",
        "session-timeout=5",
        "auth=digest:bob:a#b",
        "default-acl=creator",
    )
    async with zk.connect_from(given) as client:
        assert client.session.timeout == 5
        await client.create("/job")
        acl, _ = await client.get_acl("/job")
        assert [entry.id for entry in acl] == [zk.digest_id("bob", "a#b")]
    async with zk.connect(server.connect_string, auth=[("digest", "bob:a#b")]) as client:
        assert await client.get_children("/app") == ["job"]


@pytest.mark.anyio
async def test_overrides_replace_the_settings(server: zk.DevServer, tmp_path: Path) -> None:
    given = settings(tmp_path, "connection-string=h.invalid/app", "session-timeout=5")
    async with zk.connect_from(given, hosts=server.connect_string, session_timeout=4) as client:
        assert client.session.timeout == 4
        assert await client.get_children("/") == ["zookeeper"]


@pytest.mark.anyio
async def test_an_exception_of_the_block_is_raised_unchanged(server: zk.DevServer, tmp_path: Path) -> None:
    given = settings(tmp_path, f"connection-string={server.connect_string}")
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with zk.connect_from(given):
            raise error
    assert caught.value is error


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["enabled=false", "connection-string=h1"], "ZooKeeper must be enabled to connect"),
        (["enabled=true"], r"the hosts must be given, for example zookeeper\.connection-string=zk1:2181"),
    ],
)
async def test_settings_without_an_ensemble_are_refused(
    tmp_path: Path, lines: list[str], reason: str
) -> None:
    with pytest.raises(zk.SettingsError, match=reason):
        async with zk.connect_from(settings(tmp_path, *lines)):
            pass


@pytest.mark.anyio
async def test_an_error_shows_no_secret_and_neither_does_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    given = settings(
        tmp_path, "connection-string=127.0.0.1:1", f"auth=digest:a:{SECRET}", "connect-timeout=0.1"
    )
    with pytest.raises(zk.ConnectTimeoutError) as caught:
        async with zk.connect_from(given, sasl=zk.DigestMD5("bob", SECRET)):
            pass
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert SECRET not in "".join(lines) + caplog.text


@pytest.mark.anyio
async def test_forgetting_to_enter_is_reported_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"zk\.connect_from\(…\) must be entered with `async with`"):
        await zk.connect_from(settings(tmp_path))  # type: ignore[misc]  # the mistake

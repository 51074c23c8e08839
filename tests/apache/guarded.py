"""Servers that require SASL DIGEST-MD5, configured as in `docs/how-to/sasl.md`."""

from __future__ import annotations

import re
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import kazoo.client
import pytest

import zkrecipes as zk
from tests.apache.server_versions import version_of_server
from tests.house.source_tree import ROOT
from zkrecipes.ensemble import ApacheServer
from zkrecipes.ensemble.zoo_cfg_writer import Setting
from zkrecipes.enums import ServerVersion

PAGE = ROOT / "docs" / "how-to" / "sasl.md"
SECRET = "open-sesame"
BOB = zk.DigestMD5("bob", SECRET)
# Users that the page does not have, with difficult characters in their names and passwords.
MORE_USERS = {"alice": 'a "quoted" \\ word', "zoë": "pässwort", "日本": "秘密", "empty": ""}
SASL = {"authProvider.sasl": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"}
REFUSED = (
    "the server refused the SASL authentication; look at user and password, and whether its mechanism is "
    "DIGEST-MD5; its log says why"
)


@dataclass(frozen=True)
class Guarded:
    """A server that requires authentication."""

    server: ApacheServer
    jaas: Path

    def connect(
        self, sasl: zk.DigestMD5 | None = BOB, **options: Any
    ) -> AbstractAsyncContextManager[zk.Client]:
        return zk.connect(self.server.connect_string, sasl=sasl, **options)

    async def why_not(self, sasl: zk.DigestMD5) -> str:
        """Return the reason why entering fails."""
        with pytest.raises(zk.AuthFailedError) as caught:
            async with self.connect(sasl):
                raise AssertionError("attached")
        report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert not any(line for line in report.format() if sasl.password in line)
        return caught.value.reason

    @property
    def version(self) -> ServerVersion:
        """The server's version."""
        return version_of_server(self.server)

    def kazoo(self, **options: Any) -> kazoo.client.KazooClient:
        return kazoo.client.KazooClient(self.server.connect_string, **options)


@contextmanager
def serving(folder: Path, settings: Mapping[str, Setting], **properties: Setting) -> Iterator[Guarded]:
    """Run a server with the users of the page and some more."""
    jaas = folder / "jaas.conf"
    more = "".join(f"    user_{name}={_quoted(password)}\n" for name, password in MORE_USERS.items())
    jaas.write_text(block_of_the_page("text").replace("    user_super", f"{more}    user_super"), "utf-8")
    server = ApacheServer(
        settings=settings,
        properties={"java.security.auth.login.config": str(jaas), "file.encoding": "UTF-8", **properties},
        java_options=("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
    )
    server.open()
    try:
        run(server.start)
        yield Guarded(server, jaas)
    finally:
        server.close()


def run(func: Callable[[], Awaitable[object]]) -> None:
    """Run a function on a loop in a new thread, because this thread may be running the test's loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, func).result()


def _quoted(password: str) -> str:
    return '"' + password.replace("\\", "\\\\").replace('"', '\\"') + '"'


def block_of_the_page(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)

"""A real server and the dev server with the same settings, for the same requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal

from tests.conftest import JAVA_OPTIONS
from tests.devserver.differential.wire_session import split_address
from zkrecipes.devserver import DevServer
from zkrecipes.devserver.auth.access import digest_id
from zkrecipes.ensemble import ApacheServer

# No container is deleted and no session expires in the middle of a history.
_NEVER = 3_600.0
_SUPER = digest_id("super:secret")
_TICK = 2.0


class Pair(NamedTuple):
    """The addresses of both servers."""

    apache: tuple[str, int]
    dev: tuple[str, int]
    version: tuple[int, ...]
    """The version of the real server, such as `(3, 8, 0)`."""


@pytest.fixture(scope="package")
def pair() -> Iterator[Pair]:
    """A real server and a dev server for the tests of this folder."""
    with serving_pair() as pair:
        yield pair


@contextmanager
def serving_pair() -> Iterator[Pair]:
    """A real server and a dev server for a single test."""
    apache = ApacheServer(
        settings={"tickTime": round(_TICK * 1000), "extendedTypesEnabled": True, "forceSync": "no"},
        properties={
            "znode.container.checkIntervalMs": round(_NEVER * 1000),
            "zookeeper.DigestAuthenticationProvider.superDigest": _SUPER,
        },
        java_options=JAVA_OPTIONS,
    )
    dev = DevServer(
        tick_time=_TICK,
        super_digest=_SUPER,
        extended_types=True,
        container_check_interval=_NEVER,
        seed=0,
    )
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(apache),
        portal.wrap_async_context_manager(dev),
    ):
        status = portal.call(apache.status)
        assert status is not None
        version = tuple(int(part) for part in status.version.split("."))
        yield Pair(split_address(apache.connect_string), (dev.host, dev.port), version)

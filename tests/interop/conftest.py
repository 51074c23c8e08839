"""Clients of the other libraries on the real server that all tests share."""

from __future__ import annotations

import itertools
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.interop.curator import compile_curator_peer, start_curator
from tests.interop.kazoo_peer import start_kazoo
from tests.interop.peer import Peer, StartPeer
from tests.java_program import JavaProgram
from zkrecipes.ensemble import ApacheServer

_SESSION_TIMEOUT = 4.0


@pytest.fixture(scope="session")
def _curator_program(tmp_path_factory: pytest.TempPathFactory) -> JavaProgram:
    return compile_curator_peer(tmp_path_factory.mktemp("curator"))


@pytest.fixture
def curator(apache_server: ApacheServer, _curator_program: JavaProgram, tmp_path: Path) -> StartPeer:
    """Start Curator clients: `async with curator() as peer: await peer.call("LeaderLatch", …)`."""
    numbers = itertools.count(1)

    def start(*, session_timeout: float = _SESSION_TIMEOUT) -> AbstractAsyncContextManager[Peer]:
        log = tmp_path / f"curator-{next(numbers)}.log"
        server = apache_server.connect_string
        return start_curator(_curator_program, server, session_timeout=session_timeout, log=log)

    return start


@pytest.fixture
def kazoo_peer(apache_server: ApacheServer, tmp_path: Path) -> StartPeer:
    """Start kazoo clients: `async with kazoo_peer() as peer: await peer.call("Lock", …)`."""
    numbers = itertools.count(1)

    def start(*, session_timeout: float = _SESSION_TIMEOUT) -> AbstractAsyncContextManager[Peer]:
        log = tmp_path / f"kazoo-{next(numbers)}.log"
        return start_kazoo(apache_server.connect_string, session_timeout=session_timeout, log=log)

    return start

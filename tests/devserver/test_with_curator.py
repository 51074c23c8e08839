"""Curator's recipes on the Java client: they work on the dev server as on a real server.

The tests are those of `tests/interop/test_curator_peer.py`, on another server.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.interop.curator import compile_curator_peer, start_curator
from tests.interop.mutex_scenarios import Family
from tests.interop.peer import Peer, StartPeer
from tests.interop.test_curator_peer import (
    test_a_group_member,
    test_a_leader_latch,
    test_a_leader_selector,
    test_a_mutex,
    test_a_read_write_lock,
    test_a_revocation_is_seen,
    test_a_semaphore,
    test_an_expired_session_loses_its_lock,
    test_barriers,
    test_two_clients_contend,
)
from tests.java_program import JavaProgram
from zkrecipes.devserver import DevServer

__all__ = [
    "test_a_group_member",
    "test_a_leader_latch",
    "test_a_leader_selector",
    "test_a_mutex",
    "test_a_read_write_lock",
    "test_a_revocation_is_seen",
    "test_a_semaphore",
    "test_an_expired_session_loses_its_lock",
    "test_barriers",
    "test_two_clients_contend",
]

pytestmark = [pytest.mark.anyio, pytest.mark.interop]

_SESSION_TIMEOUT = 4.0


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[DevServer]:
    async with DevServer(tick_time=0.5, container_check_interval=0.5) as server:
        yield server


@pytest.fixture(scope="module")
def _curator_program(tmp_path_factory: pytest.TempPathFactory) -> JavaProgram:
    return compile_curator_peer(tmp_path_factory.mktemp("curator"))


@pytest.fixture
def family(server: DevServer, _curator_program: JavaProgram, tmp_path: Path) -> Family:
    logs: Iterator[int] = itertools.count(1)

    def start(*, session_timeout: float = _SESSION_TIMEOUT) -> AbstractAsyncContextManager[Peer]:
        log = tmp_path / f"curator-{next(logs)}.log"
        return start_curator(
            _curator_program, server.connect_string, session_timeout=session_timeout, log=log
        )

    curator: StartPeer = start
    return Family(server, "/curator", curator, layout="curator", lock_class="InterProcessMutex")

"""The fixtures of all tests: the two event loops, and the real servers with their time limits and skips.

- `@pytest.mark.anyio` runs an async test twice, on trio and on asyncio.
- `@pytest.mark.trio` runs it on trio, and `autojump_clock` (pytest-trio) gives it virtual time.
- `apache_server` and `apache_ensemble` are real servers that all tests share. A test may kill, stop or pause
  them; they are repaired after it. Plain tests may use them, and tests on both loops.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import hypothesis
import pytest

from tests.slow_tests import Stopwatch, deselect_slow_tests, is_left_out
from tests.sweeps import describe_sweeps
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer, ServerNotFoundError, find_installation
from zkrecipes.ensemble.zoo_cfg_writer import Setting

# An example has no deadline: the machine may be busy, and the first example compiles code.
hypothesis.settings.register_profile("zkrecipes", deadline=None, print_blob=True)
hypothesis.settings.load_profile("zkrecipes")

REAL_SERVER_FIXTURES = {"apache_server", "apache_ensemble"}
REAL_SERVER_TIMEOUT = 60

# The ticks are short, so that sessions of one second are possible (two ticks) and a lost leader is noticed
# after five ticks. Joining may take longer, because the machine may be busy. No data must survive a power
# failure, so no write waits for the disk.
SETTINGS: dict[str, Setting] = {
    "tickTime": 500,
    "initLimit": 40,
    "syncLimit": 5,
    "maxSessionTimeout": 60_000,
    "extendedTypesEnabled": True,  # nodes with a time to live
    "forceSync": "no",
}
PROPERTIES: dict[str, Setting] = {"znode.container.checkIntervalMs": 500}
# With these options, Java starts faster and leaves the second core to the tests.
JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("zkrecipes's own tests")
    group.addoption("--quick", action="store_true", help="leave out real servers and the slowest tests")
    group.addoption("--write-slow-tests", action="store_true", help="measure the table of the slowest tests")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-slow-tests"):
        config.pluginmanager.register(Stopwatch())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the tests of the folders that a quick run leaves out."""
    return True if config.getoption("--quick") and is_left_out(collection_path) else None


def pytest_report_header() -> str:
    return describe_sweeps()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = _why_no_server()
    for item in items:
        if REAL_SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("apache")
        if item.get_closest_marker("apache") is None and item.get_closest_marker("interop") is None:
            continue
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(REAL_SERVER_TIMEOUT))
        if missing is not None:
            item.add_marker(pytest.mark.skip(reason=missing))
    if config.getoption("--quick"):
        deselect_slow_tests(config, items)


def _why_no_server() -> str | None:
    """Return the reason for skipping tests with a real server; None if they run, or must fail without one."""
    if os.environ.get("ZKRECIPES_REQUIRE_ZOOKEEPER") == "1":
        return None
    try:
        find_installation()
    except ServerNotFoundError as error:
        return str(error)
    return None


@pytest.fixture(scope="module", params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The loop of a test marked `anyio`."""
    return str(request.param)


@pytest.fixture
def fresh_path(request: pytest.FixtureRequest) -> str:
    """A path on a shared server that no other test uses and that does not exist: `/name-of-the-test-…`."""
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    return f"/{name}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def apache_server(_shared_server: ApacheServer) -> Iterator[ApacheServer]:
    """A standalone Apache ZooKeeper that serves at the start of each test."""
    yield _shared_server
    _shared_server.resume()
    if not _shared_server.is_running:
        _run(_shared_server.start)


@pytest.fixture
def apache_ensemble(_shared_ensemble: ApacheEnsemble) -> Iterator[ApacheEnsemble]:
    """Three Apache ZooKeeper servers that all serve under one leader at the start of each test."""
    yield _shared_ensemble
    _run(_shared_ensemble.heal)


@pytest.fixture(scope="session")
def _shared_server() -> Iterator[ApacheServer]:
    server = ApacheServer(settings=SETTINGS, properties=PROPERTIES, java_options=JAVA_OPTIONS)
    server.open()
    try:
        _run(server.start)
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def _shared_ensemble() -> Iterator[ApacheEnsemble]:
    ensemble = ApacheEnsemble(size=3, settings=SETTINGS, properties=PROPERTIES, java_options=JAVA_OPTIONS)
    ensemble.open()
    try:
        _run(ensemble.start)
        yield ensemble
    finally:
        ensemble.close()


def _run(func: Callable[[], Awaitable[object]]) -> None:
    """Run a function on a new loop in a thread, because this thread may be running the loop of a test."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, func).result()

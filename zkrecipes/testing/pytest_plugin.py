"""The pytest plugin: `zk_server` for every kind of test, `zk_client` and `dev_server` for async ones.

pytest imports this module in every run with zkrecipes installed, so it imports nothing but pytest. Each
fixture imports the rest when a test uses it.

Three plugins run async tests, and each sets up async fixtures in its own way:

- pytest-trio sets up the fixtures of a test marked `trio`, in the test's own trio run;
- anyio's plugin sets up those of a test that has `anyio_backend`;
- pytest-asyncio sets up all of them in auto mode; in strict mode only those made by `pytest_asyncio.fixture`,
  each for one loop scope.

Therefore the fixtures that users name are plain functions that look at the test and pick the fixture that its
plugin sets up; `asyncio_fixtures` has those for pytest-asyncio. Each async fixture runs its value in a
separate task (`hosted`), because the plugins also differ in the tasks that set up and tear down.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from zkrecipes.client.client import Client
    from zkrecipes.devserver.server import DevServer
    from zkrecipes.testing.threaded_server import ThreadedDevServer

__all__ = ["dev_server", "zk_client", "zk_connect_options", "zk_server"]

_DEV = "dev"
_APACHE = "apache"
_FOR_ASYNCIO = "zkrecipes-asyncio"
_LOOP_SCOPE = "asyncio_default_test_loop_scope"  # an option of pytest-asyncio since 0.26


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--zookeeper`."""
    parser.getgroup("zkrecipes", "zkrecipes: ZooKeeper for tests").addoption(
        "--zookeeper",
        default=_DEV,
        metavar="dev|apache|HOST:PORT",
        help="the server behind zk_server: a dev server for each test (default), a real Apache ZooKeeper "
        "server started for the run, or the server at HOST:PORT. On the last two, each test gets its own "
        "chroot.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the value of `--zookeeper`, and register the fixtures for pytest-asyncio if that is used."""
    _check_option(config.getoption("--zookeeper"))
    config.addinivalue_line(
        "markers", "zk_faults: the test uses faults of zk_server; skipped unless that is the dev server"
    )
    if config.pluginmanager.has_plugin("asyncio") and _has_loop_scopes(config):
        from zkrecipes.testing import asyncio_fixtures

        config.pluginmanager.register(asyncio_fixtures, _FOR_ASYNCIO)


def _has_loop_scopes(config: pytest.Config) -> bool:
    """Whether this release of pytest-asyncio has loop scopes; an older release must not break the run."""
    try:
        config.getini(_LOOP_SCOPE)
    except ValueError:
        return False
    return True


def _check_option(value: str) -> None:
    if value == _DEV:
        return
    if value == _APACHE:
        from zkrecipes.ensemble import ServerNotFoundError, find_installation

        try:
            find_installation()
        except ServerNotFoundError as error:
            raise pytest.UsageError(f"--zookeeper=apache: {error}") from error
        return
    from zkrecipes.net.connect_string import parse_connect_string

    try:
        if ":" not in value:
            raise ValueError("the port is missing")
        parse_connect_string(value)
    except ValueError as error:
        raise pytest.UsageError(
            f"--zookeeper={value}: expected 'dev', 'apache' or HOST:PORT ({error})"
        ) from error


# --- for every kind of test ---------------------------------------------------------------------------------


@pytest.fixture
def zk_server(request: pytest.FixtureRequest) -> Iterator[ThreadedDevServer]:
    """An empty ZooKeeper server: `zk_server.connect_string`, `zk_server.address`.

    By default it is a dev server on TCP in its own thread; `--zookeeper` selects another server. The dev
    server
    has methods that inject faults: see `zkrecipes.testing.ThreadedDevServer`. It shuffles lists of children,
    for each test in the same way in each run.
    """
    value = request.config.getoption("--zookeeper")
    if value == _DEV:
        from zkrecipes.devserver.server import DevServer
        from zkrecipes.testing.fixture_values import seed_of
        from zkrecipes.testing.threaded_server import ThreadedDevServer

        with ThreadedDevServer(DevServer(seed=seed_of(request.node.nodeid))) as server:
            yield server
        return
    from zkrecipes.testing.shared_server import fresh_chroot

    _skip_if_faults_are_used(request)
    connect_string = request.getfixturevalue("_zk_apache_connect_string") if value == _APACHE else value
    with fresh_chroot(connect_string) as shared:
        # A test on a shared server may use only these attributes; any other attribute skips the test.
        yield shared  # type: ignore[misc]


def _skip_if_faults_are_used(request: pytest.FixtureRequest) -> None:
    from zkrecipes.testing.shared_server import fault_used_by, needs_dev_server

    test = getattr(request.node, "function", None)
    used = None if test is None else fault_used_by(test)
    if used is not None:
        pytest.skip(needs_dev_server(used))
    if request.node.get_closest_marker("zk_faults") is not None:
        pytest.skip("zk_faults: the test needs the dev server: run with --zookeeper=dev")


@pytest.fixture(scope="session")
def _zk_apache_connect_string() -> Iterator[str]:
    """The connect string of a real server that runs until the end of the session."""
    from anyio.from_thread import start_blocking_portal

    from zkrecipes.ensemble import ApacheServer

    server = ApacheServer(settings={"tickTime": 500, "forceSync": "no", "extendedTypesEnabled": True})
    with start_blocking_portal("trio") as portal, portal.wrap_async_context_manager(server):
        yield server.connect_string


@pytest.fixture
def zk_connect_options() -> Mapping[str, Any]:
    """The options of `connect` for `zk_client`; override this fixture to change them."""
    return {}


# --- for async tests ----------------------------------------------------------------------------------------


@pytest.fixture
def zk_client(request: pytest.FixtureRequest) -> Client:
    """A connected client: of `dev_server` if the test uses that, otherwise of `zk_server`."""
    suffix = "_of_dev_server" if "dev_server" in request.fixturenames else ""
    return _async_fixture(request, "zk_client", suffix)  # type: ignore[return-value]


@pytest.fixture
def dev_server(request: pytest.FixtureRequest) -> DevServer:
    """A dev server on the test's own loop and on a network in memory; a virtual clock controls it fully.

    Connect with its network: `connect(dev_server.connect_string, network=dev_server.network)`.
    """
    return _async_fixture(request, "dev_server")  # type: ignore[return-value]


def _async_fixture(request: pytest.FixtureRequest, name: str, suffix: str = "") -> object:
    """Return the value of the fixture for the plugin that runs this test."""
    item = request.node
    if not inspect.iscoroutinefunction(getattr(item, "function", None)):
        pytest.fail(f"{name} needs an async test; a synchronous test can use zk_server", pytrace=False)
    match _runners(request):
        case ["trio"] | ["anyio"]:
            return request.getfixturevalue(f"_{name}{suffix}")
        case ["asyncio"] if not request.config.pluginmanager.has_plugin(_FOR_ASYNCIO):
            pytest.fail(f"{name} needs pytest-asyncio 0.26 or later", pytrace=False)
        case ["asyncio"]:
            return request.getfixturevalue(f"_{name}{suffix}_in_{_loop_scope(item)}_loop")
        case []:
            pytest.fail(
                f"{name}: no plugin runs this async test. Mark it for an installed plugin: "
                "pytest.mark.trio (pytest-trio), pytest.mark.anyio (anyio's own), pytest.mark.asyncio "
                "(pytest-asyncio)",
                pytrace=False,
            )
        case several:
            pytest.fail(
                f"{name}: {' and '.join(several)} would both run this test. Mark it for one of them; if "
                "a plugin is in auto mode, which claims all async tests, set it to strict",
                pytrace=False,
            )


def _runners(request: pytest.FixtureRequest) -> list[str]:
    """Return the plugins that claim the test."""
    item, plugins = request.node, request.config.pluginmanager
    claims = {
        "trio": item.get_closest_marker("trio") is not None,
        "asyncio": item.get_closest_marker("asyncio") is not None,
        "anyio": "anyio_backend" in request.fixturenames,
    }
    return [name for name, is_claimed in claims.items() if is_claimed and plugins.has_plugin(name)]


def _loop_scope(item: pytest.Item) -> str:
    """Return the loop scope of a test that pytest-asyncio runs."""
    marker = item.get_closest_marker("asyncio")
    assert marker is not None
    return str(marker.kwargs.get("loop_scope") or item.config.getini(_LOOP_SCOPE))


# pytest-trio and anyio's plugin set up these fixtures.


@pytest.fixture
async def _zk_client(
    zk_server: ThreadedDevServer, zk_connect_options: Mapping[str, Any]
) -> AsyncIterator[Client]:
    from zkrecipes.testing.fixture_values import client_of_server

    async with client_of_server(zk_server, zk_connect_options) as client:
        yield client


@pytest.fixture
async def _dev_server(request: pytest.FixtureRequest) -> AsyncIterator[DevServer]:
    from zkrecipes.testing.fixture_values import dev_server_in_memory

    async with dev_server_in_memory(request.node.nodeid) as server:
        yield server


@pytest.fixture
async def _zk_client_of_dev_server(
    dev_server: DevServer, zk_connect_options: Mapping[str, Any]
) -> AsyncIterator[Client]:
    from zkrecipes.testing.fixture_values import client_of_dev_server

    async with client_of_dev_server(dev_server, zk_connect_options) as client:
        yield client

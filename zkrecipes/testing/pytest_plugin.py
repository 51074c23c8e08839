"""The pytest plugin: `zk_server` for every kind of test, `zk_client` and `dev_server` for async ones.

pytest imports this module in every run where zkrecipes is installed, so it imports nothing but pytest; what
a fixture needs is imported when the fixture is used.

Three plugins run async tests, and each sets up async fixtures in its own way:

- pytest-trio runs those that a test marked `trio` uses, in the test's own trio run;
- anyio's plugin those of a test that has `anyio_backend`;
- pytest-asyncio in strict mode those that were made by `pytest_asyncio.fixture`, each for one scope of loops,
  and in auto mode all.

So the fixtures that users name are plain functions that look at the test and pick the fixture which its
plugin sets up; `asyncio_fixtures` has those for pytest-asyncio. All of them keep what they give in a task of
its own (`hosting`), because the plugins differ in the tasks in which they set up and tear down, too.
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
_LOOP_SCOPE = "asyncio_default_test_loop_scope"  # an option of pytest-asyncio's, since 0.26


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--zookeeper`."""
    parser.getgroup("zkrecipes", "zkrecipes: ZooKeeper for tests").addoption(
        "--zookeeper",
        default=_DEV,
        metavar="dev|apache|HOST:PORT",
        help="what zk_server is: the dev server, one for each test (default); a real Apache ZooKeeper server "
        "that is started for the run; or one that runs at HOST:PORT. On the last two each test has a chroot "
        "of its own.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what `--zookeeper` cannot be, and bring the fixtures for pytest-asyncio where that is used."""
    _check_option(config.getoption("--zookeeper"))
    config.addinivalue_line(
        "markers", "zk_faults: asks zk_server for faults; skipped where that is not the dev server"
    )
    if config.pluginmanager.has_plugin("asyncio") and _has_loop_scopes(config):
        from zkrecipes.testing import asyncio_fixtures

        config.pluginmanager.register(asyncio_fixtures, _FOR_ASYNCIO)


def _has_loop_scopes(config: pytest.Config) -> bool:
    """Whether pytest-asyncio is of a release that has them: an older one must not break the whole run."""
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
    from zkrecipes.net.hosts import parse_connect_string

    try:
        if ":" not in value:
            raise ValueError("it has no port")
        parse_connect_string(value)
    except ValueError as error:
        raise pytest.UsageError(
            f"--zookeeper={value}: expected 'dev', 'apache' or HOST:PORT ({error})"
        ) from error


# --- for every kind of test ---------------------------------------------------------------------------------


@pytest.fixture
def zk_server(request: pytest.FixtureRequest) -> Iterator[ThreadedDevServer]:
    """A ZooKeeper server with nothing in it: `zk_server.connect_string`, `zk_server.address`.

    A dev server in a thread of its own, on TCP, or what `--zookeeper` says. What can go wrong with a dev
    server are methods of it: see `zkrecipes.testing.ThreadedDevServer`. Lists of children come in an odd
    order, for a test the same in each run.
    """
    value = request.config.getoption("--zookeeper")
    if value == _DEV:
        from zkrecipes.devserver.server import DevServer
        from zkrecipes.testing.seeds import seed_of
        from zkrecipes.testing.threaded_server import ThreadedDevServer

        with ThreadedDevServer(DevServer(seed=seed_of(request.node.nodeid))) as server:
            yield server
        return
    from zkrecipes.testing.shared_server import fresh_chroot

    _skip_where_faults_are_used(request)
    hosts = request.getfixturevalue("_zk_apache_hosts") if value == _APACHE else value
    with fresh_chroot(hosts) as shared:
        # It is all that a test may use there; what it lacks skips the test.
        yield shared  # type: ignore[misc]


def _skip_where_faults_are_used(request: pytest.FixtureRequest) -> None:
    from zkrecipes.testing.faults_used import attribute_used
    from zkrecipes.testing.shared_server import FAULTS, needs_dev_server

    test = getattr(request.node, "function", None)
    used = None if test is None else attribute_used(test, "zk_server", FAULTS)
    if used is not None:
        pytest.skip(needs_dev_server(used))
    if request.node.get_closest_marker("zk_faults") is not None:
        pytest.skip("zk_faults: the test needs the dev server: run with --zookeeper=dev")


@pytest.fixture(scope="session")
def _zk_apache_hosts() -> Iterator[str]:
    """The connect string of a real server that runs until the tests are over."""
    from anyio.from_thread import start_blocking_portal

    from zkrecipes.ensemble import ApacheServer

    server = ApacheServer(settings={"tickTime": 500, "forceSync": "no", "extendedTypesEnabled": True})
    with start_blocking_portal("trio") as portal, portal.wrap_async_context_manager(server):
        yield server.connect_string


@pytest.fixture
def zk_connect_options() -> Mapping[str, Any]:
    """The options of `connect` for `zk_client`; override it to have others than the defaults."""
    return {}


# --- for async tests ----------------------------------------------------------------------------------------


@pytest.fixture
def zk_client(request: pytest.FixtureRequest) -> Client:
    """A connected client: of `dev_server` where the test uses that, otherwise of `zk_server`."""
    of = "_of_dev_server" if "dev_server" in request.fixturenames else ""
    return _async_fixture(request, "zk_client", of)  # type: ignore[return-value]


@pytest.fixture
def dev_server(request: pytest.FixtureRequest) -> DevServer:
    """A dev server on the test's own loop, on a network in memory: no time passes under a virtual clock.

    Its clients pass the network on: `connect(dev_server.connect_string, network=dev_server.network)`.
    """
    return _async_fixture(request, "dev_server")  # type: ignore[return-value]


def _async_fixture(request: pytest.FixtureRequest, name: str, of: str = "") -> object:
    """The value of the fixture that the plugin which runs this test sets up."""
    item = request.node
    if not inspect.iscoroutinefunction(getattr(item, "function", None)):
        pytest.fail(f"{name} needs an async test; a plain one has zk_server", pytrace=False)
    match _runners(request):
        case ["trio"] | ["anyio"]:
            return request.getfixturevalue(f"_{name}{of}")
        case ["asyncio"] if not request.config.pluginmanager.has_plugin(_FOR_ASYNCIO):
            pytest.fail(f"{name} needs pytest-asyncio 0.26 or later", pytrace=False)
        case ["asyncio"]:
            return request.getfixturevalue(f"_{name}{of}_in_{_loop_scope(item)}_loop")
        case []:
            pytest.fail(
                f"{name}: no plugin runs this async test. Mark it for one that is installed: "
                "pytest.mark.trio (pytest-trio), pytest.mark.anyio (anyio's own), pytest.mark.asyncio "
                "(pytest-asyncio)",
                pytrace=False,
            )
        case several:
            pytest.fail(
                f"{name}: {' and '.join(several)} would both run this test. Mark it for one of them; where "
                "a plugin is in auto mode, which claims all async tests, set it to strict",
                pytrace=False,
            )


def _runners(request: pytest.FixtureRequest) -> list[str]:
    """Which plugins take the test for theirs."""
    item, plugins = request.node, request.config.pluginmanager
    claims = {
        "trio": item.get_closest_marker("trio") is not None,
        "asyncio": item.get_closest_marker("asyncio") is not None,
        "anyio": "anyio_backend" in request.fixturenames,
    }
    return [name for name, is_claimed in claims.items() if is_claimed and plugins.has_plugin(name)]


def _loop_scope(item: pytest.Item) -> str:
    """Whose loop a test of pytest-asyncio runs on."""
    marker = item.get_closest_marker("asyncio")
    assert marker is not None
    return str(marker.kwargs.get("loop_scope") or item.config.getini(_LOOP_SCOPE))


# pytest-trio and anyio's plugin set these up.


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

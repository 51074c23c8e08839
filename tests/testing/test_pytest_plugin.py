"""The pytest plugin under every runner, each alone and all together; each case is a separate pytest run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from zkrecipes.devserver import DevServer
from zkrecipes.testing import ThreadedDevServer

pytest_plugins = ["pytester"]

# Plugins that are not under test in a run are disabled, as if they were not installed.
RUNNERS = {"trio", "anyio", "asyncio"}
BESIDE = ("-p", "no:timeout", "-p", "no:cov", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")

# The same test for each runner. The body leaves a cancel scope, ends a task group and loses its connection
# while the fixtures are set up around it. A scope that a fixture left open in the wrong task would break
# here.
ASYNC_TESTS = """
import anyio, pytest
import zkrecipes as zk

pytestmark = pytest.mark.{marker}

async def test_a_client_works(zk_client, zk_server):
    await zk_client.create("/a", b"1")
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    zk_server.drop_connections()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(zk_client.get, "/a")
        tasks.start_soon(zk_client.get, "/a")
    async with zk.Mutex(zk_client, "/lock") as hold:
        hold.check()

async def test_each_test_has_a_server_of_its_own(zk_client):
    assert await zk_client.exists("/a") is None

async def test_faults_are_called_without_await(zk_client, zk_server):
    fault = zk_server.faults.lose_reply(path="/b")
    with pytest.raises(zk.ConnectionLossError):
        await zk_client.create("/b", b"")
    assert fault.is_spent
    assert await zk_client.exists("/b") is not None
    session = zk_client.session
    zk_server.expire(session.id)
    await session.wait_closed()

async def test_a_server_in_memory(dev_server):
    async with zk.connect(dev_server.connect_string, network=dev_server.network) as client:
        await client.create("/c", b"")

async def test_the_client_of_a_server_in_memory(zk_client, dev_server):
    await zk_client.create("/c", b"")
    assert "/c" in dev_server.processor.tree

@pytest.fixture
def user_of_both(zk_server, zk_client):
    return zk_server

async def test_other_fixtures_may_use_them(user_of_both, zk_client):
    assert await zk_client.get_children("/") == ["zookeeper"]

class TestWithOtherOptions:
    @pytest.fixture
    def zk_connect_options(self):
        return {{"session_timeout": 6.0}}

    async def test_options(self, zk_client):
        assert zk_client.session.timeout == 6.0
"""
COUNT = 7

FOR_TRIO_ONLY = """
import pytest, trio
import zkrecipes as zk

@pytest.mark.trio
async def test_a_minute_passes_at_once(zk_client, dev_server, autojump_clock):
    async with zk.Mutex(zk_client, "/lock"):
        await trio.sleep(60)

@pytest.fixture
async def a_node(zk_client):
    await zk_client.create("/mine", b"")
    yield "/mine"
    await zk_client.delete("/mine")

@pytest.mark.trio
async def test_async_fixtures_may_use_the_client(a_node, zk_client):
    assert await zk_client.exists(a_node) is not None
"""

FOR_ASYNCIO_ONLY = """
import asyncio, pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")
loops = set()

async def test_a_loop_of_the_module(zk_client):
    await zk_client.create("/a", b"")
    loops.add(asyncio.get_running_loop())

class TestInAClass:
    async def test_the_same_loop(self, zk_client, dev_server):
        await zk_client.create("/a", b"")
        loops.add(asyncio.get_running_loop())
        assert len(loops) == 1
"""

PLAIN = """
import unittest
import pytest

def test_plain(zk_server):
    host, port = zk_server.address
    assert zk_server.connect_string == f"{host}:{port}"

class TestWithUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def server(self, zk_server):
        self.zk_server = zk_server

    def test_unittest(self):
        self.zk_server.pause()
        self.zk_server.resume()
"""


def _run(pytester: pytest.Pytester, *arguments: str, only: Sequence[str] = ()) -> pytest.RunResult:
    """Run pytest with `only` these runners."""
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    off = [word for name in sorted(RUNNERS - set(only)) for word in ("-p", f"no:{name}")]
    if "asyncio" not in only:  # its options are then unknown
        pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester.runpytest_subprocess(*BESIDE, *off, *arguments)


def test_with_pytest_trio_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=ASYNC_TESTS.format(marker="trio"), test_trio=FOR_TRIO_ONLY, test_plain=PLAIN)
    _run(pytester, only=["trio"]).assert_outcomes(passed=COUNT + 2 + 2)


def test_with_pytest_trio_alone_in_trio_mode(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FOR_TRIO_ONLY.replace("@pytest.mark.trio\n", ""))
    _run(pytester, "-o", "trio_mode=true", only=["trio"]).assert_outcomes(passed=2)


def test_with_the_plugin_of_anyio_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=ASYNC_TESTS.format(marker="anyio"), test_plain=PLAIN)
    _run(pytester, only=["anyio"]).assert_outcomes(passed=2 * COUNT + 2)


def test_with_pytest_asyncio_alone_in_strict_mode(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it=ASYNC_TESTS.format(marker="asyncio"), test_loops=FOR_ASYNCIO_ONLY, test_plain=PLAIN
    )
    _run(pytester, only=["asyncio"]).assert_outcomes(passed=COUNT + 2 + 2)


def test_with_pytest_asyncio_alone_in_auto_mode(pytester: pytest.Pytester) -> None:
    unmarked = ASYNC_TESTS.replace("pytestmark = pytest.mark.{marker}", "").format()
    pytester.makepyfile(test_it=unmarked, test_loops=FOR_ASYNCIO_ONLY, test_plain=PLAIN)
    _run(pytester, "--asyncio-mode=auto", only=["asyncio"]).assert_outcomes(passed=COUNT + 2 + 2)


def test_with_anyio_alone_in_auto_mode(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ASYNC_TESTS.replace("pytestmark = pytest.mark.{marker}", "").format())
    _run(pytester, "--anyio-mode=auto", only=["anyio"]).assert_outcomes(passed=2 * COUNT)


def test_with_all_of_them_together(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_trio=ASYNC_TESTS.format(marker="trio"),
        test_anyio=ASYNC_TESTS.format(marker="anyio"),
        test_asyncio=ASYNC_TESTS.format(marker="asyncio"),
        test_time=FOR_TRIO_ONLY,
        test_loops=FOR_ASYNCIO_ONLY,
        test_plain=PLAIN,
    )
    _run(pytester, only=sorted(RUNNERS)).assert_outcomes(passed=4 * COUNT + 2 + 2 + 2)


def test_with_all_of_them_together_and_asyncio_in_auto_mode(pytester: pytest.Pytester) -> None:
    unmarked = ASYNC_TESTS.replace("pytestmark = pytest.mark.{marker}", "").format()
    pytester.makepyfile(test_it=unmarked, test_loops=FOR_ASYNCIO_ONLY, test_plain=PLAIN)
    result = _run(pytester, "--asyncio-mode=auto", only=sorted(RUNNERS))
    result.assert_outcomes(passed=COUNT + 2 + 2)


def test_a_test_that_two_plugins_claim_gets_a_message(pytester: pytest.Pytester) -> None:
    """In auto mode pytest-asyncio runs tests marked for other plugins, which set up the fixtures."""
    pytester.makepyfile("import pytest\n@pytest.mark.anyio\nasync def test_it(zk_client): pass")
    result = _run(pytester, "--asyncio-mode=auto", only=sorted(RUNNERS))
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["zk_client: asyncio and anyio would both run this test. *set it to strict"])


def test_without_any_of_them_there_is_the_server(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN)
    _run(pytester).assert_outcomes(passed=2)


def test_an_async_test_without_a_plugin_gets_a_remedy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("async def test_it(zk_client): pass")
    result = _run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["zk_client: no plugin runs this async test. Mark it for an installed plugin: pytest.mark.trio*"]
    )


def test_a_synchronous_test_gets_the_advice_to_use_the_server(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(dev_server): pass")
    result = _run(pytester, only=["trio"])
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["dev_server needs an async test; a synchronous test can use zk_server"])


def test_a_client_over_tcp_under_a_jumping_clock_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.trio\nasync def test_it(zk_client, autojump_clock): pass"
    )
    result = _run(pytester, only=["trio"])
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*autojump_clock would jump while zk_client waits for TCP: *dev_server*"])


def test_an_unknown_server_is_refused_at_once(pytester: pytest.Pytester) -> None:
    result = _run(pytester, "--zookeeper=apatche")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --zookeeper=apatche: expected 'dev', 'apache' or HOST:PORT (the port is missing)"]
    )


@pytest.mark.parametrize(("value", "why"), [("h:0x1", "port"), (":2181", "host"), ("h:1/a/", "/a/")])
def test_a_value_that_is_not_an_address_is_refused_with_the_reason(
    pytester: pytest.Pytester, value: str, why: str
) -> None:
    with pytest.raises(pytest.UsageError, match=rf"^--zookeeper={value}: expected .* HOST:PORT \(.*{why}"):
        pytester.parseconfigure(f"--zookeeper={value}")


def test_apache_is_refused_at_once_if_it_is_not_installed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOKEEPER_HOME", str(pytester.path))
    result = _run(pytester, "--zookeeper=apache")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --zookeeper=apache: *"])


SHARED = """
import anyio
import pytest
import zkrecipes as zk

@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.anyio
async def test_a_chroot_of_its_own(zk_client, time):
    assert await zk_client.get_children("/") == []
    await zk_client.create("/a/b/c", b"", make_parents=True)

def test_the_address(zk_server):
    host, port = zk_server.address
    assert zk_server.connect_string.startswith(f"{host}:{port}/")

def test_a_fault(zk_server):
    zk_server.faults.drop_request()

def test_another_fault(zk_server):
    zk_server.expire()

@pytest.mark.anyio
async def test_a_fault_in_a_task_group(zk_server, zk_client):
    async with anyio.create_task_group() as tasks:
        async def expire():
            zk_server.expire()
        tasks.start_soon(expire)

@pytest.mark.anyio
@pytest.mark.zk_faults
async def test_a_fault_of_a_helper(zk_server, zk_client):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(helper, zk_server)

async def helper(server):
    server.expire()

def test_what_no_server_has(zk_server):
    with pytest.raises(AttributeError, match="no attribute 'exprie'"):
        zk_server.exprie
"""


def test_on_a_shared_server_each_test_has_a_chroot_and_faults_are_skipped(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SHARED)
    with ThreadedDevServer() as server:
        result = _run(pytester, f"--zookeeper={server.connect_string}", "-rs", only=["anyio"])
        left = server.run(lambda: [path for path in _nodes(server.server) if "zkrecipes-test" in path])
    result.assert_outcomes(passed=6, skipped=6)
    result.stdout.fnmatch_lines(
        ["*zk_server.expire needs the dev server: run with --zookeeper=dev"], consecutive=False
    )
    assert left == []


@pytest.mark.apache
def test_a_real_server_is_started_for_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SHARED)
    result = _run(pytester, "--zookeeper=apache", only=["anyio"])
    result.assert_outcomes(passed=6, skipped=6)


def _nodes(server: DevServer) -> list[str]:
    root = server.processor.tree.get("/")
    return list(root.children or ())


def test_importing_the_plugin_loads_nothing_but_pytest() -> None:
    program = (
        "import json, sys, pytest; before = set(sys.modules); import zkrecipes.testing.pytest_plugin; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)
    assert set(json.loads(done.stdout)) == {
        "zkrecipes",
        "zkrecipes.testing",
        "zkrecipes.testing.pytest_plugin",
    }


ORDERS = """
import pytest
import zkrecipes as zk
from zkrecipes.devserver import DevServer
from zkrecipes.testing.fixture_values import seed_of

async def order(client):
    for name in "abcdefghijkl":
        await client.create(f"/{name}", b"")
    names = await client.get_children("/")
    assert sorted(names) != names
    return names

async def check(client, name):
    async with DevServer(seed=seed_of(name)) as server, zk.connect(server.connect_string) as other:
        assert await order(other) == await order(client)

@pytest.mark.trio
async def test_over_tcp(zk_client, request):
    await check(zk_client, request.node.nodeid)

@pytest.mark.asyncio
async def test_in_memory(zk_client, dev_server, request):
    await check(zk_client, request.node.nodeid)
"""


def test_the_order_of_children_depends_on_the_tests_name_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ORDERS)
    _run(pytester, only=["trio", "asyncio"]).assert_outcomes(passed=2)


WHAT_IS_LOADED = """
import sys

def test_it(request):
    assert request.config.pluginmanager.has_plugin("zkrecipes-asyncio")
    assert not {"zkrecipes.client", "zkrecipes.devserver", "zkrecipes.net"} & set(sys.modules)
"""


def test_a_run_that_uses_no_fixture_of_ours_loads_no_client_and_no_server(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(WHAT_IS_LOADED)
    _run(pytester, only=sorted(RUNNERS)).assert_outcomes(passed=1)


# It has the name and the marker, but none of the later options.
OLD_PYTEST_ASYNCIO = """
class Plugin:
    pass

def pytest_addoption(parser, pluginmanager):
    pluginmanager.register(Plugin(), "asyncio")

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: runs on asyncio")
"""


def test_an_old_pytest_asyncio_breaks_only_the_tests_that_need_a_newer_one(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    pytester.makepyfile(
        old_asyncio=OLD_PYTEST_ASYNCIO,
        test_plain=PLAIN,
        test_async="import pytest\n@pytest.mark.asyncio\nasync def test_it(zk_client): pass",
    )
    plugins = ("-p", "old_asyncio", "-p", "zkrecipes.testing.pytest_plugin")
    result = pytester.runpytest_subprocess(*plugins)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["zk_client needs pytest-asyncio 0.26 or later"])


def test_the_package_needs_no_pytest() -> None:
    """All of `zkrecipes.testing` except the plugin's own modules works without pytest."""
    program = (
        "import sys; sys.modules['pytest'] = None; import zkrecipes.testing as t; "
        "[getattr(t, name) for name in t.__all__]; import zkrecipes.devserver, zkrecipes.ensemble"
    )
    subprocess.run([sys.executable, "-I", "-c", program], check=True)

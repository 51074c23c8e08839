"""The server under test: the same tests run against the dev server and against Apache's."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.apache.served import Served, ServedByApache, dev_server_in_thread
from tests.apache.server_versions import run_or_see_refused


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "since(version, name): is refused by older servers, under this name")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    return (yield from run_or_see_refused(pyfuncitem))


@pytest.fixture(params=["dev", pytest.param("apache", marks=pytest.mark.apache)])
def server(request: pytest.FixtureRequest) -> Served:
    """A standalone server that all tests share: once the dev server, once Apache's."""
    if request.param == "apache":
        return ServedByApache(request.getfixturevalue("apache_server"))
    served: Served = request.getfixturevalue("_dev_server")
    return served


@pytest.fixture(scope="package")
def _dev_server() -> Iterator[Served]:
    with dev_server_in_thread() as served:
        yield served

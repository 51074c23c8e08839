"""The version of the server under test, and the refusal that a test expects of a server that is too old.

A test marked `since` runs on every server. On a server that is too old, the test must end in
`UnimplementedError`, which names the missing feature and the release that has it: a skip would not show that
refusal.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import zkrecipes as zk
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer
from zkrecipes.ensemble.four_letter import parse_srvr
from zkrecipes.enums import ServerVersion


def version_of(major: int, minor: int) -> ServerVersion:
    """Return the server version of a release."""
    known = [each for each in ServerVersion if each <= major * 100 + minor]
    return max(known, default=ServerVersion.V3_4)


def since(version: ServerVersion, name: str) -> pytest.MarkDecorator:
    """Mark a test of a feature that servers have from `version` on, and that errors call `name`."""
    return pytest.mark.since(version, name)


def version_of_server(server: ApacheServer) -> ServerVersion:
    """Ask a running server for its version, in a plain call that needs no event loop."""
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(b"srvr")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    status = parse_srvr(answer.decode())
    assert status is not None, f"the server answers {answer!r}"
    major, minor = map(int, status.version.split(".")[:2])
    return version_of(major, minor)


def run_or_see_refused(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test as a hook wrapper does; on a server that is too old, require that the test is refused."""
    marker = item.get_closest_marker("since")
    if marker is None or _version_for(item) >= marker.args[0]:
        return (yield)
    version, name = marker.args
    major, minor = divmod(version, 100)
    try:
        yield
    except BaseException as error:
        for each in _leaves(error):
            if not isinstance(each, zk.UnimplementedError):
                raise
            assert re.search(rf"{re.escape(name)} needs? ZooKeeper {major}\.{minor}\b", str(each)), str(each)
        return True
    pytest.fail(f"a server before {major}.{minor} does not have this feature, but the test was not refused")


def _version_for(item: pytest.Item) -> ServerVersion:
    arguments: dict[str, Any] = getattr(item, "funcargs", {})
    for server in arguments.values():
        found = getattr(server, "version", None)
        if isinstance(found, ServerVersion):
            return found
        if isinstance(server, ApacheServer):
            return version_of_server(server)
        if isinstance(server, ApacheEnsemble):
            return version_of_server(server.members[0])
    raise AssertionError(f"{item.nodeid} is marked `since`, but has no server")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error

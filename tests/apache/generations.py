"""What the server under test can do, and what must happen where it is too old.

A test marked `since` runs on every server. On one that is too old it must end in `UnimplementedError`, which
names what is missing and the release that has it: the refusal is shown, where a skip would show nothing.
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


def generation_of(major: int, minor: int) -> ServerVersion:
    """The generation of a release."""
    known = [each for each in ServerVersion if each <= major * 100 + minor]
    return max(known, default=ServerVersion.V3_4)


def since(generation: ServerVersion, name: str) -> pytest.MarkDecorator:
    """Mark a test of what servers have from `generation` on, and which errors call `name`."""
    return pytest.mark.since(generation, name)


def generation_of_server(server: ApacheServer) -> ServerVersion:
    """What a server that serves can do, by what it says of itself; a plain call, as it belongs to no loop."""
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(b"srvr")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    status = parse_srvr(answer.decode())
    assert status is not None, f"the server answers {answer!r}"
    major, minor = map(int, status.version.split(".")[:2])
    return generation_of(major, minor)


def run_or_see_refused(item: pytest.Item) -> Generator[None, object, object]:
    """The body of a hook wrapper around a test: on a server that is too old it must be refused."""
    marker = item.get_closest_marker("since")
    if marker is None or _generation_for(item) >= marker.args[0]:
        return (yield)
    generation, name = marker.args
    major, minor = divmod(generation, 100)
    try:
        yield
    except BaseException as error:
        for each in _leaves(error):
            if not isinstance(each, zk.UnimplementedError):
                raise
            assert re.search(rf"{re.escape(name)} needs? ZooKeeper {major}\.{minor}\b", str(each)), str(each)
        return True
    pytest.fail(f"a server before {major}.{minor} cannot do this, and yet nothing was refused")


def _generation_for(item: pytest.Item) -> ServerVersion:
    arguments: dict[str, Any] = getattr(item, "funcargs", {})
    for server in arguments.values():
        if hasattr(server, "generation"):
            found: ServerVersion = server.generation
            return found
        if isinstance(server, ApacheServer):
            return generation_of_server(server)
        if isinstance(server, ApacheEnsemble):
            return generation_of_server(server.members[0])
    raise AssertionError(f"{item.nodeid} is marked `since`, but has no server")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error

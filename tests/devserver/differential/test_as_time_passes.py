"""Automatic deletion of the ephemerals of a silent session, of used containers and of TTL znodes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.conftest import PROPERTIES, SETTINGS
from tests.devserver.differential.play import next_root
from tests.devserver.differential.steps import OPEN
from tests.devserver.differential.wire_session import Closed, Frame, WireSession, split_address
from zkrecipes.codec.messages import (
    AddWatchRequest,
    ChildrenReply,
    CloseSessionRequest,
    CreateContainerRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildrenRequest,
    SetDataRequest,
    StatReply,
    WatchEventMessage,
)
from zkrecipes.devserver import DevServer
from zkrecipes.ensemble import ApacheServer
from zkrecipes.enums import EventType
from zkrecipes.testing import ThreadedDevServer

pytestmark = pytest.mark.apache

MUST_GO = {(EventType.DELETED, path) for path in ("/silent", "/kept/silent", "/used", "/short")}
# Long enough to delete a znode that is set repeatedly, if sets did not count. A busy machine may take longer.
LONG_ENOUGH = 3.0
PATIENCE = 20.0


def test_both_servers_delete_znodes_automatically(apache_server: ApacheServer) -> None:
    dev_server = DevServer(
        tick_time=int(SETTINGS["tickTime"]) / 1000,
        container_check_interval=int(PROPERTIES["znode.container.checkIntervalMs"]) / 1000,
        extended_types=True,
    )
    with ThreadedDevServer(dev_server) as dev, ThreadPoolExecutor() as threads:
        hosts = (apache_server.connect_string, dev.connect_string)
        real, ours = threads.map(_observe_as_time_passes, hosts, [next_root()] * 2)
    assert ours == real
    assert ours["left"] == {"kept", "never-used", "persistent", "set"}


def _observe_as_time_passes(hosts: str, root: str) -> dict[str, object]:
    """The events that a watcher receives below `root`, and the znodes that remain there."""
    address = split_address(hosts)
    with closing(WireSession(address)) as session, closing(WireSession(address, timeout_ms=1)) as silent:
        _make_what_will_go(session, silent, root)
        events = _events(session.ask(DeleteRequest(f"{root}/used/child", -1)), root)
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < LONG_ENOUGH or (
            waited < PATIENCE and not events >= MUST_GO
        ):
            time.sleep(0.1)
            events |= _events(session.ask(SetDataRequest(f"{root}/set", b"", -1)), root)
        children, made = session.ask(GetChildrenRequest(root), ExistsRequest(root))
        session.ask(CloseSessionRequest())
    assert isinstance(children, Frame)
    assert isinstance(made, Frame)
    assert isinstance(children.body, ChildrenReply)
    assert isinstance(made.body, StatReply)
    left = set(children.body.children or ())
    return {"events": events, "left": left, "cversion": made.body.stat.cversion}


def _events(frames: list[Frame | Closed], root: str) -> set[tuple[int, str]]:
    """The type of each event, and its path below `root`."""
    bodies = [frame.body for frame in frames if isinstance(frame, Frame)]
    return {(each.type, each.path[len(root) :]) for each in bodies if isinstance(each, WatchEventMessage)}


def _make_what_will_go(session: WireSession, silent: WireSession, root: str) -> None:
    session.ask(
        CreateRequest(root, b"", OPEN, 0),
        CreateRequest(f"{root}/persistent", b"", OPEN, 0),
        CreateContainerRequest(f"{root}/never-used", b"", OPEN, 4),
        CreateContainerRequest(f"{root}/used", b"", OPEN, 4),
        CreateRequest(f"{root}/used/child", b"", OPEN, 0),
        CreateTTLRequest(f"{root}/short", b"", OPEN, 5, 300),
        CreateTTLRequest(f"{root}/kept", b"", OPEN, 5, 300),
        CreateRequest(f"{root}/kept/child", b"", OPEN, 0),
        CreateTTLRequest(f"{root}/set", b"", OPEN, 5, 2000),
        AddWatchRequest(root, 1),
    )
    silent.ask(*(CreateRequest(f"{root}/{parent}silent", b"", OPEN, 1) for parent in ("", "kept/")))

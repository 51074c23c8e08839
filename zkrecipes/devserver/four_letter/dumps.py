"""The answers to `dump`, `wchs`, `wchc` and `wchp`: lists of sessions, ephemeral znodes and watches."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping

from zkrecipes.devserver.connected_client import ConnectedClient
from zkrecipes.devserver.four_letter.status import ServerStatus
from zkrecipes.errors import session_hex
from zkrecipes.protocol.watch_table import WatchKind

__all__ = ["dump", "wchc", "wchp", "wchs"]

_DATA_WATCHES = (WatchKind.DATA, WatchKind.EXIST, WatchKind.PERSISTENT, WatchKind.RECURSIVE)


def dump(status: ServerStatus) -> str:
    """Answer `dump`: sessions, ephemeral znodes, and the connections that have a session."""
    sessions = status.processor.sessions
    by_end = _by_end(status, {session.id: session_hex(session.id) for session in sessions})
    connected = {
        session.id: f"ip: {connection.stats.peer} sessionId: {session_hex(session.id)}"
        for connection in status.connections
        if (session := connection.client.session) is not None
    }
    connected_by_end = _by_end(status, connected)
    ephemerals = status.processor.tree.all_ephemerals()
    return (
        f"SessionTracker dump:\nSession Sets ({len(by_end)})/({len(sessions)}):\n{_sets(by_end)}"
        f"ephemeral nodes dump:\nSessions with Ephemerals ({len(ephemerals)}):\n"
        + "".join(f"{session_hex(owner)}:\n" + _indented(paths) for owner, paths in ephemerals.items())
        + f"Connections dump:\nConnections Sets ({len(connected_by_end)})/({len(connected)}):\n"
        + _sets(connected_by_end)
    )


def _by_end(status: ServerStatus, lines: Mapping[int, str]) -> dict[str, list[str]]:
    """Group lines about sessions by the time at which the sessions expire."""
    sessions = status.processor.sessions
    by_end: dict[int, list[str]] = defaultdict(list)
    for session_id, line in lines.items():
        session = sessions.find(session_id)
        if session is not None:
            by_end[session.last_tick].append(line)
    return {_date(status, tick * sessions.tick_time): by_end[tick] for tick in sorted(by_end)}


def _date(status: ServerStatus, end: float) -> str:
    """Format a date as Java does."""
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(status.time + end - status.now))


def _sets(by_end: Mapping[str, list[str]]) -> str:
    return "".join(f"{len(lines)} expire at {end}:\n{_indented(lines)}" for end, lines in by_end.items())


def _indented(lines: Collection[str]) -> str:
    return "".join(f"\t{line}\n" for line in lines)


def wchs(status: ServerStatus) -> str:
    """Answer `wchs`: the number of watches."""
    watches = _data_watches(status)
    paths, clients = {path for path, _ in watches}, {client for _, client in watches}
    return f"{len(clients)} connections watching {len(paths)} paths\nTotal watches:{len(watches)}\n"


def wchc(status: ServerStatus) -> str:
    """Watches by session."""
    paths: dict[str, list[str]] = defaultdict(list)
    for path, client in _data_watches(status):
        paths[_session_hex(client)].append(path)
    return "".join(f"{session}\n{_indented(each)}" for session, each in paths.items()) + "\n"


def wchp(status: ServerStatus) -> str:
    """Watches by path."""
    sessions: dict[str, list[str]] = defaultdict(list)
    for path, client in _data_watches(status):
        sessions[path].append(_session_hex(client))
    return "".join(f"{path}\n{_indented(each)}" for path, each in sessions.items()) + "\n"


def _data_watches(status: ServerStatus) -> list[tuple[str, ConnectedClient]]:
    """Return the watches that a real server reports; it omits child watches (`DataTree.dumpWatches`)."""
    watches = ((path, client) for kind, path, client in status.processor.watches if kind in _DATA_WATCHES)
    return list(dict.fromkeys(watches))


def _session_hex(client: ConnectedClient) -> str:
    return session_hex(0 if client.session is None else client.session.id)

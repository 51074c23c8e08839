"""The four-letter words that list sessions, ephemeral znodes and watches: `dump`, `wchs`, `wchc`, `wchp`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping

from zkrecipes.devserver.connected_client import ConnectedClient
from zkrecipes.devserver.four_letter.status import Status
from zkrecipes.errors import session_hex
from zkrecipes.protocol.watch_table import WatchKind

__all__ = ["dump", "wchc", "wchp", "wchs"]

_DATA_WATCHES = (WatchKind.DATA, WatchKind.EXIST, WatchKind.PERSISTENT, WatchKind.RECURSIVE)


def dump(status: Status) -> str:
    """Sessions, ephemeral znodes, and the connections that have a session."""
    sessions = status.processor.sessions
    by_end = _by_end(status, {session.id: session_hex(session.id) for session in sessions})
    connected = {
        client.peer.session.id: f"ip: {client.traffic.peer} sessionId: {session_hex(client.peer.session.id)}"
        for client in status.clients
        if client.peer.session is not None
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


def _by_end(status: Status, lines: Mapping[int, str]) -> dict[str, list[str]]:
    """What is to be said of sessions, by when they expire."""
    sessions = status.processor.sessions
    by_end: dict[int, list[str]] = defaultdict(list)
    for session_id, line in lines.items():
        session = sessions.find(session_id)
        if session is not None:
            by_end[session.last_tick].append(line)
    return {_date(status, tick * sessions.tick_time): by_end[tick] for tick in sorted(by_end)}


def _date(status: Status, end: float) -> str:
    """As Java writes a date."""
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(status.time + end - status.now))


def _sets(by_end: Mapping[str, list[str]]) -> str:
    return "".join(f"{len(lines)} expire at {end}:\n{_indented(lines)}" for end, lines in by_end.items())


def _indented(lines: Collection[str]) -> str:
    return "".join(f"\t{line}\n" for line in lines)


def wchs(status: Status) -> str:
    """How many watches there are."""
    watches = _data_watches(status)
    paths, peers = {path for path, _ in watches}, {peer for _, peer in watches}
    return f"{len(peers)} connections watching {len(paths)} paths\nTotal watches:{len(watches)}\n"


def wchc(status: Status) -> str:
    """Watches by session."""
    paths: dict[str, list[str]] = defaultdict(list)
    for path, peer in _data_watches(status):
        paths[_session(peer)].append(path)
    return "".join(f"{session}\n{_indented(each)}" for session, each in paths.items()) + "\n"


def wchp(status: Status) -> str:
    """Watches by path."""
    sessions: dict[str, list[str]] = defaultdict(list)
    for path, peer in _data_watches(status):
        sessions[path].append(_session(peer))
    return "".join(f"{path}\n{_indented(each)}" for path, each in sessions.items()) + "\n"


def _data_watches(status: Status) -> list[tuple[str, ConnectedClient]]:
    """A real server tells of these only, and leaves the watches of children out (`DataTree.dumpWatches`)."""
    watches = ((path, peer) for kind, path, peer in status.processor.watches if kind in _DATA_WATCHES)
    return list(dict.fromkeys(watches))


def _session(peer: ConnectedClient) -> str:
    return session_hex(0 if peer.session is None else peer.session.id)

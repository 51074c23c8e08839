"""Answers to four-letter words, line by line as a real server gives them (`server/command/*.java`).

Tools parse these texts, so what stands where, and which lines end in a blank one, was taken from a real
server of version 3.8.0. What a Java process alone can tell is `<NA>`, which is Java's own word for that.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from zkrecipes.devserver.peer import Peer
from zkrecipes.devserver.processor import Processor
from zkrecipes.devserver.traffic import Traffic
from zkrecipes.enums import OpCode
from zkrecipes.protocol.watch_table import WatchKind

__all__ = ["VERSION", "WORDS", "Client", "Status", "answer"]

# Clients look for the number (kazoo: what a server can do; aiozk: whether there is create2).
VERSION = "3.9.5-zkrecipes, built on 2025-01-01 00:00 UTC"
"""What the server says it is: the version whose behaviour it has."""

_NOT_KNOWN = "<NA>"
_DATA_WATCHES = (WatchKind.DATA, WatchKind.EXIST, WatchKind.PERSISTENT, WatchKind.RECURSIVE)

# As `FinalRequestProcessor` names what it did last.
_SHORT_NAMES: Final[Mapping[int, str]] = {
    OpCode.ADD_WATCH: "ADDW",
    OpCode.CHECK: "CHEC",
    OpCode.CHECK_WATCHES: "CHKW",
    OpCode.CLOSE_SESSION: "CLOS",
    OpCode.CREATE: "CREA",
    OpCode.CREATE2: "CREA",
    OpCode.CREATE_CONTAINER: "CREA",
    OpCode.CREATE_SESSION: "SESS",
    OpCode.CREATE_TTL: "CREA",
    OpCode.DELETE: "DELE",
    OpCode.DELETE_CONTAINER: "DELE",
    OpCode.EXISTS: "EXIS",
    OpCode.GET_ACL: "GETA",
    OpCode.GET_ALL_CHILDREN_NUMBER: "GETACN",
    OpCode.GET_CHILDREN: "GETC",
    OpCode.GET_CHILDREN2: "GETC",
    OpCode.GET_DATA: "GETD",
    OpCode.GET_EPHEMERALS: "GETE",
    OpCode.MULTI: "MULT",
    OpCode.MULTI_READ: "MLTR",
    OpCode.PING: "PING",
    OpCode.RECONFIG: "RECO",
    OpCode.REMOVE_WATCHES: "REMW",
    OpCode.SET_ACL: "SETA",
    OpCode.SET_DATA: "SETD",
    OpCode.SET_WATCHES: "SETW",
    OpCode.SET_WATCHES2: "STW2",
    OpCode.SYNC: "SYNC",
    OpCode.WHO_AM_I: "HOMI",
}


@final
@dataclass(frozen=True)
class Client:
    """One connection."""

    peer: Peer
    traffic: Traffic


@final
@dataclass(frozen=True)
class Status:
    """What the words tell of a server, at the moment when it was asked."""

    processor: Processor
    clients: Sequence[Client]
    traffic: Traffic
    """Of the whole server."""
    now: float
    """By which sessions live, in seconds."""
    time: float
    """Seconds since 1970."""
    port: int
    data_dir: Path | None = None
    """None where everything is in memory."""
    data_size: int = 0
    """How many bytes its files have."""
    clients_max: int = 0
    """How many connections one address may have; 0 is any number."""
    refused: int = 0
    """How many connections were one too many."""
    cut_off: int = 0
    """How many ended before they said who they are."""


def answer(word: str, status: Status, allowed: Collection[str] | None = None) -> str:
    """The whole answer to a word.

    Args:
        word: four letters.
        status: the server's.
        allowed: the words that are answered (`4lw.commands.whitelist`), and `srvr`, which always is; None
            allows all.
    """
    command = WORDS.get(word)
    if command is None or not (allowed is None or word in allowed or word == "srvr"):
        return f"{word} is not executed because it is not in the whitelist.\n"
    return command(status)


def _srvr(status: Status) -> str:
    return f"Zookeeper version: {VERSION}\n{_figures(status)}"


def _stat(status: Status) -> str:
    clients = "".join(f"{_client(client)}\n" for client in status.clients)
    return f"Zookeeper version: {VERSION}\nClients:\n{clients}\n{_figures(status)}"


def _figures(status: Status) -> str:
    total = status.traffic
    latency = total.latency
    return (
        f"Latency min/avg/max: {latency.min_ms}/{round(latency.average_ms, 4)}/{latency.max_ms}\n"
        f"Received: {total.received}\n"
        f"Sent: {total.sent}\n"
        f"Connections: {len(status.clients)}\n"
        "Outstanding: 0\n"
        f"Zxid: 0x{status.processor.zxid:x}\n"
        "Mode: standalone\n"
        f"Node count: {len(status.processor.tree)}\n"
    )


def _cons(status: Status) -> str:
    return "".join(f"{_client(client, _details(client))}\n" for client in status.clients) + "\n"


def _client(client: Client, details: str = "") -> str:
    """One line; the number in brackets tells whether anything is awaited from it (1: reading)."""
    traffic = client.traffic
    reading = 0 if client.peer.session is None else 1
    return f" {traffic.peer}[{reading}](queued=0,recved={traffic.received},sent={traffic.sent}{details})"


def _details(client: Client) -> str:
    traffic, session = client.traffic, client.peer.session
    if session is None:
        return ""
    latency, timeout_ms = traffic.latency, round(session.timeout * 1000)
    last = "NA" if traffic.last_opcode is None else _SHORT_NAMES.get(traffic.last_opcode, "NA")
    xid = f",lcxid=0x{traffic.last_xid:x}" if traffic.last_xid >= 0 else ""
    return (
        f",sid=0x{session.id:x},lop={last},est={traffic.established_ms},to={timeout_ms}{xid}"
        f",lzxid=0x{traffic.last_zxid:x},lresp={traffic.last_response_ms}"
        f",llat={latency.last_ms},minlat={latency.min_ms},avglat={int(latency.average_ms)}"
        f",maxlat={latency.max_ms}"
    )


def _crst(status: Status) -> str:
    for client in status.clients:
        client.traffic.reset()
    return "Connection stats reset.\n"


def _srst(status: Status) -> str:
    status.traffic.reset()
    return "Server stats reset.\n"


def _dump(status: Status) -> str:
    sessions = status.processor.sessions
    by_end = _by_end(status, {session.id: f"0x{session.id:x}" for session in sessions})
    connected = {
        client.peer.session.id: f"ip: {client.traffic.peer} sessionId: 0x{client.peer.session.id:x}"
        for client in status.clients
        if client.peer.session is not None
    }
    connected_by_end = _by_end(status, connected)
    ephemerals = status.processor.tree.all_ephemerals()
    return (
        f"SessionTracker dump:\nSession Sets ({len(by_end)})/({len(sessions)}):\n{_sets(by_end)}"
        f"ephemeral nodes dump:\nSessions with Ephemerals ({len(ephemerals)}):\n"
        + "".join(f"0x{owner:x}:\n" + _indented(paths) for owner, paths in ephemerals.items())
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


def _wchs(status: Status) -> str:
    watches = _data_watches(status)
    paths, peers = {path for path, _ in watches}, {peer for _, peer in watches}
    return f"{len(peers)} connections watching {len(paths)} paths\nTotal watches:{len(watches)}\n"


def _wchc(status: Status) -> str:
    paths: dict[str, list[str]] = defaultdict(list)
    for path, peer in _data_watches(status):
        paths[_session(peer)].append(path)
    return "".join(f"{session}\n{_indented(each)}" for session, each in paths.items()) + "\n"


def _wchp(status: Status) -> str:
    sessions: dict[str, list[str]] = defaultdict(list)
    for path, peer in _data_watches(status):
        sessions[path].append(_session(peer))
    return "".join(f"{path}\n{_indented(each)}" for path, each in sessions.items()) + "\n"


def _data_watches(status: Status) -> list[tuple[str, Peer]]:
    """A real server tells of these only, and leaves the watches of children out (`DataTree.dumpWatches`)."""
    watches = ((path, peer) for kind, path, peer in status.processor.watches if kind in _DATA_WATCHES)
    return list(dict.fromkeys(watches))


def _session(peer: Peer) -> str:
    return f"0x{0 if peer.session is None else peer.session.id:x}"


def _conf(status: Status) -> str:
    sessions, size = status.processor.sessions, status.data_size
    directory = "" if status.data_dir is None else str(status.data_dir)
    values: dict[str, object] = {
        "clientPort": status.port,
        "secureClientPort": -1,
        "dataDir": directory,
        "dataDirSize": size,
        "dataLogDir": directory,
        "dataLogSize": size,
        "tickTime": round(sessions.tick_time * 1000),
        "maxClientCnxns": status.clients_max,
        "minSessionTimeout": round(sessions.timeout_min * 1000),
        "maxSessionTimeout": round(sessions.timeout_max * 1000),
        "clientPortListenBacklog": -1,
        "serverId": 0,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _dirs(status: Status) -> str:
    return f"datadir_size: {status.data_size}\nlogdir_size: {status.data_size}\n\n"


def _envi(_status: Status) -> str:
    java = ("version", "vendor", "home", "class.path", "library.path")
    values: dict[str, object] = {
        "zookeeper.version": VERSION,
        "host.name": socket.gethostname(),
        **{f"java.{key}": _NOT_KNOWN for key in java},
        "java.io.tmpdir": tempfile.gettempdir(),
        "java.compiler": _NOT_KNOWN,
        "os.name": platform.system(),
        "os.arch": platform.machine(),
        "os.version": platform.release(),
        "user.name": os.environ.get("USER", _NOT_KNOWN),
        "user.home": Path("~").expanduser(),
        "user.dir": Path.cwd(),
        **{f"os.memory.{key}": _NOT_KNOWN for key in ("free", "max", "total")},
        "python.version": platform.python_version(),
        "python.executable": sys.executable,
    }
    return "Environment:\n" + "".join(f"{key}={value}\n" for key, value in values.items())


def _mntr(status: Status) -> str:
    """What every kind of server tells of itself; what measures a Java server's inside is left out."""
    processor, total, latency = status.processor, status.traffic, status.traffic.latency
    values: dict[str, object] = {
        "version": VERSION,
        "server_state": "standalone",
        "ephemerals_count": sum(map(len, processor.tree.all_ephemerals().values())),
        "num_alive_connections": len(status.clients),
        "avg_latency": round(latency.average_ms, 4),
        "outstanding_requests": 0,
        "znode_count": len(processor.tree),
        "global_sessions": len(processor.sessions),
        "non_mtls_remote_conn_count": 0,
        "packets_sent": total.sent,
        "packets_received": total.received,
        "connection_drop_probability": 0.0,
        "watch_count": len(processor.watches),
        "min_latency": latency.min_ms,
        "approximate_data_size": processor.tree.approximate_size(),
        "local_sessions": 0,
        "uptime": round((status.time * 1000) - total.established_ms),
        "max_latency": latency.max_ms,
        "outstanding_tls_handshake": 0,
        "non_mtls_local_conn_count": 0,
        "connection_rejected": status.refused,
        "sessionless_connections_expired": status.cut_off,
        **_descriptors(),
    }
    return "".join(f"zk_{key}\t{value}\n" for key, value in values.items())


def _descriptors() -> dict[str, object]:
    """Where the system tells: a real server leaves them out on Windows, too."""
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        return {}
    return {
        "open_file_descriptor_count": len(list(opened.iterdir())),
        "max_file_descriptor_count": os.sysconf("SC_OPEN_MAX"),
    }


WORDS: Final[Mapping[str, Callable[[Status], str]]] = {
    "conf": _conf,
    "cons": _cons,
    "crst": _crst,
    "dirs": _dirs,
    "dump": _dump,
    "envi": _envi,
    "isro": lambda _: "rw",
    "mntr": _mntr,
    "ruok": lambda _: "imok",
    "srst": _srst,
    "srvr": _srvr,
    "stat": _stat,
    "wchc": _wchc,
    "wchp": _wchp,
    "wchs": _wchs,
}
"""What each word is answered with."""

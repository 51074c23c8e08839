"""The answers to four-letter words, line by line like a real server's (`server/command/*.java`).

Tools parse these texts, so the order of fields and the blank lines are those of a real server (3.8.0).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from zkrecipes.devserver.four_letter.dumps import dump, wchc, wchp, wchs
from zkrecipes.devserver.four_letter.environment import conf, descriptors, dirs, envi
from zkrecipes.devserver.four_letter.status import VERSION, ConnectionStatus, ServerStatus
from zkrecipes.enums import OpCode
from zkrecipes.errors import session_hex

__all__ = ["VERSION", "WORDS", "ConnectionStatus", "ServerStatus", "answer"]

# The names of the last operation in `FinalRequestProcessor`.
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


def answer(word: str, status: ServerStatus, allowed: Collection[str] | None = None) -> str:
    """Return the answer to a four-letter word.

    Args:
        word: the word.
        status: the status of the server.
        allowed: the allowed words (`4lw.commands.whitelist`), besides `srvr`, which is always allowed; None
            allows all.
    """
    command = WORDS.get(word)
    if command is None or not (allowed is None or word in allowed or word == "srvr"):
        return f"{word} is not executed because it is not in the whitelist.\n"
    return command(status)


def _srvr(status: ServerStatus) -> str:
    return f"Zookeeper version: {VERSION}\n{_figures(status)}"


def _stat(status: ServerStatus) -> str:
    clients = "".join(f"{_connection_line(connection)}\n" for connection in status.connections)
    return f"Zookeeper version: {VERSION}\nClients:\n{clients}\n{_figures(status)}"


def _figures(status: ServerStatus) -> str:
    total = status.stats
    latency = total.latency
    return (
        f"Latency min/avg/max: {latency.min_ms}/{round(latency.average_ms, 4)}/{latency.max_ms}\n"
        f"Received: {total.received}\n"
        f"Sent: {total.sent}\n"
        f"Connections: {len(status.connections)}\n"
        "Outstanding: 0\n"
        f"Zxid: 0x{status.processor.zxid:x}\n"
        f"Mode: {_mode(status)}\n"
        f"Node count: {len(status.processor.tree)}\n"
    )


def _mode(status: ServerStatus) -> str:
    return "read-only" if status.processor.is_read_only else "standalone"


def _cons(status: ServerStatus) -> str:
    lines = (_connection_line(connection, _details(connection)) for connection in status.connections)
    return "".join(f"{line}\n" for line in lines) + "\n"


def _connection_line(connection: ConnectionStatus, details: str = "") -> str:
    """Return the line about a connection. The number in brackets is 1 if the server reads from it."""
    stats = connection.stats
    reading = 0 if connection.client.session is None else 1
    return f" {stats.peer}[{reading}](queued=0,recved={stats.received},sent={stats.sent}{details})"


def _details(connection: ConnectionStatus) -> str:
    stats, session = connection.stats, connection.client.session
    if session is None:
        return ""
    latency, timeout_ms = stats.latency, round(session.timeout * 1000)
    last = "NA" if stats.last_opcode is None else _SHORT_NAMES.get(stats.last_opcode, "NA")
    xid = f",lcxid=0x{stats.last_xid:x}" if stats.last_xid >= 0 else ""
    return (
        f",sid={session_hex(session.id)},lop={last},est={stats.established_ms},to={timeout_ms}{xid}"
        f",lzxid=0x{stats.last_zxid:x},lresp={stats.last_response_ms}"
        f",llat={latency.last_ms},minlat={latency.min_ms},avglat={int(latency.average_ms)}"
        f",maxlat={latency.max_ms}"
    )


def _crst(status: ServerStatus) -> str:
    for connection in status.connections:
        connection.stats.reset()
    return "Connection stats reset.\n"


def _srst(status: ServerStatus) -> str:
    status.stats.reset()
    return "Server stats reset.\n"


def _mntr(status: ServerStatus) -> str:
    """Return the metrics that any server has, without those of the internals of a Java server."""
    processor, total, latency = status.processor, status.stats, status.stats.latency
    values: dict[str, object] = {
        "version": VERSION,
        "server_state": _mode(status),
        "ephemerals_count": sum(map(len, processor.tree.all_ephemerals().values())),
        "num_alive_connections": len(status.connections),
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
        "connection_rejected": status.rejected_count,
        "sessionless_connections_expired": status.sessionless_count,
        **descriptors(),
    }
    return "".join(f"zk_{key}\t{value}\n" for key, value in values.items())


WORDS: Final[Mapping[str, Callable[[ServerStatus], str]]] = {
    "conf": conf,
    "cons": _cons,
    "crst": _crst,
    "dirs": dirs,
    "dump": dump,
    "envi": envi,
    "isro": lambda status: "ro" if status.processor.is_read_only else "rw",
    "mntr": _mntr,
    "ruok": lambda _: "imok",
    "srst": _srst,
    "srvr": _srvr,
    "stat": _stat,
    "wchc": wchc,
    "wchp": wchp,
    "wchs": wchs,
}
"""The function that answers each word."""

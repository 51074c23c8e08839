"""Answers to four-letter words, line by line as a real server gives them (`server/command/*.java`).

Tools parse these texts, so what stands where, and which lines end in a blank one, was taken from a real
server of version 3.8.0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from zkrecipes.devserver.four_letter.dumps import dump, wchc, wchp, wchs
from zkrecipes.devserver.four_letter.environment import conf, descriptors, dirs, envi
from zkrecipes.devserver.four_letter.status import VERSION, ConnectionStatus, Status
from zkrecipes.enums import OpCode
from zkrecipes.errors import session_hex

__all__ = ["VERSION", "WORDS", "ConnectionStatus", "Status", "answer"]

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
        f"Mode: {_mode(status)}\n"
        f"Node count: {len(status.processor.tree)}\n"
    )


def _mode(status: Status) -> str:
    return "read-only" if status.processor.is_read_only else "standalone"


def _cons(status: Status) -> str:
    return "".join(f"{_client(client, _details(client))}\n" for client in status.clients) + "\n"


def _client(client: ConnectionStatus, details: str = "") -> str:
    """One line; the number in brackets tells whether anything is awaited from it (1: reading)."""
    traffic = client.traffic
    reading = 0 if client.peer.session is None else 1
    return f" {traffic.peer}[{reading}](queued=0,recved={traffic.received},sent={traffic.sent}{details})"


def _details(client: ConnectionStatus) -> str:
    traffic, session = client.traffic, client.peer.session
    if session is None:
        return ""
    latency, timeout_ms = traffic.latency, round(session.timeout * 1000)
    last = "NA" if traffic.last_opcode is None else _SHORT_NAMES.get(traffic.last_opcode, "NA")
    xid = f",lcxid=0x{traffic.last_xid:x}" if traffic.last_xid >= 0 else ""
    return (
        f",sid={session_hex(session.id)},lop={last},est={traffic.established_ms},to={timeout_ms}{xid}"
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


def _mntr(status: Status) -> str:
    """What every kind of server tells of itself; what measures a Java server's inside is left out."""
    processor, total, latency = status.processor, status.traffic, status.traffic.latency
    values: dict[str, object] = {
        "version": VERSION,
        "server_state": _mode(status),
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
        **descriptors(),
    }
    return "".join(f"zk_{key}\t{value}\n" for key, value in values.items())


WORDS: Final[Mapping[str, Callable[[Status], str]]] = {
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
"""What each word is answered with."""

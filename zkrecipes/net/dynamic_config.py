"""Reads the client addresses of an ensemble's members from its dynamic configuration.

A line of it is `server.N=host:quorum port:election port[:role][;[client address:]client port]` (ZooKeeper
administrator's guide, "Dynamic reconfiguration"; `QuorumPeer.QuorumServer` in 3.8 writes it). The last part
is missing if the member's own static file names its client port.
"""

from __future__ import annotations

import re
from typing import Final

from zkrecipes.net.connect_string import Host

__all__ = ["parse_dynamic_config"]

_SERVER: Final = re.compile(r"server\.\d+=(?P<host>\[[^]]+\]|[^:;]+):\d+:\d+[^;]*;(?P<client>\S+)")
_ANY_ADDRESS: Final = {"0.0.0.0", "::", "0:0:0:0:0:0:0:0"}  # noqa: S104 - read, not bound


def parse_dynamic_config(config: bytes | None) -> tuple[Host, ...]:
    """Return the hosts and ports for clients; skip members without a client port, and all other lines.

    Args:
        config: the data of `/zookeeper/config`.
    """
    lines = (config or b"").decode(errors="replace").splitlines()
    found = (_host_in(line.strip()) for line in lines)
    return tuple(dict.fromkeys(host for host in found if host is not None))


def _host_in(line: str) -> Host | None:
    server = _SERVER.fullmatch(line)
    if server is None:
        return None
    address, _, port = server["client"].rpartition(":")
    name = address.strip("[]")
    if not name or name in _ANY_ADDRESS:
        name = server["host"].strip(
            "[]"
        )  # it listens on all addresses, including the one that the other members use
    if not port.isdecimal() or not 0 < int(port) < 65536:
        return None
    return Host(name, int(port))

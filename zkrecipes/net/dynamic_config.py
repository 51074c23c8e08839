"""Where clients find the members of an ensemble, read from its dynamic configuration.

A line of it is `server.N=host:quorum port:election port[:role][;[client address:]client port]` (ZooKeeper
administrator's guide, "Dynamic reconfiguration"; `QuorumPeer.QuorumServer` in 3.8 writes it). The last part
is missing where the member's own static file names its client port.
"""

from __future__ import annotations

import re
from typing import Final

from zkrecipes.net.hosts import Host

__all__ = ["hosts_in"]

_SERVER: Final = re.compile(r"server\.\d+=(?P<host>\[[^]]+\]|[^:;]+):\d+:\d+[^;]*;(?P<client>\S+)")
_ANY_ADDRESS: Final = {"0.0.0.0", "::", "0:0:0:0:0:0:0:0"}  # noqa: S104 - read, not bound


def hosts_in(config: bytes | None) -> tuple[Host, ...]:
    """The hosts and ports for clients; a member that names no port for them is left out, as is all else.

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
        name = server["host"].strip("[]")  # it listens everywhere, so where the other members find it, too
    if not port.isdecimal() or not 0 < int(port) < 65536:
        return None
    return Host(name, int(port))

"""Free ports on loopback that stay free while a server is stopped and started again."""

from __future__ import annotations

import errno
import socket
from random import SystemRandom

__all__ = ["free_ports"]

# Below the range from which Linux takes the ports of outgoing connections (32768 on). A port in that range,
# such as one from binding to port 0, can be taken by any client between two starts of a server.
_RANGE = range(20_000, 32_000)
_HOST = "127.0.0.1"

_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens; each port is returned only once in this process.

    Raises:
        OSError: the range has too few free ports.
    """
    candidates = SystemRandom().sample(_RANGE, len(_RANGE))
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            break
        if port not in _given and _is_free(port):
            _given.add(port)
            ports.append(port)
    if len(ports) < count:
        raise OSError(
            errno.EADDRINUSE,
            f"{count} free ports needed, {len(ports)} found in {_RANGE.start}-{_RANGE.stop - 1}",
        )
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the JVM does, treat a port whose last connections are in TIME_WAIT as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True

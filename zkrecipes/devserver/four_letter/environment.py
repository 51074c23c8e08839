"""The answers to the four-letter words about settings and environment: `conf`, `dirs`, `envi`.

Values that only a Java process has are `<NA>`, as Java writes for a missing value.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
from pathlib import Path

from zkrecipes.devserver.four_letter.status import VERSION, ServerStatus

__all__ = ["conf", "descriptors", "dirs", "envi"]

_NOT_KNOWN = "<NA>"


def conf(status: ServerStatus) -> str:
    """Answer `conf`: the settings."""
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
        "maxClientCnxns": status.connections_per_address_max,
        "minSessionTimeout": round(sessions.timeout_min * 1000),
        "maxSessionTimeout": round(sessions.timeout_max * 1000),
        "clientPortListenBacklog": -1,
        "serverId": 0,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def dirs(status: ServerStatus) -> str:
    """Answer `dirs`: the size of the data directory."""
    return f"datadir_size: {status.data_size}\nlogdir_size: {status.data_size}\n\n"


def envi(_status: ServerStatus) -> str:
    """Answer `envi`: the system and this Python."""
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


def descriptors() -> dict[str, object]:
    """Return the counts of file descriptors, if the system reports them (real servers: not on Windows)."""
    open_descriptors = Path("/proc/self/fd")
    if not open_descriptors.is_dir():
        return {}
    return {
        "open_file_descriptor_count": len(list(open_descriptors.iterdir())),
        "max_file_descriptor_count": os.sysconf("SC_OPEN_MAX"),
    }

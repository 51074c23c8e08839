"""The four-letter words that tell how and where a server runs: `conf`, `dirs`, `envi`.

What a Java process alone can tell is `<NA>`, which is Java's own word for that.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
from pathlib import Path

from zkrecipes.devserver.four_letter.status import VERSION, Status

__all__ = ["conf", "descriptors", "dirs", "envi"]

_NOT_KNOWN = "<NA>"


def conf(status: Status) -> str:
    """The settings."""
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


def dirs(status: Status) -> str:
    """How large the data directory is."""
    return f"datadir_size: {status.data_size}\nlogdir_size: {status.data_size}\n\n"


def envi(_status: Status) -> str:
    """The system and this Python."""
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
    """Where the system tells: a real server leaves them out on Windows, too."""
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        return {}
    return {
        "open_file_descriptor_count": len(list(opened.iterdir())),
        "max_file_descriptor_count": os.sysconf("SC_OPEN_MAX"),
    }

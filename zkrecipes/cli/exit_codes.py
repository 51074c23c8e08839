"""The exit codes of the commands and their meanings. A code keeps its meaning from release to release."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, final

__all__ = ["MEANINGS", "ExitCode"]


@final
class ExitCode(IntEnum):
    """The exit code of a command."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    NO_SERVER = 3
    CANNOT_LISTEN = 4
    EXTRA_MISSING = 5
    REFUSED = 6
    BAD_CONFIG = 7
    BAD_DATA = 8
    BUG = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130  # from here on 128 plus the signal's number, as in shells
    READER_GONE = 141
    TERMINATED = 143


MEANINGS: Final = {
    ExitCode.OK: "success",
    ExitCode.CHECK_FAILED: "a check failed, or the server is not in the requested state",
    ExitCode.USAGE: "wrong arguments",
    ExitCode.NO_SERVER: "no server gave a session in time, the session was lost, or no server is installed",
    ExitCode.CANNOT_LISTEN: "the server cannot listen on the address: its port is in use, for example",
    ExitCode.EXTRA_MISSING: 'the extra is missing: pip install "zkrecipes[cli]"',
    ExitCode.REFUSED: "a server refused a request of the command",
    ExitCode.BAD_CONFIG: "a configuration file cannot be read, or has a bad value",
    ExitCode.BAD_DATA: "a data directory cannot be used: damaged, or used by another server, for example",
    ExitCode.BUG: "a bug in zkrecipes; --debug shows the traceback",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.READER_GONE: "the process that reads the output has ended",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}
"""The meaning of each code, as `--help` states it."""

"""With which code a command ends, and what each means. A code keeps its meaning from release to release."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, final

__all__ = ["MEANINGS", "ExitCode"]


@final
class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    CLAIM_FAILED = 1
    USAGE = 2
    NO_SERVER = 3
    CANNOT_LISTEN = 4
    EXTRA_MISSING = 5
    REFUSED = 6
    BAD_CONFIG = 7
    BAD_DATA = 8
    BUG = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130  # from here on 128 and the signal's number, as shells have it
    READER_GONE = 141
    TERMINATED = 143


MEANINGS: Final = {
    ExitCode.OK: "all went well",
    ExitCode.CLAIM_FAILED: "a claim that the command checks does not hold",
    ExitCode.USAGE: "wrong arguments",
    ExitCode.NO_SERVER: "no ZooKeeper server gave a session in time, or the session was lost",
    ExitCode.CANNOT_LISTEN: "the address cannot be listened on: its port is in use, for example",
    ExitCode.EXTRA_MISSING: 'the extra is missing: pip install "zkrecipes[cli]"',
    ExitCode.REFUSED: "a server refused what the command asked of it",
    ExitCode.BAD_CONFIG: "a configuration file cannot be read, or has a bad value",
    ExitCode.BAD_DATA: "a data directory cannot be used: in use by another server, or damaged, for example",
    ExitCode.BUG: "a fault of zkrecipes; --debug shows where",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.READER_GONE: "whoever read the output has gone",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}
"""What each code means, in the words of `--help`."""

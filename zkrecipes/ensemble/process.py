"""One server process: launched, signalled, reaped, and dead when this program is dead, however it died.

A program that is killed runs no clean-up, and a Java server does not notice that its parent is gone. So
beside the server runs a small shell that reads from a pipe whose other end only this program holds: when the
pipe ends, it kills the server and removes its temporary folder. It is told the server's pid while the server
lives, and told to forget it when the server has been reaped, because the system may then give the number to
somebody else.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import final

__all__ = ["ServerProcess"]

# $1 is a folder to remove, or empty. A line is a pid to kill at the end, or empty to forget it, or `done`.
_WATCHDOG = """
pid=
while read -r line; do
    if [ "$line" = done ]; then exit; fi
    pid=$line
done
if [ -n "$pid" ]; then kill -KILL "$pid"; fi
if [ -n "$1" ]; then rm -rf -- "$1"; fi
"""
# After SIGKILL the kernel needs no second; longer means that it hangs in the kernel.
_REAP_LIMIT = 10.0


@final
class ServerProcess:
    """A process that can be started again, and its watchdog. No method waits, except for the kernel."""

    def __init__(self, command: Sequence[str], *, directory: Path, log: Path, is_temporary: bool) -> None:
        self._command = list(command)
        self._directory = directory
        self._log = log
        self._is_temporary = is_temporary
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._watched_pid: int | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it is not running."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process exists (also while it is stopped by SIGSTOP). Reaps it if it has ended."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        if self._watched_pid is not None and self._watchdog is not None:
            self._watched_pid = None
            _tell(self._watchdog, "")
        return False

    @property
    def exit_status(self) -> int | None:
        """The status that the last process ended with (negative: the signal), or None."""
        return None if self._process is None else self._process.poll()

    def launch(self) -> None:
        """Start the process; its output is added to the log.

        Raises:
            RuntimeError: it runs already.
            OSError: the program cannot be executed.
        """
        if self.is_running:
            raise RuntimeError("the server is running already")
        watchdog = self._running_watchdog()
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for us, who then end the server.
            self._process = subprocess.Popen(  # noqa: S603 - the command is the installation's Java
                self._command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watched_pid = self._process.pid
        _tell(watchdog, str(self._watched_pid))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process with SIGKILL, which works on a stopped one too, and reap it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_REAP_LIMIT)
            assert not self.is_running

    def close(self) -> None:
        """Kill what still runs, and let the watchdog go. The folder stays."""
        self.kill()
        if self._watchdog is not None:
            _tell(self._watchdog, "done")
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.close()
            self._watchdog.wait(_REAP_LIMIT)
            self._watchdog = None

    def _running_watchdog(self) -> subprocess.Popen[bytes]:
        if self._watchdog is None:
            folder = str(self._directory) if self._is_temporary else ""
            # Python closes its end of the pipe in every other child, so only our own death ends it.
            self._watchdog = subprocess.Popen(  # noqa: S603 - a fixed script; the folder is its argument
                ["/bin/sh", "-c", _WATCHDOG, "watchdog", folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,
            )
        return self._watchdog


def _tell(watchdog: subprocess.Popen[bytes], line: str) -> None:
    assert watchdog.stdin is not None
    # A watchdog that somebody ended is missed only if we are killed too.
    with contextlib.suppress(BrokenPipeError):
        watchdog.stdin.write(line.encode() + b"\n")

"""One server process, which never outlives this program, even if this program is killed.

A killed program runs no clean-up, and a Java server does not notice that its parent has died. So a watchdog,
a small shell beside the server, reads from a pipe whose other end only this program holds. When the pipe
ends, the watchdog kills the server and removes its temporary folder. This program sends it the server's pid
while the server lives, and an empty line once the server has been reaped, because the system may then give
the pid to another process.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import final

__all__ = ["ServerProcess"]

# $1 is the folder to remove, or empty. A line is a pid to kill at the end, empty to forget the pid, or
# `done`.
_WATCHDOG = """
pid=
while read -r line; do
    if [ "$line" = done ]; then exit; fi
    pid=$line
done
if [ -n "$pid" ]; then kill -KILL "$pid"; fi
if [ -n "$1" ]; then rm -rf -- "$1"; fi
"""
# After SIGKILL the kernel needs less than a second; a longer wait means that the process hangs in the kernel.
_REAP_LIMIT = 10.0


@final
class ServerProcess:
    """A restartable process and its watchdog. The methods wait for nothing but the kernel."""

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
        """Whether the process exists, even if SIGSTOP has stopped it. If it has ended, this reaps it."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        if self._watched_pid is not None and self._watchdog is not None:
            self._watched_pid = None
            _send_line(self._watchdog, "")
        return False

    @property
    def exit_status(self) -> int | None:
        """The exit status of the last process (negative for a signal), or None."""
        return None if self._process is None else self._process.poll()

    def launch(self) -> None:
        """Start the process and append its output to the log.

        Raises:
            RuntimeError: the process runs already.
            OSError: the program cannot be executed.
        """
        if self.is_running:
            raise RuntimeError("the server is running already")
        watchdog = self._running_watchdog()
        with self._log.open("ab") as log:
            # In a new session, so that Ctrl-C in the terminal reaches only this program, which ends the
            # server.
            self._process = subprocess.Popen(  # noqa: S603 - the command is the installation's Java
                self._command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watched_pid = self._process.pid
        _send_line(watchdog, str(self._watched_pid))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal. Do nothing if the process has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process with SIGKILL, which also works on a stopped process, and reap it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_REAP_LIMIT)
            assert not self.is_running

    def close(self) -> None:
        """Kill the process if it runs, and end the watchdog. The folder stays."""
        self.kill()
        if self._watchdog is not None:
            _send_line(self._watchdog, "done")
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.close()
            self._watchdog.wait(_REAP_LIMIT)
            self._watchdog = None

    def _running_watchdog(self) -> subprocess.Popen[bytes]:
        if self._watchdog is None:
            folder = str(self._directory) if self._is_temporary else ""
            # Python closes its end of the pipe in every other child, so only the death of this program ends
            # it.
            self._watchdog = subprocess.Popen(  # noqa: S603 - a fixed script; the folder is its argument
                ["/bin/sh", "-c", _WATCHDOG, "watchdog", folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,
            )
        return self._watchdog


def _send_line(watchdog: subprocess.Popen[bytes], line: str) -> None:
    assert watchdog.stdin is not None
    # The watchdog may have been killed; it matters only if this program is also killed.
    with contextlib.suppress(BrokenPipeError):
        watchdog.stdin.write(line.encode() + b"\n")

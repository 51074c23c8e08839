"""Looks names up in daemon threads, one per name.

A resolver may hang for minutes, and nothing cancels it. In a pool of the program's (asyncio's default
executor, trio's worker threads) a few hanging look-ups would leave no thread for other work, and the end of
the program would wait for them. A daemon thread keeps nothing alive. A caller that asks for a name that is
being looked up joins that look-up, from any loop of the process, so there is one thread per name.
"""

from __future__ import annotations

import copy
import errno
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, final

import anyio

from zkrecipes.net.wakeup import callable_from_threads

__all__ = ["look_up"]


async def look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    """Return the socket addresses of a name, as `socket.getaddrinfo` does; they are not cached.

    Only the caller limits the time.

    Raises:
        OSError: the name does not resolve, or no thread can be started.
        UnicodeError: the name is not a host name.

    Cancellation: the look-up continues, and a later call joins it.
    """
    done = anyio.Event()
    wake = callable_from_threads(done.set)
    lookup = _running.join(host, port, wake)
    try:
        await done.wait()
    finally:
        lookup.leave(wake)
    return lookup.result()


@final
class _Lookup:
    """One look-up, and the callers that wait for it."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._port = port
        self._waiters: list[Callable[[], None]] = []
        self._found: list[tuple[Any, ...]] = []
        self._error: Exception | None = None

    def run(self) -> None:
        """Look the name up. The look-up's thread runs this."""
        try:
            found = socket.getaddrinfo(self.host, self._port, type=socket.SOCK_STREAM)
            self._found = [sockaddr for *_, sockaddr in found]
        except Exception as error:  # noqa: BLE001 - raised in the callers
            self._error = error
        _running.ended(self)
        for wake in tuple(self._waiters):
            wake()

    def join(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the look-up has ended."""
        self._waiters.append(wake)

    def leave(self, wake: Callable[[], None]) -> None:
        """Undo `join`: `wake` will not be called."""
        self._waiters.remove(wake)

    def result(self) -> list[tuple[Any, ...]]:
        """Return the addresses that were found."""
        if self._error is not None:
            raise copy.copy(self._error)  # each caller has its own traceback
        return self._found


@final
class _RunningLookups:
    """The look-ups of the process that have not ended, by name."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew in a forked child, because the threads have stayed with the parent."""
        self._lock = threading.Lock()
        self._lookups: dict[str, _Lookup] = {}

    def join(self, host: str, port: int, wake: Callable[[], None]) -> _Lookup:
        """Join the look-up of a name, or start one."""
        with self._lock:
            lookup = self._lookups.get(host)
            if lookup is not None:
                lookup.join(wake)
                return lookup
            lookup = _Lookup(host, port)
            lookup.join(wake)
            thread = threading.Thread(target=lookup.run, name=f"zkrecipes resolving {host}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, f"no thread for looking up {host!r}: {error}") from error
            self._lookups[host] = lookup
            return lookup

    def ended(self, lookup: _Lookup) -> None:
        """Let the next caller start another look-up; the callers that have joined are woken after this."""
        with self._lock:
            del self._lookups[lookup.host]


_running: Final = _RunningLookups()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.forget)

"""The instrumentation hook of a client, for tracing and metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, final

from zkrecipes.codec.messages import Request
from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.pending import PendingRequest
from zkrecipes.net.session_changes import SessionChange
from zkrecipes.net.session_engine import SessionEngine

__all__ = ["Instrument", "ObservedRequest", "Observer"]

logger: logging.Logger = logging.getLogger("zkrecipes.client")


@final
class ObservedRequest:
    """One request, from the call until the caller has the answer or has stopped waiting.

    It contains neither data nor credentials.

    Attributes:
        operation: the server's name of the operation: `get_data`, `create`, `multi`, …
        path: the full path of the znode on the server; None for a request without a path.
        started_at: the time of the call, on `anyio.current_time()`'s clock.
        latency: seconds from the call to the answer, including time without a connection; 0 while the
            request is in flight.
        error: the error that the caller gets, or None.
        is_cancelled: whether the caller stopped waiting. Whether the server executes the request is unknown.
        request_size: bytes sent; 0 if nothing was sent.
        reply_size: bytes received, without the header of 16 bytes.
        outstanding: the number of requests of this client in flight at the start, including this one.
        tag: for the instrument's use, to keep a value from start to finish.
    """

    __slots__ = (
        "error",
        "is_cancelled",
        "latency",
        "operation",
        "outstanding",
        "path",
        "reply_size",
        "request_size",
        "started_at",
        "tag",
    )

    def __init__(self, request: Request[Any], started_at: float, outstanding: int) -> None:
        self.operation = request.opcode.name.lower()
        self.path: str | None = request.path
        self.started_at: float = started_at
        self.outstanding: int = outstanding
        self.latency: float = 0.0
        self.error: ZooKeeperError | None = None
        self.is_cancelled: bool = False
        self.request_size: int = 0
        self.reply_size: int = 0
        self.tag: Any = None

    def __repr__(self) -> str:
        return f"<ObservedRequest {self.operation} {self.path} {self.latency * 1000:.3f} ms>"


class Instrument:
    """A receiver of a client's events. Inherit from it and override the methods that you need.

        class SlowRequests(zk.Instrument):
            def request_finished(self, request: zk.ObservedRequest) -> None:
                if request.latency > 0.1:
                    print(request.operation, request.path, request.latency)

        async with zk.connect(hosts, instrument=SlowRequests()) as client: ...

    The client calls the methods in the order of the events; they must not wait. The client logs an error that
    a method raises, and continues.
    """

    def request_started(self, request: ObservedRequest) -> None:
        """Handle the start of a request. This method runs in the caller's task, and so in its context."""

    def request_finished(self, request: ObservedRequest) -> None:
        """Handle the end of a request: an answer, or the end of the wait. Each start has exactly one end."""

    def session_changed(self, change: SessionChange) -> None:
        """Handle a change of the session's state.

        A repeated `CONNECTED` is a reconnect or, with another id, a new session after an expired one.
        """


@final
class Observer:
    """The link to an instrument, which it notifies of a client's requests and of its session."""

    def __init__(self, instrument: Instrument, engine: SessionEngine) -> None:
        self._instrument = instrument
        self._engine = engine
        self._now = engine.parking.current_time
        engine.changes.observer = self.changed

    def submitted(self, pending: PendingRequest[Any]) -> None:
        """Notify the instrument of a request that is about to be submitted."""
        request = ObservedRequest(pending.request, self._now(), self._engine.outstanding + 1)
        pending.on_done = lambda: self._finished(request, pending)
        self._notify(self._instrument.request_started, request)

    def changed(self, change: SessionChange) -> None:
        """Notify the instrument of a change of the session's state."""
        self._notify(self._instrument.session_changed, change)

    def _finished(self, request: ObservedRequest, pending: PendingRequest[Any]) -> None:
        request.latency = self._now() - request.started_at
        request.error = _error_of(pending)
        request.is_cancelled = not pending.is_done
        request.request_size = pending.request_size
        request.reply_size = pending.reply_size
        self._notify(self._instrument.request_finished, request)

    def _notify(self, method: Callable[[Any], None], event: ObservedRequest | SessionChange) -> None:
        try:
            method(event)
        except Exception:
            logger.exception("the instrument %r raised an error (continuing)", self._instrument)


def _error_of(pending: PendingRequest[Any]) -> ZooKeeperError | None:
    if pending.error is None:
        return None
    try:
        pending.result()  # for some calls, an error is a result: NoNodeError for `exists`
    except ZooKeeperError as error:
        return error
    return None

"""What a client tells of itself while it works: a hook for tracing and metrics."""

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
    """One request, from the call until its caller has the answer, or has stopped waiting for it.

    Data and credentials are not in it.

    Attributes:
        operation: what is asked, as the server's operations are called: `get_data`, `create`, `multi`, …
        path: of the znode, in full as on the server; None where a request has none.
        started_at: when the call was made, on `anyio.current_time()`'s clock.
        latency: seconds from there to the answer, a time without a connection included; 0 while it is
            under way.
        error: what the caller gets in place of a result, or None.
        is_cancelled: the caller has stopped waiting; whether the server has done it, or will, is unknown.
        request_size: bytes sent, 0 where nothing was.
        reply_size: bytes received, without the 16 of the header.
        outstanding: how many requests of this client were under way when it began, this one included.
        tag: the instrument's own, to keep something from start to finish.
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
    """What is told of a client; inherit and override what is of interest.

        class SlowRequests(zk.Instrument):
            def request_finished(self, request: zk.ObservedRequest) -> None:
                if request.latency > 0.1:
                    print(request.operation, request.path, request.latency)

        async with zk.connect(hosts, instrument=SlowRequests()) as client: ...

    The calls come from within the client, in the order in which things happen, and must not wait. What one
    raises is logged, and harms nobody.
    """

    def request_started(self, request: ObservedRequest) -> None:
        """A request was made. This one call runs in the caller's task, and so in its context."""

    def request_finished(self, request: ObservedRequest) -> None:
        """It has its answer, or nobody waits for it any longer. It comes once for each that was started."""

    def session_changed(self, change: SessionChange) -> None:
        """The session has come to another state.

        `CONNECTED` once more is a reconnect, or with another id a new session in place of an expired one.
        """


@final
class Observer:
    """Tells an instrument of a client's requests and of its session."""

    def __init__(self, instrument: Instrument, engine: SessionEngine) -> None:
        self._instrument = instrument
        self._engine = engine
        self._now = engine.parking.current_time
        engine.changes.observer = self.changed

    def submitted(self, pending: PendingRequest[Any]) -> None:
        """A request is about to be submitted."""
        request = ObservedRequest(pending.request, self._now(), self._engine.outstanding + 1)
        pending.on_done = lambda: self._finished(request, pending)
        self._tell(self._instrument.request_started, request)

    def changed(self, change: SessionChange) -> None:
        """The session has come to another state."""
        self._tell(self._instrument.session_changed, change)

    def _finished(self, request: ObservedRequest, pending: PendingRequest[Any]) -> None:
        request.latency = self._now() - request.started_at
        request.error = _error_of(pending)
        request.is_cancelled = not pending.is_done
        request.request_size = pending.request_size
        request.reply_size = pending.reply_size
        self._tell(self._instrument.request_finished, request)

    def _tell(self, tell: Callable[[Any], None], what: ObservedRequest | SessionChange) -> None:
        try:
            tell(what)
        except Exception:
            logger.exception("the instrument %r failed", self._instrument)


def _error_of(pending: PendingRequest[Any]) -> ZooKeeperError | None:
    if pending.error is None:
        return None
    try:
        pending.result()  # to some calls an error is an answer: that there is no znode, to `exists`
    except ZooKeeperError as error:
        return error
    return None

"""Traces and metrics of a client through OpenTelemetry (`pip install zkrecipes[otel]`).

Names follow OpenTelemetry's semantic conventions for database clients. They do not list ZooKeeper, so
`db.system.name` is `zookeeper` here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from zkrecipes.client.instrument import Instrument, ObservedRequest
from zkrecipes.net.session_changes import SessionChange

if TYPE_CHECKING:
    from opentelemetry import metrics, trace

__all__ = ["OpenTelemetry"]

_SCOPE: Final = "zkrecipes"
_SYSTEM: Final = {"db.system.name": "zookeeper"}
_SENT: Final = {**_SYSTEM, "network.io.direction": "transmit"}
_RECEIVED: Final = {**_SYSTEM, "network.io.direction": "receive"}
_CANCELLED: Final = "cancelled"


@final
class OpenTelemetry(Instrument):
    """A span for each request, and metrics: `zk.connect(hosts, instrument=zk.OpenTelemetry())`.

    A span is called `zookeeper get_data`, with the name of its operation. It is a child of the caller's span
    and has the attribute `zookeeper.path`. The metrics have no paths:

    | metric | content | unit |
    | --- | --- | --- |
    | `db.client.operation.duration` | histogram, by `db.operation.name` and `error.type` | s |
    | `zookeeper.client.outstanding` | requests in flight | {request} |
    | `zookeeper.client.io` | bytes of requests and replies, by `network.io.direction` | By |
    | `zookeeper.client.session_changes` | by `zookeeper.session.state` | {change} |

    None of them contains data or credentials. A request whose caller stopped waiting has the error type
    `cancelled`.

    Args:
        tracer_provider: the provider of the tracer; None for the global one.
        meter_provider: the provider of the meter; None for the global one.

    Raises:
        ImportError: the extra is not installed.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            remedy = "zk.OpenTelemetry needs OpenTelemetry's API: pip install 'zkrecipes[otel]'"
            raise ImportError(remedy) from error
        self._kind = trace.SpanKind.CLIENT
        self._failed = trace.StatusCode.ERROR
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "db.client.operation.duration", unit="s", description="from the call to the answer"
        )
        self._outstanding = meter.create_up_down_counter(
            "zookeeper.client.outstanding", unit="{request}", description="requests in flight"
        )
        self._io = meter.create_counter(
            "zookeeper.client.io", unit="By", description="bytes of requests and replies"
        )
        self._session_changes = meter.create_counter(
            "zookeeper.client.session_changes", unit="{change}", description="the session's states"
        )

    def request_started(self, request: ObservedRequest) -> None:
        """Start a span, in the context of the caller."""
        self._outstanding.add(1, _SYSTEM)
        attributes: dict[str, Any] = {**_SYSTEM, "db.operation.name": request.operation}
        if request.path is not None:
            attributes["zookeeper.path"] = request.path
        name = f"zookeeper {request.operation}"
        request.tag = self._tracer.start_span(name, kind=self._kind, attributes=attributes)

    def request_finished(self, request: ObservedRequest) -> None:
        """End the span, and update the metrics."""
        span: trace.Span = request.tag
        attributes: dict[str, Any] = {**_SYSTEM, "db.operation.name": request.operation}
        error_type = _error_type(request)
        if error_type:
            attributes["error.type"] = error_type
            span.set_attribute("error.type", error_type)
            span.set_status(self._failed, str(request.error or error_type))
        span.end()
        self._outstanding.add(-1, _SYSTEM)
        self._duration.record(request.latency, attributes)
        self._io.add(request.request_size, _SENT)
        self._io.add(request.reply_size, _RECEIVED)

    def session_changed(self, change: SessionChange) -> None:
        """Count the change."""
        self._session_changes.add(1, {**_SYSTEM, "zookeeper.session.state": change.state.value})


def _error_type(request: ObservedRequest) -> str:
    if request.is_cancelled:
        return _CANCELLED
    return "" if request.error is None else type(request.error).__name__

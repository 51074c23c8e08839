"""The spans and metrics of a client."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

SECRET = b"nobody should see this"


class Collected:
    """A tracer and a meter that are not those of the process, and their records."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.instrument = zk.OpenTelemetry(
            tracer_provider=self.tracers, meter_provider=MeterProvider([self._reader])
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def points(self, metric: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        assert data is not None
        found = [
            each
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric
        ]
        return list(found[0].data.data_points)


async def test_a_request_is_a_span_below_the_callers() -> None:
    collected = Collected()
    async with world() as there, there.connect("a", instrument=collected.instrument) as client:
        tracer = collected.tracers.get_tracer("test")
        with tracer.start_as_current_span("caller") as caller:
            await client.create("/n", SECRET)
        span = collected.spans[0]
        assert (span.name, span.kind) == ("zookeeper create", trace.SpanKind.CLIENT)
        assert span.parent is not None
        assert span.parent.span_id == caller.get_span_context().span_id
        assert dict(span.attributes or {}) == {
            "db.system.name": "zookeeper",
            "db.operation.name": "create",
            "zookeeper.path": "/n",
        }


async def test_a_failure_is_a_span_with_its_error() -> None:
    collected = Collected()
    async with world() as there, there.connect("a", instrument=collected.instrument) as client:
        with pytest.raises(zk.NoNodeError):
            await client.get("/missing")
        (span,) = collected.spans
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.attributes is not None
        assert span.attributes["error.type"] == "NoNodeError"


async def test_the_metrics_contain_durations_bytes_and_session_changes() -> None:
    collected = Collected()
    async with world() as there, there.connect("a", instrument=collected.instrument) as client:
        await client.create("/n", SECRET)
        await client.get("/n")
        with pytest.raises(zk.NoNodeError):
            await client.get("/missing")
        durations = collected.points("db.client.operation.duration")
        assert [
            (dict(point.attributes).get("db.operation.name"), dict(point.attributes).get("error.type"))
            for point in durations
        ] == [("create", None), ("get_data", None), ("get_data", "NoNodeError")]
        assert [point.count for point in durations] == [1, 1, 1]
        sent, received = collected.points("zookeeper.client.io")
        assert sent.value > len(SECRET)
        assert received.value > len(SECRET)
        (outstanding,) = collected.points("zookeeper.client.outstanding")
        assert outstanding.value == 0
        (connected,) = collected.points("zookeeper.client.session_changes")
        assert dict(connected.attributes)["zookeeper.session.state"] == "connected"


async def test_a_request_whose_caller_stopped_waiting_is_called_cancelled() -> None:
    collected = Collected()
    async with world() as there, there.connect("a", instrument=collected.instrument) as client:
        there.server.faults.hold_replies()
        with anyio.move_on_after(1):
            await client.exists("/")
        (span,) = collected.spans
        assert span.attributes is not None
        assert span.attributes["error.type"] == "cancelled"
        (outstanding,) = collected.points("zookeeper.client.outstanding")
        assert outstanding.value == 0


async def test_data_is_in_no_span() -> None:
    collected = Collected()
    async with world() as there, there.connect("a", instrument=collected.instrument) as client:
        await client.add_auth("digest", b"bob:" + SECRET)
        await client.create("/n", SECRET)
        await client.get("/n")
        assert SECRET.decode() not in "".join(span.to_json() for span in collected.spans)


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"pip install 'zkrecipes\[otel\]'"):
        zk.OpenTelemetry()

"""A soak finds each of the faults that it looks for; each test causes one."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.apache.recorder import Recorder
from tests.recipes.fault_sweep import virtual_time
from tests.soak.drain_gate import DrainGate
from tests.soak.run import Report, Snapshot
from tests.soak.worker import PATIENCE, Counts, SessionView, Worker

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


class _ScriptedClient:
    """A client that reads scripted values in turn: (session, version, data), or None for no answer."""

    def __init__(self, *readings: tuple[int, int, bytes] | None) -> None:
        self.session = SimpleNamespace(id=1)
        self._readings: Iterator[tuple[int, int, bytes] | None] = iter(readings)

    async def get(self, path: str) -> zk.Node:
        await anyio.lowlevel.checkpoint()
        reading = next(self._readings)
        if reading is None:
            await anyio.sleep_forever()
        assert reading is not None
        self.session.id, version, data = reading
        return zk.Node(data, zk.Stat(0, 0, 0, 0, version, 0, 0, 0, len(data), 0, 0))


def _session_view(*readings: tuple[int, int, bytes] | None) -> tuple[SessionView, Counts]:
    counts = Counts()
    client: Any = _ScriptedClient(*readings)
    worker = Worker(client, "w", ["/r"], "/lock", DrainGate(), Recorder(), counts, "seed")
    return SessionView(worker, "reader"), counts


async def test_growing_versions_and_a_new_session_that_is_behind_are_not_faults() -> None:
    session_view, counts = _session_view((1, 3, b"3"), (1, 3, b"3"), (1, 4, b"4"), (2, 2, b"2"), (2, 3, b"3"))
    assert [await session_view.read("/r") for _ in range(5)] == [3, 3, 4, 2, 3]
    assert (counts.reads, counts.faults) == (5, [])


async def test_a_version_that_goes_back_in_one_session_is_a_fault() -> None:
    session_view, counts = _session_view((1, 3, b"3"), (1, 2, b"2"))
    for _ in range(2):
        await session_view.read("/r")
    assert counts.faults == ["w, reader: /r went back from 3 to 2 in one session"]


async def test_data_of_another_version_is_a_fault() -> None:
    session_view, counts = _session_view((1, 3, b"2"))
    await session_view.read("/r")
    assert counts.faults == ["w, reader: /r has the data b'2' in version 3"]


async def test_a_call_without_an_answer_is_a_fault() -> None:
    session_view, counts = _session_view(None)
    with pytest.raises(TimeoutError):
        await session_view.read("/r")
    assert counts.faults == [f"w, reader: get /r: no answer within {PATIENCE:.0f} seconds"]


async def test_a_gate_waits_for_tasks_inside_and_keeps_others_out() -> None:
    gate, order = DrainGate(), list[str]()

    async def work(name: str) -> None:
        async with gate.entered(name):
            order.append(f"{name} in")
            await anyio.sleep(1)
            order.append(f"{name} out")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, "first")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(gate.close)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(work, "second")
        await anyio.sleep(5)
        assert order == ["first in", "first out"]
        gate.open()
    assert order == ["first in", "first out", "second in", "second out"]


@pytest.mark.parametrize(
    ("last", "fault"),
    [
        ({}, None),
        ({"rss": 30.0}, "memory grew from 10.0 to 30.0 MiB"),
        ({"objects": 9000}, "objects grew from 1000 to 9000"),
    ],
)
async def test_growth_since_the_second_snapshot_is_a_fault(last: dict[str, Any], fault: str | None) -> None:
    plain: dict[str, Any] = {"seconds": 1.0, "tasks": 1, "watches": 1, "objects": 1000, "rss": 10.0}
    snapshots = [Snapshot(**plain | {"objects": 1}), Snapshot(**plain), Snapshot(**plain | last)]
    report = Report(1, Counts(), Recorder(), snapshots)
    assert report.faults == ([] if fault is None else [fault])
    assert ("nothing wrong" in str(report)) is (fault is None)

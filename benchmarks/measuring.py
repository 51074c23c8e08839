"""The parts that all subjects share: their arguments, clocks, and the line of JSON that they print."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.workloads import WORKLOADS

FIRINGS = 5
"""The number of times that the watches of a workload fire."""


def arguments(subject: str, *, backends: tuple[str, ...] = ()) -> argparse.Namespace:
    """Parse the command line of a subject."""
    parser = argparse.ArgumentParser(prog=subject)
    parser.add_argument("--connect", required=True)
    parser.add_argument("--workload", required=True, choices=sorted(WORKLOADS))
    parser.add_argument("--times", type=int)
    if backends:
        parser.add_argument("--backend", choices=backends, required=True)
    given = parser.parse_args()
    given.window = WORKLOADS[given.workload].window
    given.times = given.times or WORKLOADS[given.workload].times
    return given


def cpu_seconds() -> float:
    """Return the CPU seconds of this process: all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_kib() -> float:
    """Return the memory of this process that is in use, in KiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


@dataclass
class Measured:
    """The measurement of one run of a workload."""

    times: int
    seconds: float = 0.0
    cpu: float = 0.0
    samples: list[float] = field(default_factory=list)
    """The seconds of each operation, if each is timed."""
    kib_each: float | None = None
    """The KiB of resident memory for each session or watch, if that is measured."""
    _released_at: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the block."""
        cpu, started_at = cpu_seconds(), time.perf_counter()
        yield
        self.seconds = time.perf_counter() - started_at
        self.cpu = cpu_seconds() - cpu

    def record_release(self) -> None:
        """Record the time. Call it just before releasing a lock."""
        self._released_at = time.perf_counter()

    def record_acquired(self) -> None:
        """Record the time since the last release. Call it just after acquiring the lock."""
        if self._released_at is not None:
            self.samples.append(time.perf_counter() - self._released_at)

    def print(self) -> None:
        """Print the line that the runner reads."""
        result = {
            "per_second": self.times / self.seconds,
            "cpu_ms_per_1000": self.cpu * 1e6 / self.times,
        }
        if self.kib_each is not None:
            result["kib_each"] = self.kib_each
        if self.samples:
            result["p50_us"] = statistics.median(self.samples) * 1e6
        print(json.dumps(result), flush=True)

"""What every subject shares: its arguments, its clocks, and the one line of JSON that it prints."""

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

from benchmarks.works import WORKS

FIRINGS = 5
"""How often the watches of a work fire."""


def arguments(subject: str, *, backends: tuple[str, ...] = ()) -> argparse.Namespace:
    """The command line of a subject."""
    parser = argparse.ArgumentParser(prog=subject)
    parser.add_argument("--connect", required=True)
    parser.add_argument("--work", required=True, choices=sorted(WORKS))
    parser.add_argument("--times", type=int)
    if backends:
        parser.add_argument("--backend", choices=backends, required=True)
    given = parser.parse_args()
    given.window = WORKS[given.work].window
    given.times = given.times or WORKS[given.work].times
    return given


def cpu_seconds() -> float:
    """Of this process, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_kib() -> float:
    """The memory of this process that is in use, in KiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


@dataclass
class Measured:
    """One work, done once."""

    times: int
    seconds: float = 0.0
    cpu: float = 0.0
    samples: list[float] = field(default_factory=list)
    """Seconds of each operation, where they are timed one by one."""
    kib_each: float | None = None
    """KiB of resident memory for each, where that is measured."""
    _let_go_at: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around the timed part."""
        cpu, begun = cpu_seconds(), time.perf_counter()
        yield
        self.seconds = time.perf_counter() - begun
        self.cpu = cpu_seconds() - cpu

    def lets_go(self) -> None:
        """Just before a lock is released."""
        self._let_go_at = time.perf_counter()

    def is_in(self) -> None:
        """Just after it was acquired; the sample is the time since somebody let go."""
        if self._let_go_at is not None:
            self.samples.append(time.perf_counter() - self._let_go_at)

    def print(self) -> None:
        """The one line that the runner reads."""
        result = {
            "per_second": self.times / self.seconds,
            "cpu_ms_per_1000": self.cpu * 1e6 / self.times,
        }
        if self.kib_each is not None:
            result["kib_each"] = self.kib_each
        if self.samples:
            result["p50_us"] = statistics.median(self.samples) * 1e6
        print(json.dumps(result), flush=True)

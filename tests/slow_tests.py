"""The table of the slowest tests: `--quick` leaves these tests out, `--write-slow-tests` measures them anew.

The table, `slow_tests.txt`, has a line for each test function of which one case takes longer than `LIMIT`:
the seconds of all its cases together, and its name. Tests against real servers are not in the table; a quick
run leaves them out as well.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

__all__ = ["LIMIT", "TABLE", "Stopwatch", "deselect_slow_tests", "function_of", "is_left_out", "read_table"]

LIMIT: Final = 0.07
"""The seconds from which a case is slow."""
TABLE: Final = Path(__file__).with_suffix(".txt")
_REAL_SERVERS: Final = ("apache", "interop")


def function_of(node_id: str) -> str:
    """Return the test function of a case: its node id without parameters."""
    return node_id.partition("[")[0]


def read_table() -> list[str]:
    """Return the names of the functions in the table."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in lines if line and not line.startswith("#")]


def is_left_out(path: Path) -> bool:
    """Whether a quick run leaves out this folder, in which most tests need a real server."""
    return path.parent == TABLE.parent and path.name in _REAL_SERVERS


def deselect_slow_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave only the tests of a quick run in `items`."""
    slow = set(read_table())
    quick = [
        item
        for item in items
        if function_of(item.nodeid) not in slow
        and not any(item.get_closest_marker(name) for name in _REAL_SERVERS)
    ]
    left_out = set(items) - set(quick)
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = quick


class Stopwatch:
    """A pytest plugin that measures all tests of a run and writes the table."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._on_real_servers: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the duration of one phase of a test."""
        self._seconds[report.nodeid] += report.duration
        if any(name in report.keywords for name in _REAL_SERVERS):
            self._on_real_servers.add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the table; a worker of pytest-xdist does not, because it has run only a part of the tests."""
        if hasattr(session.config, "workerinput"):
            return
        cases = {node: spent for node, spent in self._seconds.items() if node not in self._on_real_servers}
        slow = {function_of(node) for node, spent in cases.items() if spent > LIMIT}
        totals: defaultdict[str, float] = defaultdict(float)
        for node, spent in cases.items():
            totals[function_of(node)] += spent
        rows = sorted(((totals[name], name) for name in slow), reverse=True)
        head = f"# Seconds of all cases, and tests with a case of more than {LIMIT} s; see slow_tests.py.\n"
        TABLE.write_text(head + "".join(f"{spent:6.1f} {name}\n" for spent, name in rows), encoding="utf-8")

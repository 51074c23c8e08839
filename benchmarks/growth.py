"""The growth of a workload's cost with its size: the size is doubled, and the exponent is printed.

A module of workloads declares `GROWTHS`, and `MODULES` below names the module. Each measurement is a separate
process, so that the memory of one size does not count for the next. An exponent of 1 means that the cost is
proportional to the size, 2 that it is quadratic, and 0 that the size does not matter.

    python -m benchmarks.growth                # all of them
    python -m benchmarks.growth holds readers  # these two
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import anyio

from zkrecipes.ensemble import ApacheServer

__all__ = ["Growth", "exponent", "run_all"]

MODULES: Final = ("benchmarks.growing_locks", "benchmarks.growing_trees", "benchmarks.growing_watches")
SETTINGS: Final[dict[str, str | int]] = {"forceSync": "no", "maxClientCnxns": 0}

Figures = dict[str, float]
"""The result of one measurement: each figure by its name, which includes its unit ("CPU ms each")."""


@final
@dataclass(frozen=True, slots=True)
class Growth:
    """A workload that can run at several sizes.

        Attributes:
    description: the operations, and the meaning of the size.
            sizes: the sizes, each twice the previous one.
            subjects: by name, a function of a connect string and a size that does the workload in a fresh
                process. It starts in an empty chroot, and must be importable by its module and its name.
    """

    description: str
    sizes: Sequence[int]
    subjects: Mapping[str, Callable[[str, int], Figures]]


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the slope of the costs over the sizes, both as logarithms, by least squares."""
    points = [(math.log(size), math.log(cost)) for size, cost in zip(sizes, costs, strict=True) if cost > 0]
    if len(points) < 2:
        return math.nan
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return float(above / below)


def growths() -> dict[str, Growth]:
    """Return all workloads, by name."""
    found: dict[str, Growth] = {}
    for module in MODULES:
        found.update(importlib.import_module(module).GROWTHS)
    return found


async def run_all(names: Sequence[str]) -> None:
    """Measure and print these workloads, or all, on one real server."""
    async with ApacheServer(settings=SETTINGS) as server:
        for name in names or growths():
            await anyio.to_thread.run_sync(print_growth, name, server.connect_string)


def print_growth(name: str, connect_string: str) -> None:
    """Print one table for each subject, with a row for each size and the exponents."""
    growth = growths()[name]
    print(f"\n{name}: {growth.description}")
    for subject in growth.subjects:
        measured = [run_once(name, subject, connect_string, size) for size in growth.sizes]
        keys = list(measured[0])
        rows = [[subject, *keys]]
        rows += [
            [str(size), *(f"{figures[key]:,.3g}" for key in keys)]
            for size, figures in zip(growth.sizes, measured, strict=True)
        ]
        costs = ([figures[key] for figures in measured] for key in keys)
        rows.append(["exponent", *(f"{exponent(growth.sizes, each):.2f}" for each in costs)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(keys) + 1)]
        for row in rows:
            print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)), flush=True)


def run_once(name: str, subject: str, connect_string: str, size: int) -> Figures:
    """Run one measurement in a separate process."""
    connect = f"{connect_string}/{name}-{subject}-{size}".replace(" ", "-")
    command = [sys.executable, "-m", "benchmarks.growth", name, "--subject", subject]
    command += ["--size", str(size), "--connect", connect]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure the workloads that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *growths()])
    # for the processes that this one starts
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--connect", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.subject is None:
        anyio.run(run_all, given.names)
    else:
        workload = growths()[given.names[0]].subjects[given.subject]
        print(json.dumps(workload(given.connect, given.size)))


if __name__ == "__main__":
    main()

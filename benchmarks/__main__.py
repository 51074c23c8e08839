"""The runner, which starts the servers, runs the subjects in turn, and prints the tables."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import anyio

import zkrecipes as zk
from benchmarks import (
    codec,
    dev_server,
    failover,
    growth,
    holders,
    imports,
    limits,
    slow_links,
    subject_curator,
)
from benchmarks.workloads import (
    DATA,
    LOCK_PATH,
    MADE_PATH,
    READ_PATH,
    WATCHED_PATHS,
    WIDE_PATH,
    WORKLOADS,
    Workload,
)
from zkrecipes.ensemble import ApacheServer
from zkrecipes.paths import parent_of

# `w0` answers one connection about five times faster than the default, which reads one request per pass of
# its selector. Therefore the client is the bottleneck, and differences between clients are visible.
SERVERS: Final = {"default": {}, "w0": {"zookeeper.nio.numWorkerThreads": 0}}
KAZOO: Final = "kazoo"
AIOZK: Final = "aiozk"
CURATOR: Final = "Curator"
SUBJECTS: Final = {
    KAZOO: ["benchmarks.subject_kazoo"],
    AIOZK: ["benchmarks.subject_aiozk"],
    CURATOR: ["benchmarks.subject_curator"],
    "zkrecipes, trio": ["benchmarks.subject_zkrecipes", "--backend", "trio"],
    "zkrecipes, asyncio": ["benchmarks.subject_zkrecipes", "--backend", "asyncio"],
    "zkrecipes pipeline(), trio": ["benchmarks.subject_zkrecipes", "--backend", "trio-block"],
    "zkrecipes pipeline(), asyncio": ["benchmarks.subject_zkrecipes", "--backend", "asyncio-block"],
}
ONLY_PIPELINED: Final = frozenset(name for name in SUBJECTS if "pipeline()" in name)
PIPELINED: Final = frozenset({"pipelined_get", "pipelined_create", "children_of_1000"})
ONLY: Final = (
    "codec",
    "imports",
    "workloads",
    "limits",
    "failover",
    "holders",
    "dev-server",
    "growth",
    "slow-links",
)
ONLY_LOCKS: Final = frozenset({AIOZK, CURATOR})

Results = dict[str, list[dict[str, float]]]


def main() -> None:  # noqa: C901 - a line for each measurement
    """Run the measurements that the command line names."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="of: " + ", ".join(WORKLOADS))
    parser.add_argument("--only", choices=ONLY)
    given = parser.parse_args()
    if given.only in (None, "codec"):
        print_codec(given.rounds)
    if given.only in (None, "imports"):
        print_imports(given.rounds)
    if given.only == "failover":
        print_failover(given.rounds)
    if given.only == "dev-server":
        for measure in dev_server.all_workloads().values():
            measure()
    if given.only == "growth":
        anyio.run(growth.run_all, ())
    if given.only == "holders":
        print_holders()
    if given.only == "slow-links":
        print_slow_links()
    if given.only == "limits":
        print_limits()
    if given.only in (None, "workloads"):
        workloads = [WORKLOADS[name] for name in given.workloads.split(",") if name]
        anyio.run(run_workloads, workloads, given.rounds)


async def run_workloads(workloads: list[Workload], rounds: int) -> None:
    """Run each workload against each server that it names."""
    for server_name, properties in SERVERS.items():
        wanted = [workload for workload in workloads if server_name in workload.servers]
        if not wanted:
            continue
        settings = {"forceSync": "no", "maxClientCnxns": 0}
        async with ApacheServer(settings=settings, properties=properties) as server:
            await prepare(server.connect_string)
            await anyio.to_thread.run_sync(warm_up, server.connect_string)
            for workload in wanted:
                results = await anyio.to_thread.run_sync(take_turns, workload, server.connect_string, rounds)
                print_workload(workload, server_name, results)


async def prepare(connect_string: str) -> None:
    """Create the znodes that the workloads use."""
    async with zk.connect(connect_string) as client:
        await client.create(READ_PATH, DATA, make_parents=True)
        for path in (LOCK_PATH, MADE_PATH, WIDE_PATH, parent_of(WATCHED_PATHS[0])):
            await client.ensure_path(path)
        async with client.pipeline() as pipe:
            for number in range(1000):
                pipe.create(f"{WIDE_PATH}/member-{number:010}")
            for path in WATCHED_PATHS:
                pipe.create(path)


def warm_up(connect_string: str) -> None:
    """Warm the Java virtual machine up, because a cold one answers at half its speed."""
    for _ in range(3):
        run_once(KAZOO, WORKLOADS["pipelined_get"], connect_string, times=10_000)


def take_turns(workload: Workload, connect_string: str, rounds: int) -> Results:
    """Run every subject once in each round; the first one rotates."""
    names = [name for name in SUBJECTS if can_do(name, workload)]
    results: Results = defaultdict(list)
    for round_number in range(rounds):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(run_once(name, workload, connect_string))
    return results


def can_do(name: str, workload: Workload) -> bool:
    """Whether a subject has this workload."""
    if name == CURATOR and not subject_curator.is_available():
        print(f"{CURATOR} is not measured: {subject_curator.REMEDY}")
        return False
    if name in ONLY_LOCKS:
        return workload.name.startswith("lock_")
    return name not in ONLY_PIPELINED or workload.name in PIPELINED


def run_once(
    name: str, workload: Workload, connect_string: str, times: int | None = None
) -> dict[str, float]:
    """Run one workload of one subject in a separate process."""
    command = [
        sys.executable,
        "-m",
        *SUBJECTS[name],
        "--connect",
        connect_string,
        "--workload",
        workload.name,
    ]
    command += ["--times", str(times or workload.times)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def print_workload(workload: Workload, server_name: str, results: Results) -> None:
    """Print one table: medians over the rounds, and in brackets the ratio to kazoo."""
    print(
        f"\n{workload.name} ({workload.description}; server {server_name}; medians of {len(results[KAZOO])})"
    )
    keys = list(results[KAZOO][0])
    rows = [["", *(heading(key) for key in keys), "least CPU"]]
    for name in sorted(results, key=list(SUBJECTS).index):
        cells = [cell(results[name], results[KAZOO], key) for key in keys]
        least = min(each["cpu_ms_per_1000"] for each in results[name])
        rows.append([name, *cells, f"{least:.1f}"])
    print_table(rows)


def heading(key: str) -> str:
    """Return the text of a column."""
    headings = {"per_second": "per second", "cpu_ms_per_1000": "CPU ms/1000", "kib_each": "KiB each"}
    return headings.get(key, "p50 µs")


def cell(own: list[dict[str, float]], kazoos: list[dict[str, float]], key: str) -> str:
    """Format a median and its ratio to kazoo's."""
    ours = statistics.median(each[key] for each in own)
    return f"{ours:,.1f} ({ours / statistics.median(each[key] for each in kazoos):.2f}x)"


def print_codec(rounds: int) -> None:
    """Print the table of messages."""
    print("\ncodec (microseconds a message; best of the rounds)")
    rows = [["", "zkrecipes", "kazoo", "kazoo / zkrecipes"]]
    rows += [
        [name, f"{ours:.2f}", f"{kazoos:.2f}", f"{kazoos / ours:.1f}x"]
        for name, ours, kazoos in codec.measure(rounds)
    ]
    print_table(rows)


def print_imports(rounds: int) -> None:
    """Print the table of imports."""
    print("\nimport (milliseconds in a fresh interpreter, over one that imports nothing; medians)")
    print_table([[name, f"{each:.1f}"] for name, each in imports.measure(2 * rounds + 1).items()])


def print_failover(rounds: int) -> None:
    """Print the table of failovers; both clients wait 20 ms before each request."""
    print(f"\nms without an answer, including an intended pause of 20 ms (medians of {rounds})")
    rows = [["", "kazoo", "zkrecipes"]]
    for what, by_name in anyio.run(failover.measure, rounds, backend="trio").items():
        rows.append([what, f"{by_name['kazoo']:.0f}", f"{by_name['zkrecipes']:.0f}"])
    print_table(rows)


def print_holders() -> None:
    """Print one table for each event loop."""
    for backend in ("trio", "asyncio"):
        print(f"\nclients that hold a lock each, session timeout {holders.SESSION_TIMEOUT:g} s, {backend}")
        rows = [["holders", "transactions/s", "log bytes/s", "snapshots a day", "clients' CPU ms/s"]]
        for cost in anyio.run(holders.measure, backend=backend):
            figures = (cost.transactions, cost.log_bytes, cost.snapshots_a_day, cost.cpu)
            rows.append([str(cost.holders), *(f"{figure:,.1f}" for figure in figures)])
        print_table(rows)


def print_slow_links() -> None:
    """Print one table for each event loop."""
    for backend in ("trio", "asyncio"):
        print(f"\nslow links and long queues, session timeout {slow_links.SESSION_TIMEOUT:g} s, {backend}")
        rows = [["", "a hold", "answered", "seconds", "connections", "same session"]]
        for description, outcome in anyio.run(slow_links.measure, backend=backend):
            hold = {None: "none", True: "kept", False: "lost"}[outcome.is_hold_kept]
            answered, same = (
                f"{outcome.answered_count:,} of {outcome.request_count:,}",
                "yes" if outcome.is_same_session else "no",
            )
            rows.append(
                [description, hold, answered, f"{outcome.seconds:.1f}", str(outcome.connections), same]
            )
        print_table(rows)


def print_limits() -> None:
    """Print one table for each event loop, with the growth of the client process's memory."""
    for backend in ("trio", "asyncio"):
        print(f"\nlimits, {backend}")
        rows = [["", "seconds in total", "MiB at the peak"]]
        for description, tried in limits.measure(backend).items():
            rows.append([description, f"{tried.seconds:.1f}", f"{tried.mib:.1f}"])
        print_table(rows)


def print_table(rows: Iterable[list[str]]) -> None:
    """Print rows in columns that are as wide as necessary."""
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join([first, *(text.strip().rjust(len(text)) for text in others)]), flush=True)


if __name__ == "__main__":
    main()

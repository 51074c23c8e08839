"""The dev server alone: its start, its throughput, its connections, and the cost of a znode.

`make bench ARGS="--only dev-server"`, or `python -m benchmarks.dev_server --workloads …`. The server is a
separate process, and the client a plain socket that does almost nothing, so that only the server is measured.
Only in `together`, our own client shares the process, and so the core, with it.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import anyio

import zkrecipes as zk
from zkrecipes.codec.messages import (
    ConnectRequest,
    CreateRequest,
    GetDataRequest,
    Request,
    SetDataRequest,
)
from zkrecipes.codec.records import ACL, Id
from zkrecipes.devserver import DevServer

OPEN = [ACL(31, Id("world", "anyone"))]
DATA = b"x" * 100
WINDOW = 1000
GREETING = ConnectRequest(0, 0, 40_000, 0, bytes(16), False).encode()

_START_UP = """
import time, anyio
started_at = time.perf_counter()
from zkrecipes.devserver import DevServer
imported = time.perf_counter()
async def main():
    entering = time.perf_counter()
    async with DevServer():
        print(imported - started_at, time.perf_counter() - entering)
anyio.run(main, backend="trio")
"""


def main() -> None:
    """Run all workloads, or those that the command line names."""
    workloads = all_workloads()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dev_server", description=__doc__)
    parser.add_argument("--workloads", default=",".join(workloads), help="of: " + ", ".join(workloads))
    for name in parser.parse_args().workloads.split(","):
        workloads[name]()


def all_workloads() -> dict[str, Callable[[], None]]:
    """Return the workloads by name; each prints its figures."""
    return {
        "start": start_up,
        "memory": lambda: throughput("in memory"),
        "durable": lambda: on_disk(throughput),
        "together": lambda: anyio.run(together, backend="trio"),
        "connections": connections,
        "watchers": watchers,
        "znodes": million,
        "durable_znodes": lambda: on_disk(million),
    }


# --- the workloads -----------------------------------------------------------------------------------------


def start_up() -> None:
    """Measure the cost of a server in this process, as in a test."""
    done = [
        subprocess.run([sys.executable, "-c", _START_UP], check=True, capture_output=True, text=True)
        for _ in range(5)
    ]
    imports, starts = zip(*(map(float, each.stdout.split()) for each in done), strict=True)
    print_figures(
        "start-up in process", f"{min(starts) * 1e3:.1f} ms, and {min(imports) * 1e3:.0f} ms for the import"
    )


def throughput(where: str, *arguments: str) -> None:
    """Measure one connection with a thousand requests at once, and with one after another."""
    with serving(*arguments) as (_, port), Connection(port) as client:
        client.send_and_receive([CreateRequest("/a", DATA, OPEN, 0), CreateRequest("/d", b"", OPEN, 0)])
        rounds = 50 if where == "in memory" else 20
        for name, request in (
            ("reads", GetDataRequest("/a", False)),
            ("writes", SetDataRequest("/a", DATA, -1)),
            ("creates", CreateRequest("/d/n", DATA, OPEN, 2)),
        ):
            client.send_and_receive([request] * WINDOW)
            seconds = timed(
                lambda request=request: [client.send_and_receive([request] * WINDOW) for _ in range(rounds)]
            )
            print_figures(f"pipelined {name}, {where}", f"{rounds * WINDOW / seconds:,.0f} a second")
        seconds = timed(
            lambda: [client.send_and_receive([SetDataRequest("/a", DATA, -1)]) for _ in range(500)]
        )
        print_figures(f"one write after the other, {where}", f"{500 / seconds:,.0f} a second")


async def together(rounds: int = 30) -> None:
    """Measure our own client's pipelines in the same thread as the server."""
    async with DevServer() as server, zk.connect(server.connect_string) as client:
        await client.create("/a", DATA)
        for name in ("reads", "writes"):
            started_at = time.perf_counter()
            for _ in range(rounds):
                async with client.pipeline() as pipe:
                    for _ in range(WINDOW):
                        if name == "reads":
                            pipe.get("/a")
                        else:
                            pipe.set("/a", DATA)
            rate = rounds * WINDOW / (time.perf_counter() - started_at)
            print_figures(f"pipelined {name}, our client beside it on one core", f"{rate:,.0f} a second")


def connections(count: int = 1000) -> None:
    """Measure a thousand sessions at once, each with one read in flight at all times."""
    with serving() as (process, port), selectors.DefaultSelector() as selector:
        started_at = time.perf_counter()
        clients = [Connection(port) for _ in range(count)]
        print_figures(f"{count} sessions", f"made in {time.perf_counter() - started_at:.2f} s")
        request = GetDataRequest("/", False).encode_frame(1)
        sent = {}
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.socket.sendall(request)
            sent[client] = time.perf_counter()
        latencies: list[float] = []
        started_at = time.perf_counter()
        while len(latencies) < 20 * count:
            for key, _ in selector.select():
                client = key.data
                client.socket.recv(65536)
                latencies.append(time.perf_counter() - sent[client])
                client.socket.sendall(request)
                sent[client] = time.perf_counter()
        seconds = time.perf_counter() - started_at
        latencies.sort()
        p99 = latencies[len(latencies) * 99 // 100]
        print_figures(
            f"{count} sessions, one read in flight in each",
            f"{len(latencies) / seconds:,.0f} a second, p99 {p99 * 1e3:.0f} ms, {resident_mib(process)} MiB",
        )
        for client in clients:
            client.close()


def watchers(*counts: int) -> None:
    """Measure the server's CPU time for one change of a znode that each connection watches.

    Each connection needs a file descriptor on both sides.
    """
    rounds = 5
    for count in counts or (1000, 8000):
        with serving() as (process, port), Connection(port) as writer:
            writer.send_and_receive([CreateRequest("/a", DATA, OPEN, 0)])
            clients = [Connection(port) for _ in range(count)]
            seconds = 0.0
            for _ in range(rounds):
                for client in clients:
                    client.send_and_receive([GetDataRequest("/a", True)])
                before = cpu_time(process)
                writer.send_and_receive([SetDataRequest("/a", DATA, -1)])
                for client in clients:
                    client.receive(1)
                seconds += cpu_time(process) - before
            milliseconds = seconds / rounds * 1e3
            print_figures(f"one change, watched by {count:,} connections", f"{milliseconds:.0f} ms of CPU")
            for client in clients:
                client.close()


def million(where: str = "in memory", *arguments: str, count: int = 1_000_000) -> None:
    """Measure a million znodes of ten bytes below a thousand others; with a folder, also measure a start."""
    with serving(*arguments) as (process, port):
        with Connection(port) as client:
            before = resident_mib(process)
            started_at = time.perf_counter()
            for parent in range(count // WINDOW):
                client.send_and_receive([CreateRequest(f"/p{parent:04}", b"", OPEN, 0)])
                client.send_and_receive(
                    [
                        CreateRequest(f"/p{parent:04}/node-{n:04}", b"0123456789", OPEN, 0)
                        for n in range(WINDOW)
                    ]
                )
            rate = count / (time.perf_counter() - started_at)
            after = resident_mib(process)
            print_figures(
                f"{count:,} znodes, {where}", f"{after - before} MiB of memory, {rate:,.0f} made a second"
            )
            seconds = timed(
                lambda: [
                    client.send_and_receive([GetDataRequest("/p0000", False)] * WINDOW) for _ in range(20)
                ]
            )
            print_figures(f"pipelined reads beside them, {where}", f"{20 * WINDOW / seconds:,.0f} a second")
        if arguments:
            process.kill()
            process.wait()
    if arguments:
        started_at = time.perf_counter()
        with serving(*arguments) as (process, _):
            print_figures(
                f"a start with {count:,} znodes on disk",
                f"{time.perf_counter() - started_at:.1f} s, {resident_mib(process)} MiB",
            )


def on_disk(workload: Callable[..., None]) -> None:
    """Run a workload with a data directory."""
    with tempfile.TemporaryDirectory() as folder:
        workload("on disk", "--data-dir", str(Path(folder) / "data"))


# --- the client and the server -----------------------------------------------------------------------------


class Connection:
    """A session over a plain socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(struct.pack("!i", len(GREETING)) + GREETING)
        self._rest = b""
        self.receive(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; the server must end the session."""
        self.socket.close()

    def send_and_receive(self, requests: list[Request]) -> None:  # type: ignore[type-arg]
        """Send requests, and wait for a reply without an error to each."""
        frames = [request.encode_frame(xid) for xid, request in enumerate(requests, start=1)]
        # Send at most as much at once as both ends accept without reading.
        for start in range(0, len(frames), 200):
            self.socket.sendall(b"".join(frames[start : start + 200]))
        self.receive(len(requests))

    def receive(self, count: int) -> None:
        """Wait for this many replies or events."""
        data = self._rest
        while count:
            position = 0
            while count and len(data) - position >= 4:
                (size,) = struct.unpack_from("!i", data, position)
                if len(data) - position < size + 4:
                    break
                if size >= 16 and data[position + 16 : position + 20] != bytes(4) and size != 37:
                    raise RuntimeError(f"a request failed: {data[position : position + 20]!r}")
                position += size + 4
                count -= 1
            data = data[position:]
            if count:
                data += self.socket.recv(1 << 18)
        self._rest = data


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a dev server in a separate process, and yield it with its port."""
    command = [sys.executable, "-m", "zkrecipes.devserver", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


def resident_mib(process: subprocess.Popen[str]) -> int:
    """Return the resident memory of a process, from Linux."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) // 1024 if found is not None else 0


def cpu_time(process: subprocess.Popen[str]) -> float:
    """Return the CPU time that a process has used, in seconds (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(workload: Callable[[], object]) -> float:
    """Return the seconds that a workload takes."""
    started_at = time.perf_counter()
    workload()
    return time.perf_counter() - started_at


def print_figures(what: str, figures: str) -> None:
    """Print one line of figures."""
    print(f"{what:<52} {figures}", flush=True)


if __name__ == "__main__":
    main()

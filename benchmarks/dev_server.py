"""The dev server alone: how soon it is there, how much it answers, how many it serves, what a znode costs.

`make bench ARGS="--only dev-server"`, or `python -m benchmarks.dev_server --works …`. The server is a process
of its own, and the client a plain socket that does next to nothing, so that what is measured is the server.
Only in `together` our own client shares the process, and so the core, with it.
"""

from __future__ import annotations

import argparse
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
begun = time.perf_counter()
from zkrecipes.devserver import DevServer
imported = time.perf_counter()
async def main():
    entering = time.perf_counter()
    async with DevServer():
        print(imported - begun, time.perf_counter() - entering)
anyio.run(main, backend="trio")
"""


def main() -> None:
    """Run all, or what the command line names."""
    works = all_works()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dev_server", description=__doc__)
    parser.add_argument("--works", default=",".join(works), help="of: " + ", ".join(works))
    for name in parser.parse_args().works.split(","):
        works[name]()


def all_works() -> dict[str, Callable[[], None]]:
    """What can be measured, each of which prints its figures."""
    return {
        "start": start_up,
        "memory": lambda: throughput("in memory"),
        "durable": lambda: on_disk(throughput),
        "together": lambda: anyio.run(together, backend="trio"),
        "connections": connections,
        "znodes": million,
        "durable_znodes": lambda: on_disk(million),
    }


# --- the works ---------------------------------------------------------------------------------------------


def start_up() -> None:
    """A server in this process: what a test pays for it."""
    done = [
        subprocess.run([sys.executable, "-c", _START_UP], check=True, capture_output=True, text=True)
        for _ in range(5)
    ]
    imports, starts = zip(*(map(float, each.stdout.split()) for each in done), strict=True)
    tell("start-up in process", f"{min(starts) * 1e3:.1f} ms, and {min(imports) * 1e3:.0f} ms for the import")


def throughput(where: str, *arguments: str) -> None:
    """One connection, a thousand requests at once; and one after the other."""
    with serving(*arguments) as (_, port), Connection(port) as client:
        client.ask([CreateRequest("/a", DATA, OPEN, 0), CreateRequest("/d", b"", OPEN, 0)])
        rounds = 50 if where == "in memory" else 20
        for name, request in (
            ("reads", GetDataRequest("/a", False)),
            ("writes", SetDataRequest("/a", DATA, -1)),
            ("creates", CreateRequest("/d/n", DATA, OPEN, 2)),
        ):
            client.ask([request] * WINDOW)
            seconds = timed(lambda request=request: [client.ask([request] * WINDOW) for _ in range(rounds)])
            tell(f"pipelined {name}, {where}", f"{rounds * WINDOW / seconds:,.0f} a second")
        seconds = timed(lambda: [client.ask([SetDataRequest("/a", DATA, -1)]) for _ in range(500)])
        tell(f"one write after the other, {where}", f"{500 / seconds:,.0f} a second")


async def together(rounds: int = 30) -> None:
    """Our own client's pipelines, in the same thread as the server."""
    async with DevServer() as server, zk.connect(server.connect_string) as client:
        await client.create("/a", DATA)
        for name in ("reads", "writes"):
            begun = time.perf_counter()
            for _ in range(rounds):
                async with client.pipeline() as pipe:
                    for _ in range(WINDOW):
                        if name == "reads":
                            pipe.get("/a")
                        else:
                            pipe.set("/a", DATA)
            rate = rounds * WINDOW / (time.perf_counter() - begun)
            tell(f"pipelined {name}, our client beside it on one core", f"{rate:,.0f} a second")


def connections(count: int = 1000) -> None:
    """A thousand sessions at once, each with one read under way all the time."""
    with serving() as (process, port), selectors.DefaultSelector() as selector:
        begun = time.perf_counter()
        clients = [Connection(port) for _ in range(count)]
        tell(f"{count} sessions", f"made in {time.perf_counter() - begun:.2f} s")
        request = GetDataRequest("/", False).encode_frame(1)
        sent = {}
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.socket.sendall(request)
            sent[client] = time.perf_counter()
        latencies: list[float] = []
        begun = time.perf_counter()
        while len(latencies) < 20 * count:
            for key, _ in selector.select():
                client = key.data
                client.socket.recv(65536)
                latencies.append(time.perf_counter() - sent[client])
                client.socket.sendall(request)
                sent[client] = time.perf_counter()
        seconds = time.perf_counter() - begun
        latencies.sort()
        p99 = latencies[len(latencies) * 99 // 100]
        tell(
            f"{count} sessions, a read under way in each",
            f"{len(latencies) / seconds:,.0f} a second, p99 {p99 * 1e3:.0f} ms, {resident_mib(process)} MiB",
        )
        for client in clients:
            client.close()


def million(where: str = "in memory", *arguments: str, count: int = 1_000_000) -> None:
    """A million znodes of ten bytes below a thousand others; with a folder also how long a start takes."""
    with serving(*arguments) as (process, port):
        with Connection(port) as client:
            before = resident_mib(process)
            begun = time.perf_counter()
            for parent in range(count // WINDOW):
                client.ask([CreateRequest(f"/p{parent:04}", b"", OPEN, 0)])
                client.ask(
                    [
                        CreateRequest(f"/p{parent:04}/node-{n:04}", b"0123456789", OPEN, 0)
                        for n in range(WINDOW)
                    ]
                )
            rate = count / (time.perf_counter() - begun)
            after = resident_mib(process)
            tell(f"{count:,} znodes, {where}", f"{after - before} MiB of memory, {rate:,.0f} made a second")
            seconds = timed(
                lambda: [client.ask([GetDataRequest("/p0000", False)] * WINDOW) for _ in range(20)]
            )
            tell(f"pipelined reads beside them, {where}", f"{20 * WINDOW / seconds:,.0f} a second")
        if arguments:
            process.kill()
            process.wait()
    if arguments:
        begun = time.perf_counter()
        with serving(*arguments) as (process, _):
            tell(
                f"a start with {count:,} znodes on disk",
                f"{time.perf_counter() - begun:.1f} s, {resident_mib(process)} MiB",
            )


def on_disk(work: Callable[..., None]) -> None:
    """A work with a data directory."""
    with tempfile.TemporaryDirectory() as folder:
        work("on disk", "--data-dir", str(Path(folder) / "data"))


# --- the client and the server -----------------------------------------------------------------------------


class Connection:
    """A session over a plain socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(struct.pack("!i", len(GREETING)) + GREETING)
        self._rest = b""
        self._receive(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, session and all being left to the server."""
        self.socket.close()

    def ask(self, requests: list[Request]) -> None:  # type: ignore[type-arg]
        """Send requests, and wait for as many replies, none of which is an error."""
        frames = [request.encode_frame(xid) for xid, request in enumerate(requests, start=1)]
        # Not more at once than both ends take without reading.
        for start in range(0, len(frames), 200):
            self.socket.sendall(b"".join(frames[start : start + 200]))
        self._receive(len(requests))

    def _receive(self, count: int) -> None:
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
    """A dev server in a process of its own, and its port."""
    command = [sys.executable, "-m", "zkrecipes.devserver", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


def resident_mib(process: subprocess.Popen[str]) -> int:
    """The memory that a process has, as Linux tells it."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) // 1024 if found is not None else 0


def timed(work: Callable[[], object]) -> float:
    """How many seconds it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def tell(what: str, figures: str) -> None:
    """One line."""
    print(f"{what:<52} {figures}", flush=True)


if __name__ == "__main__":
    main()

"""An outage: many clients cannot reach their server for a part of the session timeout.

The clients connect through a relay, which drops every connection and refuses new ones until it opens again.
During that time the sessions age at the server. The figures are meaningful only on a machine with idle cores.

    python -m benchmarks.outage                                  # 2,000 clients, 6 of 10 seconds
    python -m benchmarks.outage --clients 500 --subject kazoo
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import anyio.abc

import zkrecipes as zk
from zkrecipes.ensemble import ApacheServer

__all__ = ["main"]

TIMEOUT: Final = 10.0
ENOUGH: Final = 15.0
"""The seconds after the server's return within which everything happens."""


class Relay:
    """A process that relays bytes to the server while it is open."""

    def __init__(self, target: int) -> None:
        command = [sys.executable, "-m", "benchmarks.outage", "--relay", str(target)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def say(self, word: str) -> str:
        """Send the relay `cut`, `open` or `count` (of attempts), and return its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(word + "\n")
        stdin.flush()
        return stdout.readline().strip()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


async def relay(target: int) -> None:
    """Run the relay in its process."""
    attempts: list[float] = []
    port = 0

    async def carry(client: anyio.abc.SocketStream) -> None:
        attempts.append(time.monotonic())
        with suppress(OSError):
            async with (
                client,
                await anyio.connect_tcp("127.0.0.1", target) as server,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(pump, client, server, tasks.cancel_scope)
                await pump(server, client, tasks.cancel_scope)

    while True:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port, backlog=4096)
        async with listener, anyio.create_task_group() as tasks:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            tasks.start_soon(listener.serve, carry)
            print(port, flush=True)
            word = await anyio.to_thread.run_sync(sys.stdin.readline)
            while word.strip() == "count":
                print(json.dumps(attempts), flush=True)
                word = await anyio.to_thread.run_sync(sys.stdin.readline)
            tasks.cancel_scope.cancel()
        attempts.clear()
        print("cut", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)


async def pump(
    source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream, scope: anyio.CancelScope
) -> None:
    """Relay bytes in one direction, and end both when they end."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for data in source:
            await sink.send(data)
    scope.cancel()


@asynccontextmanager
async def _zkrecipes(hosts: str, clients: int) -> AsyncIterator[Callable[[], tuple[int, list[float]]]]:
    lost, back = 0, list[float]()

    async def live(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        nonlocal lost
        async with zk.connect(hosts, session_timeout=TIMEOUT, connect_timeout=120) as client:
            first = client.session
            async with client.session_changes() as changes:
                task_status.started()
                async for change in changes:
                    if change.state is zk.SessionState.CONNECTED:
                        back.append(time.monotonic())
                        lost += client.session is not first

    async with anyio.create_task_group() as tasks:
        for _ in range(clients):
            await tasks.start(live)
        yield lambda: (lost, back)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _kazoo(hosts: str, clients: int) -> AsyncIterator[Callable[[], tuple[int, list[float]]]]:
    from kazoo.client import KazooClient

    lost, back, lock = 0, list[float](), threading.Lock()

    def listen(state: str) -> None:
        nonlocal lost
        with lock:
            lost += state == "LOST"
            if state == "CONNECTED":
                back.append(time.monotonic())

    made = [KazooClient(hosts, timeout=TIMEOUT) for _ in range(clients)]
    for each in made:
        await anyio.to_thread.run_sync(each.start, 120)
        each.add_listener(listen)
    yield lambda: (lost, back)
    for each in made:
        each.remove_listener(listen)
    os._exit(0)  # thousands of threads would take minutes to end


SUBJECTS: Final = {"zkrecipes": _zkrecipes, "kazoo": _kazoo}


def most_in_a_tenth(times: list[float]) -> int:
    """Return the largest number of attempts within a tenth of a second."""
    times, first, most = sorted(times), 0, 0
    for number, at in enumerate(times):
        while times[first] < at - 0.1:
            first += 1
        most = max(most, number - first + 1)
    return most


async def measure(subject: str, clients: int, seconds: float) -> None:
    """Print the figures of one outage."""
    settings: dict[str, str | int | bool] = {
        "maxClientCnxns": 0,
        "forceSync": "no",
        "tickTime": 1000,
        "maxSessionTimeout": 60_000,
    }
    async with ApacheServer(settings=settings) as server:
        relayed = Relay(server.port)
        try:
            async with SUBJECTS[subject](f"127.0.0.1:{relayed.port}", clients) as outcome:
                await anyio.sleep(TIMEOUT / 2)  # until nothing happens
                relayed.say("cut")
                began = time.process_time()
                await anyio.sleep(seconds)
                relayed.say("open")
                opened_at = time.monotonic()
                await anyio.sleep(ENOUGH)
                lost, back = outcome()
                used = time.process_time() - began
                delays = sorted(each - opened_at for each in back)
                print(
                    f"{subject}: {clients} clients, away for {seconds:g} of {TIMEOUT:g} s: {lost} sessions "
                    f"lost; half back after {delays[len(delays) // 2]:.2f} s, the last after "
                    f"{delays[-1]:.2f} s; at most "
                    f"{most_in_a_tenth(json.loads(relayed.say('count')))} attempts in 0.1 s; "
                    f"{used:.1f} s of CPU",
                    flush=True,
                )
        finally:
            relayed.close()


def main() -> None:
    """Parse the arguments and run the measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--subject", choices=SUBJECTS, default="zkrecipes")
    parser.add_argument("--relay", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.relay:
        anyio.run(relay, options.relay)
    else:
        backend = "asyncio" if options.subject == "kazoo" else "trio"
        anyio.run(measure, options.subject, options.clients, options.seconds, backend=backend)


if __name__ == "__main__":
    main()

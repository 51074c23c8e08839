"""Run one workload in kazoo: with threads, and pipelined requests as `*_async` calls in a sliding window."""

from __future__ import annotations

import argparse
import collections
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kazoo.client import KazooClient

from benchmarks.measuring import FIRINGS, Measured, arguments, resident_kib
from benchmarks.workloads import DATA, LOCK_PATH, MADE_PATH, READ_PATH, WATCHED_PATHS, WIDE_PATH


def sequential_get(client: KazooClient, given: argparse.Namespace) -> Measured:
    for _ in range(200):
        client.get(READ_PATH)
    measured = Measured(given.times)
    with measured.running():
        for _ in range(given.times):
            started_at = time.perf_counter()
            client.get(READ_PATH)
            measured.samples.append(time.perf_counter() - started_at)
    return measured


def pipelined_get(client: KazooClient, given: argparse.Namespace) -> Measured:
    return pipelined(given, lambda: client.get_async(READ_PATH))


def pipelined_create(client: KazooClient, given: argparse.Namespace) -> Measured:
    return pipelined(
        given, lambda: client.create_async(f"{MADE_PATH}/m-", DATA, ephemeral=True, sequence=True)
    )


def multi_of_10(client: KazooClient, given: argparse.Namespace) -> Measured:
    def commit() -> Any:
        transaction = client.transaction()
        for _ in range(10):
            transaction.create(f"{MADE_PATH}/m-", DATA, ephemeral=True, sequence=True)
        return transaction.commit_async()

    return pipelined(given, commit)


def children_of_1000(client: KazooClient, given: argparse.Namespace) -> Measured:
    return pipelined(given, lambda: client.get_children_async(WIDE_PATH))


def pipelined(given: argparse.Namespace, send_and_receive: Callable[[], Any]) -> Measured:
    """Keep a sliding window of calls in flight."""

    def ask_many(times: int) -> None:
        under_way: collections.deque[Any] = collections.deque()
        for _ in range(times):
            if len(under_way) >= given.window:
                under_way.popleft().get()
            under_way.append(send_and_receive())
        while under_way:
            under_way.popleft().get()

    ask_many(2 * given.window)
    measured = Measured(given.times)
    with measured.running():
        ask_many(given.times)
    return measured


def watches_1000(client: KazooClient, given: argparse.Namespace) -> Measured:
    return fire(
        given,
        lambda seen: [client.get_async(path, watch=seen) for path in WATCHED_PATHS],
        lambda: [client.set_async(path, b"v") for path in WATCHED_PATHS],
    )


def watches_200_clients(client: KazooClient, given: argparse.Namespace) -> Measured:
    with several_clients(given) as clients:
        return fire(
            given,
            lambda seen: [each.get_async(READ_PATH, watch=seen) for each in clients],
            lambda: [client.set_async(READ_PATH, DATA)],
        )


def fire(
    given: argparse.Namespace, watch: Callable[[Any], list[Any]], change: Callable[[], list[Any]]
) -> Measured:
    """Fire all watches several times."""
    measured = Measured(FIRINGS * given.times)
    news: queue.SimpleQueue[object] = queue.SimpleQueue()

    def once() -> None:
        for each in watch(news.put):
            each.get()
        started_at = time.perf_counter()
        changes = change()
        for _ in range(given.times):
            news.get(timeout=30)
        measured.samples.append(time.perf_counter() - started_at)
        for each in changes:
            each.get()

    once()
    measured.samples.clear()
    with measured.running():
        for _ in range(FIRINGS):
            once()
    return measured


def idle_clients(_: KazooClient, given: argparse.Namespace) -> Measured:
    measured = Measured(given.times)
    before = resident_kib()
    with measured.running(), several_clients(given):
        measured.kib_each = (resident_kib() - before) / given.times
    return measured


def lock_uncontended(client: KazooClient, given: argparse.Namespace) -> Measured:
    lock = client.Lock(f"{LOCK_PATH}/kazoo-alone", "me")
    for _ in range(20):
        with lock:
            pass
    measured = Measured(given.times)
    with measured.running():
        for _ in range(given.times):
            with lock:
                pass
    return measured


def lock_16_contenders(client: KazooClient, given: argparse.Namespace) -> Measured:
    return contend([client] * given.window, given)


def lock_16_clients(_: KazooClient, given: argparse.Namespace) -> Measured:
    with several_clients(given) as clients:
        return contend(clients, given)


def lock_hand_off(client: KazooClient, given: argparse.Namespace) -> Measured:
    return lock_16_clients(client, given)


@contextmanager
def several_clients(given: argparse.Namespace) -> Iterator[list[KazooClient]]:
    clients = [a_client(given) for _ in range(given.window)]
    try:
        yield clients
    finally:
        for client in clients:
            client.stop()
            client.close()


def a_client(given: argparse.Namespace) -> KazooClient:
    client = KazooClient(given.connect, timeout=10.0)
    client.start(timeout=30)
    return client


def contend(clients: list[KazooClient], given: argparse.Namespace) -> Measured:
    """Run a thread for each client; threads may share clients."""
    measured = Measured(given.times)

    def take_turns(client: KazooClient, times: int, name: str) -> None:
        lock = client.Lock(f"{LOCK_PATH}/kazoo-many", name)
        for _ in range(times):
            with lock:
                measured.record_acquired()
                measured.record_release()

    def all_take_turns(times: int) -> None:
        threads = [
            threading.Thread(target=take_turns, args=(client, times // len(clients), str(number)))
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_take_turns(2 * len(clients))
    measured.samples.clear()
    with measured.running():
        all_take_turns(given.times)
    return measured


WORKLOAD_BY_NAME = {
    "sequential_get": sequential_get,
    "pipelined_get": pipelined_get,
    "pipelined_create": pipelined_create,
    "multi_of_10": multi_of_10,
    "children_of_1000": children_of_1000,
    "watches_1000": watches_1000,
    "watches_200_clients": watches_200_clients,
    "idle_clients": idle_clients,
    "lock_uncontended": lock_uncontended,
    "lock_16_contenders": lock_16_contenders,
    "lock_16_clients": lock_16_clients,
    "lock_hand_off": lock_hand_off,
}


def main(given: argparse.Namespace) -> None:
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    client = a_client(given)
    try:
        WORKLOAD_BY_NAME[given.workload](client, given).print()
    finally:
        client.stop()
        client.close()


if __name__ == "__main__":
    main(arguments("kazoo"))

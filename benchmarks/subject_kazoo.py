"""kazoo does one work: threads, `*_async` calls with a sliding window where requests are pipelined."""

from __future__ import annotations

import argparse
import collections
import logging
import threading
import time

from kazoo.client import KazooClient

from benchmarks.measuring import Measured, arguments
from benchmarks.works import LOCK_PATH, READ_PATH


def sequential_get(client: KazooClient, given: argparse.Namespace) -> Measured:
    for _ in range(200):
        client.get(READ_PATH)
    measured = Measured(given.times)
    with measured.running():
        for _ in range(given.times):
            begun = time.perf_counter()
            client.get(READ_PATH)
            measured.samples.append(time.perf_counter() - begun)
    return measured


def pipelined_get(client: KazooClient, given: argparse.Namespace) -> Measured:
    def get_many(times: int) -> None:
        under_way: collections.deque[object] = collections.deque()
        for _ in range(times):
            if len(under_way) >= given.window:
                under_way.popleft().get()
            under_way.append(client.get_async(READ_PATH))
        while under_way:
            under_way.popleft().get()

    get_many(2 * given.window)
    measured = Measured(given.times)
    with measured.running():
        get_many(given.times)
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
    clients = [a_client(given) for _ in range(given.window)]
    try:
        return contend(clients, given)
    finally:
        for client in clients:
            client.stop()
            client.close()


def lock_hand_off(client: KazooClient, given: argparse.Namespace) -> Measured:
    return lock_16_clients(client, given)


def a_client(given: argparse.Namespace) -> KazooClient:
    client = KazooClient(given.connect, timeout=10.0)
    client.start(timeout=30)
    return client


def contend(clients: list[KazooClient], given: argparse.Namespace) -> Measured:
    """A thread for each; clients may be shared."""
    measured = Measured(given.times)

    def take_turns(client: KazooClient, times: int, name: str) -> None:
        lock = client.Lock(f"{LOCK_PATH}/kazoo-many", name)
        for _ in range(times):
            with lock:
                measured.is_in()
                measured.lets_go()

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


WORK_BY_NAME = {
    "sequential_get": sequential_get,
    "pipelined_get": pipelined_get,
    "lock_uncontended": lock_uncontended,
    "lock_16_contenders": lock_16_contenders,
    "lock_16_clients": lock_16_clients,
    "lock_hand_off": lock_hand_off,
}


def main(given: argparse.Namespace) -> None:
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    client = a_client(given)
    try:
        WORK_BY_NAME[given.work](client, given).print()
    finally:
        client.stop()
        client.close()


if __name__ == "__main__":
    main(arguments("kazoo"))

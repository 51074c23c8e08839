"""Run one workload with locks in aiozk, on asyncio."""

from __future__ import annotations

import argparse
import asyncio
import logging

from aiozk import ZKClient

from benchmarks.measuring import Measured, arguments
from benchmarks.workloads import LOCK_PATH


async def lock_uncontended(client: ZKClient, given: argparse.Namespace) -> Measured:
    return await contend([client], given, "alone")


async def lock_16_contenders(client: ZKClient, given: argparse.Namespace) -> Measured:
    return await contend([client] * given.window, given, "many")


async def lock_16_clients(_: ZKClient, given: argparse.Namespace) -> Measured:
    clients = [await a_client(given) for _ in range(given.window)]
    try:
        return await contend(clients, given, "many")
    finally:
        for client in clients:
            await client.close()


async def lock_hand_off(client: ZKClient, given: argparse.Namespace) -> Measured:
    return await lock_16_clients(client, given)


async def a_client(given: argparse.Namespace) -> ZKClient:
    client = ZKClient(given.connect, session_timeout=10.0)
    await client.start()
    return client


async def contend(clients: list[ZKClient], given: argparse.Namespace, name: str) -> Measured:
    """Let all clients (or tasks that share one) take the lock equally often."""
    measured = Measured(given.times)

    async def take_turns(client: ZKClient, times: int) -> None:
        lock = client.recipes.Lock(f"{LOCK_PATH}/aiozk-{name}")
        for _ in range(times):
            async with lock:
                measured.record_acquired()
                measured.record_release()

    async def all_take_turns(times: int) -> None:
        await asyncio.gather(*(take_turns(client, times // len(clients)) for client in clients))

    await all_take_turns(20 if len(clients) == 1 else 2 * len(clients))
    measured.samples.clear()
    with measured.running():
        await all_take_turns(given.times)
    return measured


WORKLOAD_BY_NAME = {
    "lock_uncontended": lock_uncontended,
    "lock_16_contenders": lock_16_contenders,
    "lock_16_clients": lock_16_clients,
    "lock_hand_off": lock_hand_off,
}


async def main(given: argparse.Namespace) -> None:
    logging.getLogger("aiozk").setLevel(logging.CRITICAL)
    client = await a_client(given)
    try:
        measured = await WORKLOAD_BY_NAME[given.workload](client, given)
    finally:
        await client.close()
    measured.print()


if __name__ == "__main__":
    asyncio.run(main(arguments("aiozk")))

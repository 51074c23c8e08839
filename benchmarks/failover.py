"""The time without an answer after the client's server was killed.

The clock runs from the SIGKILL to the next answer. Each client pauses 20 ms first, so that the dying server
cannot give that answer; this is the minimum. When the leader is killed, the time includes an election.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import defaultdict
from typing import Final

import anyio
import anyio.to_thread
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

import zkrecipes as zk
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer

FLOOR: Final = 0.02
SETTINGS: Final = {"forceSync": "no", "tickTime": 2000}


async def ours(victim: ApacheServer, others: str) -> float:
    """Return the seconds until zkrecipes has an answer."""
    async with zk.connect(victim.connect_string, session_timeout=10.0) as client:
        client.update_hosts(f"{victim.connect_string},{others}")
        await client.get("/")
        killed_at = time.perf_counter()
        victim.kill()
        await anyio.sleep(FLOOR)
        await client.get("/")
        return time.perf_counter() - killed_at


def kazoos(victim: ApacheServer, others: str) -> float:
    """Return the seconds until kazoo has an answer."""
    client = KazooClient(victim.connect_string, timeout=10.0)
    client.start(timeout=30)
    try:
        client.set_hosts(f"{victim.connect_string},{others}")
        client.get("/")
        killed_at = time.perf_counter()
        victim.kill()
        time.sleep(FLOOR)
        while True:
            try:
                client.retry(client.get, "/")
            except KazooException:
                time.sleep(0.001)
            else:
                return time.perf_counter() - killed_at
    finally:
        client.stop()
        client.close()


async def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds by killed server and by client."""
    for name in ("kazoo", "zkrecipes"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with ApacheEnsemble(size=3, settings=SETTINGS) as ensemble:
        for number in range(rounds):
            for role in ("follower", "leader"):
                for name in ("kazoo", "zkrecipes")[:: 1 if number % 2 else -1]:
                    await ensemble.heal()
                    leader = await ensemble.leader()
                    victim = leader if role == "leader" else (await ensemble.followers())[0]
                    others = ",".join(each.connect_string for each in ensemble.members if each is not victim)
                    if name == "kazoo":
                        seconds = await anyio.to_thread.run_sync(kazoos, victim, others)
                    else:
                        seconds = await ours(victim, others)
                    found[f"{role} killed"][name].append(seconds * 1000)
    return {
        what: {name: statistics.median(each) for name, each in by_name.items()}
        for what, by_name in found.items()
    }

"""Each block has a class of ours and gives the right type; awaiting or forgetting one is a mistake.

mypy and pyright check this file; nothing runs it. Each `type: ignore` marks a mistake that both must report.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type

import zkrecipes as zk


async def calls_that_are_entered(client: zk.Client) -> None:
    assert_type(zk.connect("h:2181"), zk.AsyncBlock[zk.Client])
    assert_type(zk.connect_from(zk.read_settings("a.toml"), read_only=True), zk.AsyncBlock[zk.Client])
    assert_type(client.watch("/a"), zk.AsyncBlock[zk.WatchEvents])
    assert_type(client.walk("/a"), zk.AsyncBlock[zk.Walk])
    assert_type(client.session_changes(), zk.AsyncBlock[zk.SessionChanges])
    assert_type(client.pipeline(), zk.AsyncBlock[zk.Pipeline])
    assert_type(client.transaction(), zk.AsyncBlock[zk.Transaction])
    assert_type(client.multi_read(), zk.AsyncBlock[zk.MultiRead])
    assert_type(
        client.stream([client.operations.get("/")]),
        zk.AsyncBlock[zk.Replies[zk.Node]],
    )
    async with zk.connect("h:2181", session_timeout=10.0) as entered:
        assert_type(entered, zk.Client)
    async with client.session_changes() as changes:
        assert_type(await anext(changes), zk.SessionChange)


async def forgotten_entering(client: zk.Client) -> None:
    await zk.connect("h:2181")  # type: ignore[misc]
    await zk.connect("h:2181").get("/a")  # type: ignore[attr-defined]
    await client.transaction()  # type: ignore[misc]
    async for _ in client.watch("/a"):  # type: ignore[attr-defined]
        pass
    zk.connect("h:2181", pasword="secret")  # type: ignore[call-arg]


async def holds(client: zk.Client) -> None:
    mutex = zk.Mutex(client, "/lock")
    async with mutex as hold:
        assert_type(hold, zk.Hold)
        assert_type(hold.fencing_token, int)
        assert_type(hold.transaction(), zk.AsyncBlock[zk.Transaction])
    async with mutex.acquire(wait=3.0) as hold:
        assert_type(hold, zk.Hold)
    election = zk.Election(client, "/leader")
    async with election.lead() as leadership:
        assert_type(leadership, zk.Hold)
    async with zk.MultiLock([mutex]) as holds:
        assert_type(holds, zk.MultiHold)
    async with zk.Semaphore(client, "/permits", limit=3) as permit:
        assert_type(permit, zk.Hold)


async def forgotten_entering_of_holds(client: zk.Client) -> None:
    mutex = zk.Mutex(client, "/lock")
    await mutex.acquire()  # type: ignore[misc]
    await mutex  # type: ignore[misc]
    await zk.Semaphore(client, "/permits", limit=3).acquire()  # type: ignore[misc]
    await zk.Election(client, "/leader").lead()  # type: ignore[misc]
    await zk.MultiLock([mutex]).acquire()  # type: ignore[misc]
    await zk.ReadWriteLock(client, "/rw").read()  # type: ignore[misc]
    await zk.ReadWriteLock(client, "/rw").write()  # type: ignore[misc]


async def layouts(client: zk.Client) -> None:
    zk.Mutex(client, "/lock", layout="curator")
    zk.Mutex(client, "/lock", layout="curater")  # type: ignore[arg-type]
    zk.Election(client, "/leader", layout="curator-latch")
    zk.Election(client, "/leader", layout="curator")  # type: ignore[arg-type]
    zk.ReadWriteLock(client, "/rw", layout="zkrecipes")  # type: ignore[arg-type]
    zk.Semaphore(client, "/permits", limit=3, layout="curator")
    zk.Semaphore(client, "/permits", limit=3, layout="curator-latch")  # type: ignore[arg-type]
    zk.Group(client, "/group", layout="kazoo")
    zk.Group(client, "/group", layout="curater")  # type: ignore[arg-type]


async def values(client: zk.Client) -> AsyncIterator[int]:
    numbers = zk.TypedClient(client, decode=int, encode=str)
    number, stat = await numbers.get("/n")
    assert_type(number, int)
    assert_type(stat, zk.Stat)
    yield number

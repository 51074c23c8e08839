"""Config against the dev server and Apache ZooKeeper: values, updates, trees, and sessions that end."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.apache.raw_session import end_session
from tests.apache.served import Served

pytestmark = pytest.mark.anyio

LIMIT = 40


def number(client: zk.Client, path: str) -> zk.ConfigWatch[int]:
    return zk.ConfigWatch(client, path, decode=int, default=-1)


def encode(value: int) -> bytes:
    return b"%d" % value


async def until(config: zk.ConfigWatch[int], value: int) -> None:
    with anyio.fail_after(LIMIT):
        async for each in config:
            if each == value:
                break


async def test_the_value_follows_the_znode(server: Served, fresh_path: str) -> None:
    path = f"{fresh_path}/config"
    async with (
        zk.connect(server.connect_string) as a,
        zk.connect(server.connect_string) as b,
        number(b, path) as config,
    ):
        assert (config.value, config.stat, config.error) == (-1, None, None)
        await a.create(path, b"1", make_parents=True)
        await until(config, 1)
        await a.set(path, b"bad")
        await a.set(path, b"2")
        await until(config, 2)
        await a.delete(path)
        await a.create(path, b"3")
        await until(config, 3)
        assert config.stat == (await a.get(path)).stat
        session = b.session
        await end_session(server.connect_string, session.id, session.password)
        with anyio.fail_after(LIMIT):
            await session.wait_closed()
        await a.set(path, b"4")
        await until(config, 4)
        await a.delete(path)
        await until(config, -1)


async def test_updates_of_several_clients_are_all_applied(server: Served, fresh_path: str) -> None:
    async with zk.connect(server.connect_string) as a, zk.connect(server.connect_string) as b:
        async with anyio.create_task_group() as tasks:

            async def count(client: zk.Client) -> None:
                for _ in range(10):
                    await number(client, fresh_path).update(lambda value: value + 1, encode=encode)

            for client in (a, b, a, b):
                tasks.start_soon(count, client)
        assert (await a.get(fresh_path)).data == b"39"


async def test_a_tree_is_never_a_mixture(server: Served, fresh_path: str) -> None:
    names = ["a", "b", "b/c", "b/c/d"]
    async with zk.connect(server.connect_string) as a, zk.connect(server.connect_string) as b:
        for name in ["", *names]:
            await a.create(f"{fresh_path}/{name}".rstrip("/"), b"0")
        tree = zk.ConfigTree(b, fresh_path)
        assert await tree.snapshot() == {"": b"0"} | dict.fromkeys(names, b"0")
        async with tree.changes() as changes, anyio.create_task_group() as tasks:

            async def write() -> None:
                for number in range(1, 51):
                    async with a.transaction() as tx:
                        for name in names:
                            tx.set(f"{fresh_path}/{name}", b"%d" % number)

            tasks.start_soon(write)
            with anyio.fail_after(LIMIT):
                async for change in changes:
                    seen = {change.values[name] for name in names}
                    assert len(seen) == 1
                    if seen == {b"50"}:
                        break
        assert await tree.snapshot() == {"": b"0"} | dict.fromkeys(names, b"50")

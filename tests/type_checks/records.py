"""The values in records have their types. mypy and pyright check this file; nothing runs it.

Each `type: ignore` marks a mistake that both must report; an unneeded one is also an error.
"""

from __future__ import annotations

from typing import assert_type

import zkrecipes as zk


async def results_unpack_with_their_types(client: zk.Client) -> None:
    data, stat = await client.get("/a")
    assert_type(data, bytes | None)
    assert_type(stat, zk.Stat)
    path, made = await client.create_with_stat("/a")
    assert_type(path, str)
    assert_type(made, zk.Stat)
    names, parent = await client.get_children_with_stat("/")
    assert_type(names, list[str])
    assert_type(parent, zk.Stat)
    entries, _ = await client.get_acl("/a")
    assert_type(entries, list[zk.ACL])
    assert_type(await client.exists("/a"), zk.Stat | None)
    assert_type(await client.whoami(), list[zk.Id])
    config, _ = await client.get_config()
    assert_type(config, bytes | None)


async def blocks_unpack_with_their_types(client: zk.Client) -> None:
    async with client.get_and_watch("/a") as ((data, stat), changed):
        assert_type(data, bytes | None)
        assert_type(stat, zk.Stat)
        assert_type(await changed.wait(), zk.WatchEvent)
    async with client.walk("/") as znodes:
        async for path, stat in znodes:
            assert_type(path, str)
            assert_type(stat, zk.Stat)
    async with client.pipeline() as pipe:
        pending = pipe.get("/a")
    data, stat = pending.result()
    assert_type(data, bytes | None)
    operations = client.operations
    async with client.stream(operations.get(path) for path in ["/a"]) as replies:
        async for reply in replies:
            data, stat = reply.result()
            assert_type(stat, zk.Stat)


def records_are_tuples_of_their_fields(node: zk.Node, stat: zk.Stat, entry: zk.ACL, who: zk.Id) -> None:
    assert_type(node[0], bytes | None)
    assert_type(node[1], zk.Stat)
    assert_type(node[-1].version, int)
    assert_type(node.data, bytes | None)
    assert_type(node.stat, zk.Stat)
    czxid, *_ = stat
    assert_type(czxid, int)
    assert_type(stat[4], int)
    assert_type(stat.ephemeral_owner, int)
    perms, about = entry
    assert_type(perms, int)
    assert_type(about, zk.Id)
    scheme, name = who
    assert_type(scheme, str)
    assert_type(name, str)
    match node:
        case zk.Node(data, zk.Stat(version=version)):
            assert_type(data, bytes | None)
            assert_type(version, int)


def records_are_made_of_their_fields(stat: zk.Stat) -> None:
    assert_type(zk.Node(b"data", stat), zk.Node)
    assert_type(zk.Node(data=None, stat=stat), zk.Node)
    assert_type(zk.ACL(zk.Perms.READ, zk.Id("world", "anyone")), zk.ACL)


async def mistakes_are_reported(client: zk.Client, stat: zk.Stat) -> None:
    data, found = await client.get("/a")
    _ = found.versoin  # type: ignore[attr-defined]
    _ = data.decode()  # type: ignore[union-attr]
    _one, _two, _three = await client.get("/a")  # type: ignore[misc]
    _ = stat[11]  # type: ignore[misc]
    stat.version = 1  # type: ignore[misc]
    zk.Node("text", stat)  # type: ignore[arg-type]
    zk.Id("digest")  # type: ignore[call-arg]

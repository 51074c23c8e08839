"""Whom a server takes a client for."""

from __future__ import annotations

import zkrecipes as zk


async def identities(client: zk.Client, path: str) -> list[zk.Id]:
    """Those that ACLs may name, found out with a znode at `path`: `whoami` is younger than most servers."""
    await client.create(path, ephemeral=True, acl=zk.CREATOR_ALL_ACL)
    entries, _ = await client.get_acl(path)
    await client.delete(path)
    return [entry.id for entry in entries]

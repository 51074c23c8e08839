"""The identities that a server sees in a client."""

from __future__ import annotations

import zkrecipes as zk


async def identities(client: zk.Client, path: str) -> list[zk.Id]:
    """Return the client's ids for ACLs, from a znode at `path`, because most servers have no `whoami`."""
    await client.create(path, ephemeral=True, acl=zk.CREATOR_ALL_ACL)
    entries, _ = await client.get_acl(path)
    await client.delete(path)
    return [entry.id for entry in entries]

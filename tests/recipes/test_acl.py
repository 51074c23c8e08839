"""The ACLs of a recipe's znodes: the client's default ACL, or another one for the members' znodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

MINE = [zk.ACL(zk.Perms.ALL, zk.digest_id("me", "secret"))]
TOP = "/app"
PATH = "/app/deep/here"

Use = Callable[[zk.Client], AbstractAsyncContextManager[Any]]


@asynccontextmanager
async def _gate(client: zk.Client, **options: Any) -> AsyncIterator[None]:
    await zk.Barrier(client, PATH, **options).create()
    yield


@asynccontextmanager
async def _read_lock(client: zk.Client, **options: Any) -> AsyncIterator[None]:
    async with zk.ReadWriteLock(client, PATH, **options).read():
        yield


MEMBERS: dict[str, Callable[..., AbstractAsyncContextManager[Any]]] = {
    "mutex": lambda client, **options: zk.Mutex(client, PATH, **options),
    "mutex of Curator": lambda client, **options: zk.Mutex(client, PATH, layout="curator", **options),
    "read lock": _read_lock,
    "semaphore": lambda client, **options: zk.Semaphore(client, PATH, limit=2, **options).acquire(),
    "semaphore of Curator": lambda client, **options: zk.Semaphore(
        client, PATH, limit=2, layout="curator", **options
    ).acquire(),
    "election": lambda client, **options: zk.Election(client, PATH, **options).lead(),
    "group": lambda client, **options: zk.Group(client, PATH, **options).join("me"),
    "persistent node": lambda client, **options: zk.PersistentNode(client, f"{PATH}/me", b"", **options),
    "double barrier": lambda client, **options: zk.DoubleBarrier(client, PATH, parties=1, **options),
}
USES: dict[str, Use] = {
    **MEMBERS,
    "multi lock": lambda client: zk.MultiLock([zk.Mutex(client, f"{PATH}/{name}") for name in "ab"]),
    "barrier": _gate,
    "barrier with an ACL": partial(_gate, acl=zk.CREATOR_ALL_ACL),
}


async def acls_below(client: zk.Client, path: str) -> dict[str, list[zk.ACL]]:
    """Return the ACL of every znode from `path` down."""
    found = {path: (await client.get_acl(path))[0]}
    for name in await client.get_children(path):
        found |= await acls_below(client, f"{path}/{name}")
    return found


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
async def test_every_znode_of_a_recipe_has_the_clients_default_acl(use: Use) -> None:
    async with (
        world() as there,
        there.connect("b") as other,
        there.connect("a", auth=[("digest", "me:secret")], default_acl=zk.CREATOR_ALL_ACL) as client,
        use(client),
    ):
        found = await acls_below(client, TOP)
        assert len(found) >= 3
        assert [path for path, acl in found.items() if acl != MINE] == []
        for path in found:
            with pytest.raises(zk.NoAuthError):
                await other.get(path)
            with pytest.raises(zk.NoAuthError):
                await other.create(f"{path}/mine")
        with pytest.raises(zk.NoAuthError):
            await other.delete(max(found, key=len))


@pytest.mark.parametrize("use", MEMBERS.values(), ids=MEMBERS.keys())
async def test_members_may_have_another_acl(use: Callable[..., Any]) -> None:
    """The znodes above them are for later clients as well, so they do not have this ACL."""
    theirs = [*zk.READ_ACL, zk.ACL(zk.Perms.ALL, zk.digest_id("me", "secret"))]
    async with world() as there, there.connect("a", auth=[("digest", "me:secret")]) as client:
        async with use(client, acl=theirs):
            found = await acls_below(client, TOP)
        assert found[TOP] == found["/app/deep"] == list(zk.OPEN_ACL)
        assert theirs in found.values()

"""Names that other servers allow and Apache's servers refuse do not break listing or deleting a directory."""

from __future__ import annotations

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.client.recipe_api import recipe_api

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

ODD = "🐂\t"


@pytest.fixture(autouse=True)
def server_that_allows_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zkrecipes.devserver.requests.writes.check_path", lambda path, **_: path)


async def plant(client: zk.Client, *paths: str, ephemeral: bool = False) -> None:
    api = recipe_api(client)
    for path in paths:
        creation = api.operations_for_listed.create(path, b"x", ephemeral=ephemeral)
        await api.submit(creation).wait()


async def test_a_walk_visits_them() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client, "/a", f"/a/{ODD}", f"/a/{ODD}/b")
        async with client.walk("/a") as walk:
            assert [each.path async for each in walk] == ["/a", f"/a/{ODD}", f"/a/{ODD}/b"]


async def test_a_recursive_deletion_deletes_them() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client, "/a", f"/a/{ODD}", f"/a/{ODD}/b")
        await client.delete("/a", recursive=True)
        assert there.znodes() == set()


async def test_a_group_shows_them_as_members() -> None:
    async with world() as there, there.connect("a") as client:
        group = zk.Group(client, "/group")
        async with group.join("w", b"1"), group.changes() as changes:
            await plant(client, f"/group/{ODD}", ephemeral=True)
            assert await group.members() == {"w": b"1", ODD: b"x"}
            while ODD not in (await anext(changes)).members:
                pass


async def test_a_tree_of_configuration_holds_them() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client, "/a", f"/a/{ODD}", f"/a/{ODD}/b")
        tree = zk.ConfigTree(client, "/a")
        whole = {"": b"x", ODD: b"x", f"{ODD}/b": b"x"}
        assert await tree.snapshot() == whole
        async with tree.changes() as changes:
            assert dict((await anext(changes)).values) == whole


async def test_our_own_calls_refuse_them_before_anything_is_sent() -> None:
    async with world() as there, there.connect("a") as client:
        before = len(there.requests)
        for call in (client.get, client.delete, client.create, client.get_children):
            with pytest.raises(ValueError, match="ZooKeeper forbids this character"):
                await call(f"/a/{ODD}")
        with pytest.raises(ValueError, match="ZooKeeper forbids this character"):
            await client.delete(f"/a/{ODD}", recursive=True)
        assert len(there.requests) == before

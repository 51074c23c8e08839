"""Many one-shot watches with one owner."""

from __future__ import annotations

import gc

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import ClientLeftovers, virtual_time, world
from zkrecipes.client.recipe_api import ChangedPaths, RecipeApi, recipe_api
from zkrecipes.net.pending import PendingRequest

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATHS = ["/a", "/b", "/c"]


async def watch(api: RecipeApi, changed: ChangedPaths, *paths: str) -> None:
    pending = [changed.submit(api.operations.exists(path, watch=True)) for path in paths]
    for each in pending:
        await each.wait()


def has_news(changed: ChangedPaths) -> bool:
    """In a function, as a type checker takes a property for a constant."""
    return changed.has_news


async def test_each_changed_path_is_reported_once() -> None:
    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        async with api.changed_paths() as changed:
            await watch(api, changed, *PATHS)
            assert not has_news(changed)
            await client.create("/a")
            await watch(api, changed, "/a")
            await client.delete("/a")
            await client.create("/c")
            assert has_news(changed)
            assert sorted(await changed.wait()) == ["/a", "/c"]
            assert not has_news(changed)


async def test_paths_are_those_that_the_client_sees() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/team")
        view = client.chroot("/team")
        api = recipe_api(view)
        async with api.changed_paths() as changed:
            await watch(api, changed, "/a")
            await view.create("/a")
            assert await changed.wait() == ["/a"]


async def test_answers_are_not_kept_however_many_watches_are_set_before_a_wait() -> None:
    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        async with api.changed_paths() as changed:
            for number in range(3000):
                await watch(api, changed, f"/{number}")
            gc.collect()
            assert sum(isinstance(each, PendingRequest) for each in gc.get_objects()) <= 1500


async def test_a_cancelled_wait_takes_nothing() -> None:
    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        async with api.changed_paths() as changed:
            await watch(api, changed, "/a")
            with anyio.move_on_after(1) as scope:
                await changed.wait()
            assert scope.cancelled_caught
            await client.create("/a")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await changed.wait()
            assert await changed.wait() == ["/a"]


async def test_a_reconnect_is_nothing_and_the_end_of_the_session_is_all() -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        api = recipe_api(client)
        async with api.changed_paths() as changed:
            await watch(api, changed, *PATHS)
            there.network.refuse(source="a")
            there.network.reset(source="a")
            await other.create("/b")
            there.network.heal()
            assert await changed.wait() == ["/b"]
            there.server.expire(client.session.id)
            for _ in range(2):
                with pytest.raises(zk.SessionExpiredError):
                    await changed.wait()
            assert changed.is_over
            assert changed.has_news


async def test_leaving_removes_what_is_set_and_what_is_about_to_be() -> None:
    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        before = ClientLeftovers.of(there, client)
        async with api.changed_paths() as changed:
            await watch(api, changed, "/a")
            held = there.server.faults.hold_replies()
            changed.submit(api.operations.exists("/b", watch=True))
            await anyio.sleep(0.5)
            # one that is on its way, and one that is not sent yet
            changed.submit(api.operations.exists("/c", watch=True))
        held.release()
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, client) == before

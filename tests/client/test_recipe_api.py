"""The interface of a client to its recipes."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, virtual_time, world
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def test_requests_are_submitted_now_and_awaited_later() -> None:
    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        create = api.submit(api.operations.create("/n", b"1"))
        get = api.submit(api.operations.get("/n"))
        assert (await get.wait()).data == b"1"
        assert create.is_done
        stat = await client.exists("/n")
        assert stat is not None
        assert create.zxid == stat.czxid


async def test_a_view_has_a_recipe_api_of_its_own() -> None:
    async with world() as there, there.connect("a") as client:
        await client.ensure_path("/app")
        api = recipe_api(client.chroot("/app"))
        assert await api.submit(api.operations.create("/n")).wait() == "/n"
        assert "/app/n" in there.znodes()
        assert api.session is client.session
        assert not api.is_over


async def test_an_errand_is_sent_again_until_it_is_answered() -> None:
    """Case 30."""
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        fault = there.server.faults.drop_request(OpCode.DELETE, times=5)
        api = recipe_api(client)
        errand = api.submit(api.operations.delete("/n"), is_idempotent=True)
        await errand.wait()
        assert fault.times_used == 5
        assert there.znodes() == set()


async def test_an_idempotent_request_continues_after_the_wait_for_it_ends() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        there.network.cut()
        api = recipe_api(client)
        errand = api.submit(api.operations.delete("/n"), is_idempotent=True)
        start = anyio.current_time()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await api.clean_up_after(errand, lambda: None)
        assert anyio.current_time() - start == pytest.approx(TIMEOUT / 8)
        assert not errand.is_done
        there.network.heal()
        await errand.wait()
        assert there.znodes() == set()


async def test_an_idempotent_request_ends_with_its_session() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        await there.server.refuse()
        there.server.drop_connections()
        await anyio.sleep(0.01)
        there.server.expire(client.session.id)
        api = recipe_api(client)
        errand = api.submit(api.operations.delete("/n"), is_idempotent=True)
        await there.server.accept()
        with pytest.raises(zk.SessionExpiredError):
            await errand.wait()
        assert await client.exists("/n") is not None


async def test_an_answered_idempotent_request_is_done() -> None:
    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        errand = api.submit(api.operations.delete("/missing"), is_idempotent=True)
        await api.clean_up_after(errand, lambda: None)
        await api.clean_up_after(errand, lambda: None)
        assert isinstance(errand.error, zk.NoNodeError)


async def test_a_guard_of_a_session_that_is_over_is_lost() -> None:
    async with world() as there, there.connect("a") as client:
        api, old = recipe_api(client), client.session
        there.server.expire(old.id)
        await old.wait_closed()
        assert api.guard("/n", old).loss_reason() == "its session is over"


async def test_what_follows_a_change_goes_ahead_of_what_its_maker_does_next() -> None:
    """A server answers a session in order, and a write only when it is committed."""
    async with world() as there, there.connect("a") as client:
        await client.create("/queue/first", make_parents=True)
        api = recipe_api(client)
        async with api.read_when_changed(api.operations.get_children("/queue")) as triggered:
            await triggered.submit(api.operations.get("/queue/first", watch=True)).wait()
            async with anyio.create_task_group() as tasks:

                async def leave_and_come_back() -> None:
                    await client.delete("/queue/first")
                    await client.create("/queue/last")

                del there.requests[:]
                tasks.start_soon(leave_and_come_back)
                assert await triggered.wait() == []
        kinds = [type(seen.request).__name__ for seen in there.requests]
        assert kinds == ["DeleteRequest", "GetChildrenRequest", "CreateRequest"]
        assert not there.server.processor.watches


async def test_a_change_that_is_no_longer_waited_for_leaves_no_watch() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        api = recipe_api(client)
        with anyio.move_on_after(1):
            async with api.read_when_changed(api.operations.get_children("/")) as triggered:
                await triggered.submit(api.operations.get("/n", watch=True)).wait()
                await triggered.wait()
        await anyio.sleep(1)
        assert not there.server.processor.watches


async def test_what_would_follow_ends_with_the_session() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        api = recipe_api(client)
        async with api.read_when_changed(api.operations.get_children("/")) as triggered:
            await triggered.submit(api.operations.get("/n", watch=True)).wait()
            there.server.expire(client.session.id)
            with pytest.raises(zk.SessionExpiredError):
                await triggered.wait()

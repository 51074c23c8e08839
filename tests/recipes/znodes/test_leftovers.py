"""A client that has resumed a session does not wait for what an earlier client left in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, ReceivedRequest, Refusal, World, refusing, virtual_time, world
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

GUID = "0123456789abcdef" * 2
DASHED = "01234567-89ab-cdef-0123-456789abcdef"

Left = tuple[str, bool]
"""A path, and whether the server appends a number."""
Enter = Callable[[zk.Client], Any]

RECIPES: dict[str, tuple[Enter, list[Left]]] = {
    "mutex": (lambda client: zk.Mutex(client, "/d"), [(f"/d/{GUID}__lock__", True)]),
    "mutex, curator": (
        lambda client: zk.Mutex(client, "/d", layout="curator"),
        [(f"/d/_c_{DASHED}-lock-", True)],
    ),
    "writers": (
        lambda client: zk.ReadWriteLock(client, "/d").write(),
        [(f"/d/{GUID}__rlock__", True), (f"/d/{GUID}__lock__", True)],
    ),
    "election": (lambda client: zk.Election(client, "/d").lead(), [(f"/d/{GUID}__lock__", True)]),
    "semaphore": (
        lambda client: zk.Semaphore(client, "/d", limit=1),
        [(f"/d/{GUID}", False), (f"/d-__lock__/{GUID}__lock__", True)],
    ),
    "semaphore, curator": (
        lambda client: zk.Semaphore(client, "/d", limit=1, layout="curator"),
        [(f"/d/leases/_c_{DASHED}-lease-", True), (f"/d/locks/_c_{DASHED}-lock-", True)],
    ),
}
each_recipe = pytest.mark.parametrize(("enter", "left"), RECIPES.values(), ids=RECIPES)


async def _leave_behind(client: zk.Client, left: list[Left]) -> None:
    for path, sequential in left:
        await client.ensure_path(path.rpartition("/")[0])
        await client.create(path, b"crashed", ephemeral=True, sequential=sequential)


@asynccontextmanager
async def _resumed(there: World, left: list[Left]) -> AsyncIterator[zk.Client]:
    """A client that continues the session of another client, which left these znodes behind."""
    async with there.connect("a", keep_session=True) as first:
        await _leave_behind(first, left)
        key = first.session.key
    async with there.connect("b", resume=key) as client:
        assert client.session.id == key.id
        yield client


@each_recipe
async def test_leftovers_are_removed(enter: Enter, left: list[Left]) -> None:
    async with world() as there, _resumed(there, left) as client:
        with anyio.fail_after(1):
            async with enter(client):
                pass
        assert not [path for path in there.znodes() if GUID in path or DASHED in path]


@each_recipe
async def test_znodes_of_other_sessions_are_waited_for(enter: Enter, left: list[Left]) -> None:
    async with world() as there, there.connect("other") as other:
        await _leave_behind(other, left)
        before = {path for path in there.znodes() if GUID in path or DASHED in path}
        async with _resumed(there, []) as client:
            with anyio.move_on_after(2 * TIMEOUT):
                async with enter(client):
                    raise AssertionError("two holders")
            assert before <= there.znodes()


@each_recipe
async def test_younger_znodes_of_the_session_stay(enter: Enter, left: list[Left]) -> None:
    async with world() as there, _resumed(there, []) as client:
        await _leave_behind(client, left)
        before = there.znodes()
        with anyio.move_on_after(2 * TIMEOUT):
            async with enter(client):
                raise AssertionError("two holders")
        assert before <= there.znodes()


@each_recipe
async def test_a_younger_znode_of_the_same_session_is_waited_for(enter: Enter, left: list[Left]) -> None:
    """Two tasks of one client contend as usual, in either order after the resumption."""
    entered: list[str] = []
    async with world() as there, _resumed(there, left) as client:

        async def hold(name: str) -> None:
            async with enter(client):
                entered.append(name)
                await anyio.sleep(2 * TIMEOUT)
                assert entered[-1] == name

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, "first")
            await anyio.sleep(1)
            tasks.start_soon(hold, "second")
    assert entered == ["first", "second"]


async def test_a_membership_is_taken_over() -> None:
    async with world() as there, _resumed(there, [("/g/worker-7", False)]) as client:
        created = (await client.get("/g/worker-7")).stat.czxid
        with anyio.fail_after(1):
            async with zk.Group(client, "/g").join("worker-7", b"back"):
                data, stat = await client.get("/g/worker-7")
                assert (data, stat.czxid) == (b"back", created)
        assert there.znodes() == {"/g"}


async def test_a_membership_is_taken_over_only_once() -> None:
    """Two members of one client and one name stay two."""
    async with (
        world() as there,
        _resumed(there, [("/g/worker-7", False)]) as client,
        zk.Group(client, "/g").join("worker-7", b"first"),
    ):
        with anyio.move_on_after(2 * TIMEOUT):
            async with zk.Group(client, "/g").join("worker-7", b"second"):
                raise AssertionError("two members")
        assert (await client.get("/g/worker-7")).data == b"first"


async def test_a_membership_that_may_not_be_written_is_an_error_and_is_removed() -> None:
    async with world() as there:
        async with there.connect("a", keep_session=True) as first:
            await first.create("/g")
            await first.create("/g/worker-7", ephemeral=True, acl=zk.READ_ACL)
            key = first.session.key
        async with there.connect("b", resume=key) as client:
            with pytest.raises(zk.NoAuthError):
                async with zk.Group(client, "/g").join("worker-7", b"back"):
                    raise AssertionError("inside")
            assert there.znodes() == {"/g"}


async def test_a_delete_that_was_not_sent_before_the_client_ended_is_sent_later() -> None:
    async with world() as there:
        async with there.connect("a", keep_session=True) as first:
            async with zk.Mutex(first, "/m"):
                there.network.cut(source="a")
                there.network.reset(source="a")
            key = first.session.key
        async with there.connect("b", resume=key) as client:
            with anyio.fail_after(1):
                async with zk.Mutex(client, "/m"):
                    pass
        assert there.znodes() == {"/m"}


async def test_a_resumption_is_noted_through_transient_answers() -> None:
    async with world() as there:
        async with there.connect("a", keep_session=True) as first:
            await _leave_behind(first, [(f"/d/{GUID}__lock__", True)])
            key = first.session.key
        refusals = [Refusal(code, is_applied=False) for code in (-127, -7, -122)]

        def choose(seen: ReceivedRequest) -> Refusal | None:
            return refusals.pop() if seen.opcode == OpCode.MULTI and refusals else None

        with refusing(there, key.id, choose):
            async with there.connect("b", resume=key) as client, zk.Mutex(client, "/d"):
                assert not refusals

"""A directory that permits CREATE and not DELETE is reported before a contender queues up there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, World, virtual_time, world
from zkrecipes import acl
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

NO_DELETE = [zk.ACL(zk.Perms.ALL & ~zk.Perms.DELETE, zk.ANYONE_ID)]

Enter = Callable[[zk.Client], AbstractAsyncContextManager[Any, Any]]

RECIPES: dict[str, Enter] = {
    "mutex": lambda client: zk.Mutex(client, "/d"),
    "mutex, curator": lambda client: zk.Mutex(client, "/d", layout="curator"),
    "readers": lambda client: zk.ReadWriteLock(client, "/d").read(),
    "writers": lambda client: zk.ReadWriteLock(client, "/d").write(),
    "election": lambda client: zk.Election(client, "/d").lead(),
    "several locks": lambda client: zk.MultiLock([zk.Mutex(client, "/ok"), zk.Mutex(client, "/d")]),
    "semaphore": lambda client: zk.Semaphore(client, "/d", limit=1),
    "semaphore, curator": lambda client: zk.Semaphore(client, "/s", limit=1, layout="curator"),
    "member": lambda client: zk.Group(client, "/d").join("a"),
    "member, kazoo": lambda client: zk.Group(client, "/d", layout="kazoo").join("a"),
    "persistent node": lambda client: zk.PersistentNode(client, "/d/a"),
}
DIRECTORIES = ("/d", "/d-__lock__", "/s", "/s/leases", "/s/locks")
LAST_ONES = ("/d", "/s/leases")
"""The directory of the held znodes, not the one in which a semaphore's contenders queue up."""
STAYS = {*DIRECTORIES, "/ok"}

each_recipe = pytest.mark.parametrize("enter", RECIPES.values(), ids=RECIPES)


@asynccontextmanager
async def _two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("admin") as admin:
        for path in DIRECTORIES:
            await admin.create(path)
        yield there, client, admin


@each_recipe
@pytest.mark.parametrize("refusing", [DIRECTORIES, LAST_ONES], ids=["each directory", "the last one"])
async def test_it_is_reported_on_entering_and_nothing_is_left(
    enter: Enter, refusing: tuple[str, ...]
) -> None:
    async with _two_clients() as (there, client, admin):
        for path in refusing:
            await admin.set_acl(path, NO_DELETE)
        with pytest.raises(zk.NoAuthError, match="must permit DELETE") as caught:
            async with enter(client):
                raise AssertionError("inside")
        assert caught.value.path in refusing
        assert there.znodes() <= STAYS


@each_recipe
async def test_each_directory_is_probed_once_in_a_session(enter: Enter) -> None:
    async with _two_clients() as (there, client, _):
        async with enter(client):
            pass
        probes = _probes(there)
        assert probes > 0
        async with enter(client):
            pass
        assert _probes(there) == probes
        session = client.session
        there.server.expire(session.id)
        await session.wait_closed()
        async with enter(client):
            pass
        assert _probes(there) == 2 * probes


def _probes(there: World) -> int:
    """Count the transactions that create and delete a probe's znode."""
    return sum("/probe-" in str(seen.request) for seen in there.requests if seen.opcode == OpCode.MULTI)


async def test_the_probe_costs_no_round_trip() -> None:
    """The request for the list is sent before the transaction is answered."""
    async with _two_clients() as (there, client, _):
        held = there.server.faults.hold_replies(session_id=client.session.id)
        there.before_request = lambda seen: held.release() if seen.opcode == OpCode.GET_CHILDREN else None
        async with zk.Mutex(client, "/d"):
            pass


async def test_a_directory_that_the_client_creates_is_known_to_permit_it() -> None:
    async with world() as there, there.connect("a") as client:
        async with zk.Mutex(client, "/new"):
            pass
        assert _probes(there) == 1  # the probe of the first try, which finds no directory


async def test_a_directory_with_another_default_acl_is_probed() -> None:
    alice = ("digest", "alice:secret")
    async with world() as there, there.connect("a", auth=[alice], default_acl=zk.CREATOR_ALL_ACL) as client:
        async with zk.Mutex(client, "/new"):
            pass
        assert _probes(there) == 2
        async with there.connect("b") as other:
            with pytest.raises(zk.NoAuthError, match="/new"):
                async with zk.Mutex(other, "/new"):
                    pass


@each_recipe
async def test_after_a_refused_delete_the_directory_is_probed_again(enter: Enter) -> None:
    """The ACL has changed in the block. The znode stays, and a second one behind it would wait for it."""
    async with _two_clients() as (there, client, admin):
        with pytest.raises(zk.NoAuthError):  # noqa: PT012
            async with enter(client):
                for path in LAST_ONES:
                    await admin.set_acl(path, NO_DELETE)
        left = there.znodes() - STAYS
        assert left
        with pytest.raises(zk.NoAuthError):
            async with enter(client):
                raise AssertionError("inside")
        assert there.znodes() - STAYS == left


@each_recipe
async def test_a_znode_that_a_refusal_left_is_removed_once_the_acl_permits_it(enter: Enter) -> None:
    """The next contender of the same session would wait for that znode for ever."""
    async with _two_clients() as (there, client, admin):
        with pytest.raises(zk.NoAuthError):  # noqa: PT012
            async with enter(client):
                for path in LAST_ONES:
                    await admin.set_acl(path, NO_DELETE)
        for path in LAST_ONES:
            await admin.set_acl(path, acl.OPEN_ACL)
        with anyio.fail_after(TIMEOUT):
            async with enter(client):
                pass
        assert there.znodes() <= STAYS

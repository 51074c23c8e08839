"""Unexpected children of a mutex's directory: foreign contenders block, all others are ignored."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import World, virtual_time, world
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.recipes.locking.lock_layouts import MUTEXES, LockLayoutName
from zkrecipes.recipes.locking.queue_order import QueuedName, QueueOrder, in_order
from zkrecipes.recipes.znodes import unexpected_children

anyio_backend = virtual_time()

DIRECTORY = "/locks/job"
HEX = "0123456789abcdef0123456789abcdef"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"
THEIRS = {"kazoo": f"_c_{DASHED}-lock-", "curator": f"{HEX}__lock__"}
"""The prefixes of the foreign contenders, by our layout."""

LAYOUTS = pytest.mark.parametrize("layout", ["kazoo", "curator"])


@asynccontextmanager
async def _two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        await client.ensure_path(DIRECTORY)
        yield there, client, other


async def _join(client: zk.Client, name: str) -> str:
    return await client.create(f"{DIRECTORY}/{name}", b"theirs", ephemeral=True, sequential=True)


def _log(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == unexpected_children.logger.name]


@LAYOUTS
def test_foreign_and_our_sequence_numbers_are_of_one_counter(layout: LockLayoutName) -> None:
    ours, theirs = MUTEXES[layout].prefix("a" * 32), THEIRS[layout]
    top, bottom = 2**31 - 1, -(2**31)
    names = [f"{ours}{top - 1:010d}", f"{theirs}{top:010d}", f"{ours}{bottom:010d}", f"{theirs}-000000001"]
    assert [each.name for each in in_order(reversed(names), MUTEXES[layout])] == names
    before = [QueueOrder(names, MUTEXES[layout]).before(name, MUTEXES[layout]) for name in names]
    assert before == [None, *names[:-1]]


@pytest.mark.parametrize(
    "name",
    [
        "clock-0000000001",
        "lock-0000000001",
        f"lock-{HEX}-0000000001",
        f"_c_{DASHED}-latch-0000000001",
        f"_c_{DASHED}-__WRIT__0000000001",
        f"_c_{DASHED}-lock-",
        f"x-{2**60}-0000000001",
        f"{HEX}__rlock__0000000001",
    ],
)
def test_a_name_that_only_resembles_a_contender_is_ignored(name: str) -> None:
    own = f"{HEX}__lock__0000000002"
    assert in_order([name, own], MUTEXES["kazoo"]) == [QueuedName(own, 2, "__lock__")]


def test_names_of_the_go_client_are_curators() -> None:
    own = f"{HEX}__lock__0000000002"
    order = QueueOrder([own, f"_c_{HEX}-lock-0000000001"], MUTEXES["kazoo"])
    assert order.before(own, MUTEXES["kazoo"]) is not None


@LAYOUTS
@pytest.mark.anyio
async def test_a_foreign_contender_that_came_first_is_waited_for(
    layout: LockLayoutName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with _two_clients() as (_, client, other):
        mutex = zk.Mutex(client, DIRECTORY, layout=layout)
        theirs = await _join(other, THEIRS[layout])
        for _ in range(3):
            with pytest.raises(zk.AcquireTimeoutError):
                await mutex.acquire(wait=0).__aenter__()
        (line,) = _log(caplog)  # logged once, with its name
        assert theirs.rpartition("/")[2] in line
        assert DIRECTORY in line
        assert "all contenders on a path must use the same layout" in line
        held_at = []

        async def hold() -> None:
            async with mutex:
                held_at.append(anyio.current_time())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await anyio.sleep(5)
            assert held_at == []
            assert (await mutex.contenders())[0].path == theirs
            await other.delete(theirs)
        assert len(held_at) == 1
        await _join(other, THEIRS[layout])
        with pytest.raises(zk.AcquireTimeoutError):
            await mutex.acquire(wait=0).__aenter__()
        assert len(_log(caplog)) == 1


@LAYOUTS
@pytest.mark.anyio
async def test_a_later_foreign_contender_is_not_waited_for(layout: LockLayoutName) -> None:
    """A client that waits for both kinds would wait for us: both would wait for ever."""
    async with _two_clients() as (_, client, other):
        mutex, waiting = (zk.Mutex(client, DIRECTORY, layout=layout) for _ in range(2))
        got = anyio.Event()

        async def wait() -> None:
            async with waiting:
                got.set()

        async with anyio.create_task_group() as tasks:
            async with mutex:
                tasks.start_soon(wait)
                await anyio.sleep(1)
                await _join(other, THEIRS[layout])
            with anyio.fail_after(1):
                await got.wait()


@pytest.mark.anyio
async def test_unexpected_children_are_ignored_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Case 78."""
    caplog.set_level(logging.WARNING)
    async with _two_clients() as (_, client, _other):
        names = ["0", "readme", f"{HEX}__rlock__0000000000", "lock-0000000003"]
        for name in names:
            await client.create(f"{DIRECTORY}/{name}")
        for _ in range(3):
            async with zk.Mutex(client, DIRECTORY).acquire(wait=0):
                pass
            view = client.chroot("/locks")
            async with zk.Mutex(view, "/job").acquire(wait=0):
                pass
        (line,) = _log(caplog)
        assert all(repr(name) in line for name in names)
        await client.create(f"{DIRECTORY}/late")
        async with zk.Mutex(client, DIRECTORY):
            pass
        assert _log(caplog)[1:] == [
            f"{DIRECTORY} has unexpected children (not contenders, and ignored): 'late'"
        ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{HEX}__rlock__0000000000", "a read-write lock's"),
        (f"_c_{DASHED}-__WRIT__-2147483648", "a read-write lock's"),
        (f"_c_{DASHED}-latch-0000000001", "an election's"),
        (HEX, "a semaphore's"),
        (f"_c_{DASHED}-lease-0000000001", "a semaphore's"),
        (f"{HEX}__party__", "a party's"),
        (DASHED, "a double barrier's"),
    ],
)
@pytest.mark.anyio
async def test_the_znode_of_another_recipe_is_logged_with_its_recipe(
    name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two recipes on one path are a mistake that no other log line would show."""
    caplog.set_level(logging.WARNING)
    async with _two_clients() as (_, client, _other):
        await client.create(f"{DIRECTORY}/{name}")
        async with zk.Mutex(client, DIRECTORY).acquire(wait=0):
            pass
    assert _log(caplog) == [
        f"{DIRECTORY} has unexpected children (not contenders, and ignored): {name!r} ({kind})"
    ]


@pytest.mark.anyio
async def test_many_unexpected_children_fill_neither_the_log_nor_the_memory(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(unexpected_children, "_REPORTED_MAX", 10)
    async with _two_clients() as (_, client, _other):
        unexpected_children.log_unexpected_children(client, DIRECTORY, map(str, range(20)), MUTEXES["kazoo"])
        (line,) = _log(caplog)
        assert line.endswith("'0', '1', '2', '3', '4' and 15 more")
        assert len(unexpected_children._reported[recipe_api(client).root]) <= 10  # noqa: SLF001

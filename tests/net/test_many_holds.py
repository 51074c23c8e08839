"""One more hold costs the same with few other holds as with many, and all are checked in parts; exact
figures."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, World, virtual_time, world
from zkrecipes.acl import CREATOR_ALL_ACL
from zkrecipes.codec.messages import CheckRequest
from zkrecipes.codec.multi import MultiRequest
from zkrecipes.protocol.hold_checks import PART_SIZE_MAX

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

EIGHTH = TIMEOUT / 8
SIXTEENTH = TIMEOUT / 16
MANY = 120


def _checks(there: World) -> list[list[str]]:
    """The paths of each check that the server has received."""
    named = []
    for seen in there.requests:
        operations = seen.request.operations if isinstance(seen.request, MultiRequest) else ()
        paths = [each.path for each in operations if isinstance(each, CheckRequest) and each.path != "/"]
        if operations and len(paths) == len(operations):
            named.append(paths)
    return named


async def _hold(stack: AsyncExitStack, client: zk.Client, count: int) -> list[zk.Hold]:
    return [
        await stack.enter_async_context(zk.Mutex(client, f"/held/{number:04}")) for number in range(count)
    ]


def _lock(client: zk.Client, kind: str) -> Any:
    if kind == "semaphore":
        return zk.Semaphore(client, "/one-more", limit=3)
    acl = CREATOR_ALL_ACL if kind == "of its creator" else None
    return zk.Mutex(client, "/one-more", acl=acl)


@pytest.mark.parametrize("kind", ["semaphore", "mutex", "of its creator"])
async def test_one_more_hold_costs_the_same_beside_many(kind: str) -> None:
    sent: dict[int, list[int]] = {}
    named: dict[int, list[int]] = {}
    for count in (1, MANY):
        async with world() as there, there.connect("a", auth=[("digest", "a:b")]) as client:
            async with AsyncExitStack() as stack:
                await _hold(stack, client, count)
                async with _lock(client, kind):
                    pass  # this creates the directory, for example
                sent[count], named[count] = [], []
                # once just after a write of the session, and once after a long time with checks only
                for idle in (0.0, 2 * TIMEOUT + SIXTEENTH / 2):
                    await anyio.sleep(idle)
                    del there.requests[:]
                    before = client.stats().bytes_sent
                    async with _lock(client, kind):
                        sent[count].append(client.stats().bytes_sent - before)
                        named[count].append(sum(map(len, _checks(there))))
    assert sent[1] == sent[MANY]
    assert named[1] == named[MANY]
    assert max(named[1]) <= (0 if kind == "mutex" else 1)


@pytest.mark.parametrize(("count", "names"), [(0, 2), (MANY, 0)])
async def test_a_turn_after_a_long_wait_costs_no_check_of_other_holds(count: int, names: int) -> None:
    """The rounds of other holds have proven the session; a lone hold needs a write before the proof."""
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        async with AsyncExitStack() as stack:
            await _hold(stack, client, count)
            async with anyio.create_task_group() as tasks:

                async def wait_and_hold() -> None:
                    async with zk.Mutex(client, "/one-more") as hold:
                        assert _checks(there) == names * [[hold.path]]

                async with zk.Mutex(other, "/one-more"):
                    tasks.start_soon(wait_and_hold)
                    await anyio.sleep(2 * TIMEOUT + SIXTEENTH / 2)
                    del there.requests[:]


async def test_a_confirm_names_one_znode() -> None:
    async with world() as there, there.connect("a") as client:
        async with AsyncExitStack() as stack:
            holds = await _hold(stack, client, MANY)
            await anyio.sleep(SIXTEENTH / 2)
            del there.requests[:]
            await holds[7].confirm()
            assert _checks(there) == [[holds[7].path]]


async def test_one_alarm_ends_all_bodies_together() -> None:
    cancelled_at: list[float] = []
    valid_until: list[float] = []
    async with world() as there, there.connect("a") as client:

        async def hold(number: int) -> None:
            with pytest.raises(zk.LockLostError, match="could not be proven alive"):
                async with zk.Mutex(client, f"/held/{number}") as held:
                    try:
                        await anyio.sleep_forever()
                    finally:
                        cancelled_at.append(anyio.current_time())
                        valid_until.append(held.valid_until)

        async with anyio.create_task_group() as tasks:
            for number in range(MANY):
                tasks.start_soon(hold, number)
            await anyio.sleep(TIMEOUT)
            there.network.cut(source="a")
            await anyio.sleep(TIMEOUT)
            assert len(cancelled_at) == MANY
            assert len(set(cancelled_at)) == len(set(valid_until)) == 1
            assert valid_until[0] - cancelled_at[0] == pytest.approx(EIGHTH, abs=1e-6)
            there.network.heal(source="a")
        # and the next hold has an alarm again
        await anyio.sleep(2 * TIMEOUT)
        with pytest.raises(zk.LockLostError, match="could not be proven alive"):
            async with zk.Mutex(client, "/again"):
                there.network.cut(source="a")
                await anyio.sleep_forever()
        there.network.heal(source="a")


async def test_holds_beyond_one_part_are_checked_in_several_and_each_loss_is_found() -> None:
    long = "/" + "x" * 2000
    count = 3 * PART_SIZE_MAX // 2000
    async with world() as there, there.connect("a") as client, there.connect("admin") as admin:
        async with AsyncExitStack() as stack:
            holds = [
                await stack.enter_async_context(zk.Mutex(client, f"{long}/{number:03}"))
                for number in range(count)
            ]
            await anyio.sleep(TIMEOUT)
            del there.requests[:]
            await anyio.sleep(SIXTEENTH)
            parts = _checks(there)
            assert [path for part in parts for path in part] == [hold.path for hold in holds]
            assert len(parts) == 4
            for index in (0, count // 2, count - 1):
                with pytest.raises(zk.LockLostError, match="its znode was deleted"):
                    async with zk.Mutex(client, "/lost") as lost, zk.Mutex(client, f"/lost/{index}"):
                        await admin.delete(lost.path)
                        await anyio.sleep(SIXTEENTH + 0.1)
                        lost.check()
            await anyio.sleep(TIMEOUT)
            for hold in holds:
                hold.check()

"""Every recipe, with each of its requests answered by each error code, once applied and once not.

`make test` takes a sample of them, by a seed; `make sweep` takes all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    Outcome,
    ReceivedRequest,
    Refusal,
    World,
    refuse_nth_request,
    virtual_time,
)
from tests.sweeps import IS_WHOLE, sample
from zkrecipes.devserver.fault_injector import paths_of
from zkrecipes.enums import OpCode
from zkrecipes.errors import error_from_code

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

TRANSIENT = (-1, -2, -7, -14, -118, -119, -122, -127)
FOR_GOOD = (-3, -5, -6, -8, -100, -102, -125, -999)
REQUESTS_MAX = 40
SAMPLE = 2
"""The number of refusals that `make test` tries for each request."""

Act = Callable[[World, zk.Client], Awaitable[Any]]
Entered = Callable[[zk.Client], Any]


def _block(make: Entered) -> Act:
    async def act(_: World, client: zk.Client) -> str:
        async with make(client):
            await anyio.sleep(1)
        return "done"

    return act


def _behind_another(make: Entered, patience: float = 100.0) -> Act:
    """Wait until another client has left, or be cancelled before."""

    async def act(there: World, client: zk.Client) -> str:
        async with there.connect("rival") as rival, anyio.create_task_group() as tasks:
            tasks.start_soon(_hold, make(rival))
            await anyio.sleep(1)
            with anyio.move_on_after(patience) as limit:
                error = await _error_of(make(client))
        if limit.cancelled_caught:
            assert patience < TIMEOUT
            return "cancelled"
        if error is not None:
            raise error
        return "done"

    return act


async def _hold(entered: Any) -> None:
    async with entered:
        await anyio.sleep(4)


async def _error_of(entered: Any) -> Exception | None:
    """Return the error of entering and leaving, or None: a task group would wrap it."""
    try:
        async with entered:
            pass
    except Exception as error:  # noqa: BLE001
        return error
    return None


async def _downgrade(_: World, client: zk.Client) -> str:
    lock = zk.ReadWriteLock(client, "/d/rw")
    async with lock.write():
        await lock.downgrade()
    return "done"


async def _update(_: World, client: zk.Client) -> str:
    async with zk.Group(client, "/d/g").join("a") as member:
        await member.update(b"1")
        assert (await _read(client, "/d/g/a")) == b"1"
    return "done"


async def _read(client: zk.Client, path: str) -> bytes | None:
    while True:
        try:
            return (await client.get(path)).data
        except zk.ZooKeeperError:
            await anyio.sleep(0.1)


async def _barrier(_: World, client: zk.Client) -> str:
    gate = zk.Barrier(client, "/d/gate")
    await gate.create()
    with anyio.move_on_after(1):
        await gate.wait()
        raise AssertionError("it is closed")
    await gate.remove()
    await gate.wait()
    return "done"


async def _observe(_: World, client: zk.Client) -> str:
    async with zk.Election(client, "/d/e").changes() as leaders:
        assert await anext(leaders) is None
    return "done"


async def _follow_group(_: World, client: zk.Client) -> str:
    async with zk.Group(client, "/d/g").changes() as changes:
        assert (await anext(changes)).members == {}
    return "done"


async def _follow_tree(_: World, client: zk.Client) -> str:
    async with zk.ConfigTree(client, "/d").changes() as changes:
        assert "" not in (await anext(changes)).values
    return "done"


async def _watch_value(_: World, client: zk.Client) -> str:
    async with zk.ConfigWatch(client, "/d/c", default=b"none") as config:
        assert config.value == b"none"
    return "done"


ACTS: dict[str, Act] = {
    "mutex": _block(lambda client: zk.Mutex(client, "/d/m")),
    "mutex, one try": _block(lambda client: zk.Mutex(client, "/d/m").acquire(wait=0)),
    "mutex, curator": _block(lambda client: zk.Mutex(client, "/d/m", layout="curator")),
    "mutex, second": _behind_another(lambda client: zk.Mutex(client, "/d/m")),
    "mutex, cancelled": _behind_another(lambda client: zk.Mutex(client, "/d/m"), 1.0),
    "writer, second": _behind_another(lambda client: zk.ReadWriteLock(client, "/d/rw").write()),
    "semaphore, second": _behind_another(lambda client: zk.Semaphore(client, "/d/s", limit=1)),
    "semaphore, cancelled": _behind_another(lambda client: zk.Semaphore(client, "/d/s", limit=1), 1.0),
    "election, cancelled": _behind_another(lambda client: zk.Election(client, "/d/e").lead(), 1.0),
    "member, second": _behind_another(lambda client: zk.Group(client, "/d/g").join("a")),
    "member, cancelled": _behind_another(lambda client: zk.Group(client, "/d/g").join("a"), 1.0),
    "downgrade": _downgrade,
    "semaphore": _block(lambda client: zk.Semaphore(client, "/d/s", limit=3).acquire(permits=2)),
    "semaphore, curator": _block(lambda client: zk.Semaphore(client, "/d/s", limit=3, layout="curator")),
    "job": _block(lambda client: zk.OncePer(client, "/d/j", period=1e9)),
    "several locks": _block(
        lambda client: zk.MultiLock([zk.Mutex(client, "/d/m"), zk.Mutex(client, "/d/n")])
    ),
    "election": _block(lambda client: zk.Election(client, "/d/e").lead()),
    "member": _update,
    "persistent node": _block(lambda client: zk.PersistentNode(client, "/d/p/a")),
    "barrier": _barrier,
    "double barrier": _block(lambda client: zk.DoubleBarrier(client, "/d/b", parties=1)),
    "observer": _observe,
    "group": _follow_group,
    "tree": _follow_tree,
    "value": _watch_value,
}
DIRECTORIES = ("b", "j", "m", "n", "rw", "s", "s-__lock__", "s/leases", "s/locks", "e", "g", "p")
STAYS = {"/d", *(f"/d/{name}" for name in DIRECTORIES)}


def _judge(outcome: Outcome, refusal: Refusal, refused: ReceivedRequest, left: set[str]) -> None:
    description = f"{refusal} to {OpCode(refused.opcode).name} {paths_of(refused.request)}: {outcome}"
    if refusal.code in TRANSIENT:
        # a single try ends if it would have to wait
        is_one_try = isinstance(outcome.error, zk.AcquireTimeoutError)
        assert outcome.result is not None or is_one_try, description
        assert not left, f"{description}: left behind: {left}"
        return
    expected = type(error_from_code(refusal.code))
    is_as_expected = outcome.result is not None or isinstance(outcome.error, expected)
    assert is_as_expected, description
    is_gate = left == {"/d/gate"}  # another client may use it, and its removal has raised
    is_refused_for_good = refusal.code == zk.NoAuthError.code and refused.opcode == OpCode.DELETE
    is_raised = outcome.error is not None or outcome.result == "cancelled"  # it passes untouched
    is_reported = is_raised and (is_gate or is_refused_for_good)
    assert not left or is_reported, f"{description}: left behind: {left}"


@pytest.mark.sweep
@pytest.mark.timeout(600 if IS_WHOLE else 20)
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
async def test_each_request_refused(act: Act, request: pytest.FixtureRequest) -> None:
    every = [Refusal(code, is_applied) for code in (*TRANSIENT, *FOR_GOOD) for is_applied in (False, True)]
    every.remove(Refusal(zk.NoAuthError.code, True))  # a server checks that first
    for nth in range(1, REQUESTS_MAX):
        for refusal in sample(every, SAMPLE, f"{request.node.name} {nth}"):
            outcome, refused, left = await refuse_nth_request(act, nth, refusal, may_remain=STAYS)
            if refused is None:
                assert nth > 1
                return
            _judge(outcome, refusal, refused, left)
    raise AssertionError("the act sends requests without end")

"""Semaphore: never more permits than the limit, with any fault; and the limit itself."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.dev_clients import connected_clients
from tests.recipes.fault_sweep import (
    TIMEOUT,
    Outcome,
    ReceivedRequest,
    World,
    asyncio_only,
    cancel_at_each_pass,
    inject_into_each_request,
    virtual_time,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode
from zkrecipes.recipes.locking.permits import Permits
from zkrecipes.recipes.locking.queue import QueueNode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATH = "/limits/api"
STAYS = {"/limits", PATH, f"{PATH}-__lock__", f"{PATH}/locks", f"{PATH}/leases"}

layouts = pytest.mark.parametrize("layout", ["kazoo", "curator"])


def _semaphore(client: zk.Client, name: str = "me", limit: int = 3, **options: Any) -> zk.Semaphore:
    return zk.Semaphore(client, PATH, limit=limit, identifier=name, **options)


class _Party:
    """Tasks that contend for permits of one semaphore: a letter with a number takes that many, else one.

    Attributes:
        inside: the tasks inside.
        entered: the names of all tasks that have entered, in order.
        refused: the tasks that got an error because there will never be enough permits.
    """

    def __init__(self, tasks: Any, client: zk.Client, **options: Any) -> None:
        self.inside: list[str] = []
        self.entered: list[str] = []
        self.refused: list[str] = []
        self._tasks = tasks
        self._client = client
        self._options = options
        self._leave: dict[str, anyio.Event] = {}

    async def come(self, *names: str) -> None:
        """Queue up one task after another; each has its turn before the next one arrives, if possible."""
        for name in names:
            self._leave[name] = anyio.Event()
            self._tasks.start_soon(self._take_part, name)
            await anyio.sleep(0.1)

    async def leave(self, *names: str) -> None:
        for name in names:
            self._leave[name].set()
        await anyio.sleep(0.1)

    async def _take_part(self, name: str) -> None:
        semaphore = _semaphore(self._client, name, **self._options)
        try:
            async with semaphore.acquire(permits=int(name[1:] or "1")) as hold:
                self.inside.append(name)
                self.entered.append(name)
                await self._leave[name].wait()
                hold.check()
                self.inside.remove(name)
        except ValueError:
            self.refused.append(name)


@asynccontextmanager
async def _party(**options: Any) -> AsyncIterator[tuple[World, zk.Client, _Party]]:
    """A party; in the end no znode may be left."""
    async with connected_clients("a") as (there, (client,)):
        async with anyio.create_task_group() as tasks:
            yield there, client, _Party(tasks, client, **options)
        assert there.znodes() <= STAYS
        assert len(there.server.processor.watches) == 0


# --- contenders inside -------------------------------------------------------------------------------------


@layouts
async def test_at_most_the_limit_at_a_time_in_order(layout: str) -> None:
    async with _party(layout=layout) as (_, __, party):
        await party.come(*"abcdef")
        assert party.inside == ["a", "b", "c"]
        await party.leave("b")
        assert party.inside == ["a", "c", "d"]
        await party.leave("a", "c", "d")
        assert party.inside == ["e", "f"]
        await party.leave("e", "f")
        assert party.entered == list("abcdef")


async def test_the_object_itself_gives_one_permit() -> None:
    async with connected_clients("a") as (there, (client,)):
        semaphore = _semaphore(client)

        async def enter_beside(outer: zk.Hold) -> None:
            async with semaphore as inner:
                assert inner is not outer
            assert inner.remaining() == 0

        async with semaphore as outer:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(enter_beside, outer)
            outer.check()
            assert len(await semaphore.holders()) == 1
        assert there.znodes() <= STAYS


@layouts
async def test_several_permits_are_taken_together_and_no_contender_is_passed_over(layout: str) -> None:
    async with _party(layout=layout, limit=4) as (_, client, party):
        await party.come("a", "b2", "c3", "d", "e4")
        assert party.inside == ["a", "b2"]  # one permit is free, and d has to wait behind c
        assert len(await _semaphore(client, limit=4, layout=layout).holders()) == 3
        await party.leave("a")
        assert party.inside == ["b2"]
        await party.leave("b2")
        assert party.inside == ["c3", "d"]
        await party.leave("c3")
        assert party.inside == ["d"]
        await party.leave("d")
        assert party.inside == ["e4"]
        await party.leave("e4")


async def test_each_departure_wakes_one_waiter() -> None:
    async with _party(limit=1) as (there, _, party):
        await party.come(*"abcd")
        del there.requests[:]
        await party.leave("a")
        # b, which waited for free permits, reads once; c, now first, reads the queue, and then the
        # permits once without and once with a watch; d does nothing
        assert party.inside == ["b"]
        assert there.count(OpCode.GET_CHILDREN) == 4
        await party.leave("b", "c", "d")


async def test_an_uncontended_permit_takes_five_round_trips() -> None:
    """One round trip each to queue up, to count, to take the permit, for the proof, and to leave."""
    async with connected_clients("a") as (there, (client,)):
        semaphore = _semaphore(client)
        async with semaphore.acquire():
            pass
        del there.requests[:]
        async with semaphore.acquire():
            pass
        assert [seen.opcode for seen in there.requests] == [
            OpCode.CREATE,
            OpCode.GET_CHILDREN,
            OpCode.GET_CHILDREN,
            OpCode.GET_DATA,
            OpCode.MULTI,
            OpCode.MULTI,
            OpCode.DELETE,
        ]


@layouts
async def test_holders_and_contenders(layout: str) -> None:
    async with _party(layout=layout) as (_, client, party):
        semaphore = _semaphore(client, layout=layout)
        assert await semaphore.contenders() == []
        await party.come("a2", "b", "c", "d")
        holders = await semaphore.holders()
        assert [each.identifier for each in holders] == ["a2", "a2", "b"]
        assert holders[0].fencing_token == holders[1].fencing_token < holders[2].fencing_token
        contenders = await semaphore.contenders()
        assert contenders[:3] == holders
        assert [each.identifier for each in contenders[3:]] == ["c", "d"]
        await party.leave("a2", "b", "c", "d")


@layouts
async def test_fencing_tokens_order_the_entries(layout: str) -> None:
    async with connected_clients("a", "b") as (_, (client, other)):
        semaphore = _semaphore(client, layout=layout)
        late = _semaphore(other, layout=layout)
        async with semaphore.acquire() as first, late.acquire(permits=2) as second:
            assert first.fencing_token < second.fencing_token
            one, two, three = await semaphore.holders()
            assert one.fencing_token == first.fencing_token
            assert two.fencing_token == three.fencing_token == second.fencing_token
            assert second.path in (two.path, three.path)


@layouts
async def test_one_try_enters_or_raises(layout: str) -> None:
    async with connected_clients("a", "b", "c") as (there, (client, other, third)):
        ours, theirs, more = (_semaphore(each, layout=layout) for each in (client, other, third))
        async with ours.acquire(permits=2):
            with pytest.raises(zk.AcquireTimeoutError):
                async with theirs.acquire(permits=2, wait=0):
                    pass
            async with theirs.acquire(wait=0):
                with pytest.raises(zk.AcquireTimeoutError):
                    async with more.acquire(wait=0):
                        pass
        async with theirs.acquire(permits=3, wait=0):
            pass
        assert there.znodes() <= STAYS


async def test_a_task_that_would_wait_for_itself_gets_an_error() -> None:
    async with connected_clients("a") as (there, (client,)):
        semaphore = _semaphore(client)
        async with semaphore.acquire(permits=1) as hold:
            with pytest.raises(RuntimeError, match=r"has 1 permit of .*acquire\(permits=3\)"):
                async with semaphore.acquire(permits=2):  # two are free
                    pass
            hold.check()
        async with semaphore.acquire(permits=3):
            pass
        assert there.znodes() <= STAYS


async def test_without_a_limit_the_stored_one_counts() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        unlimited = zk.Semaphore(client, PATH, limit=None)
        before = unlimited.limit
        assert before is None
        with pytest.raises(ValueError, match=r"no limit is stored at .* yet: pass one"):
            async with unlimited:
                raise AssertionError("how many are there?")
        async with _semaphore(other, limit=3).acquire(permits=2):
            async with unlimited:
                assert unlimited.limit == 3
            with pytest.raises(zk.AcquireTimeoutError):
                async with unlimited.acquire(permits=2, wait=0):
                    raise AssertionError("four of three")
        with pytest.raises(ValueError, match=r"permits must be at most 3, the limit of .*not 4"):
            async with zk.Semaphore(client, PATH, limit=None).acquire(permits=4):
                raise AssertionError("four of three")
        with pytest.raises(ValueError, match="must be an int in Curator's layout"):
            zk.Semaphore(client, PATH, limit=None, layout="curator")
        assert there.znodes() <= STAYS


async def test_invalid_arguments_are_refused_before_anything_is_sent() -> None:
    async with connected_clients("a") as (there, (client,)):
        before = len(there.requests)
        assert repr(_semaphore(client)) == f"<Semaphore {PATH} limit=3 me>"
        for limit in (0, -1):
            with pytest.raises(ValueError, match=f"limit must be at least 1, not {limit}"):
                _semaphore(client, limit=limit)
        for wrong in ("3", 3.0, True):
            with pytest.raises(TypeError, match="limit must be an int"):
                _semaphore(client, limit=wrong)  # type: ignore[arg-type]
        for permits in (0, -1):
            with pytest.raises(ValueError, match=f"permits must be at least 1, not {permits}"):
                _semaphore(client).acquire(permits=permits)
        for layout in ("kazoo", "curator"):
            with pytest.raises(ValueError, match=r"permits must be at most 3, the limit of .*not 4"):
                _semaphore(client, layout=layout).acquire(permits=4)
        with pytest.raises(ValueError, match="path"):
            zk.Semaphore(client, "limits", limit=1)
        with pytest.raises(ValueError, match="path must not be '/'"):
            zk.Semaphore(client, "/", limit=1)
        with pytest.raises(ValueError, match="not 'zoo'"):
            _semaphore(client, layout="zoo")
        with pytest.raises(ValueError, match=r"must give its owner READ|at least one entry"):
            _semaphore(client, acl=[])
        with pytest.raises(ValueError, match="limit must be at least 1, not 0"):
            await _semaphore(client).set_limit(0)
        with pytest.raises(ValueError, match="stores no limit"):
            await _semaphore(client, layout="curator").set_limit(4)
        assert len(there.requests) == before


async def test_an_acquisition_is_entered_once_and_not_awaited_or_dropped() -> None:
    async with connected_clients("a") as (_, (client,)):
        semaphore = _semaphore(client)
        with pytest.raises(TypeError, match="entered, not awaited"):
            await semaphore.acquire()  # type: ignore[misc]  # the point of the test
        acquisition: Any = semaphore.acquire()
        async with acquisition:
            with pytest.raises(RuntimeError, match="entered only once"):
                async with acquisition:
                    pass
        acquisition = semaphore.acquire()
        with pytest.warns(RuntimeWarning, match="was never entered: nothing is held"):
            del acquisition
        gc.collect()


async def test_under_a_chroot() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        view = client.chroot("/team/one")
        async with zk.Semaphore(view, "/api", limit=2).acquire(permits=2) as hold:
            await hold.confirm()
            async with hold.transaction() as tx:
                tx.create("/done")
            holders = await zk.Semaphore(other, "/team/one/api", limit=2).holders()
            assert f"/team/one{hold.path}" in [each.path for each in holders]
        async with zk.Semaphore(view, "/", limit=2, layout="curator").acquire(permits=2) as hold:
            assert hold.path.startswith("/leases/_c_")
        assert "/team/one/done" in there.znodes()


async def test_children_that_are_not_permits_count_as_they_do_for_kazoo() -> None:
    async with _party() as (_, client, party):
        await client.ensure_path(PATH)
        await client.create(f"{PATH}/stranger")
        await party.come(*"abc")
        assert party.inside == ["a", "b"]
        await client.delete(f"{PATH}/stranger")
        await anyio.sleep(0.1)
        assert party.inside == ["a", "b", "c"]
        await party.leave(*"abc")


@layouts
async def test_children_that_are_not_permits_are_logged_once(
    layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 78: the log explains why no contender enters, for example because of a mutex's contenders."""
    caplog.set_level(logging.WARNING)
    async with connected_clients("a", "b", "c", "d") as (_, (client, other, third, fourth)):
        directory = PATH if layout == "kazoo" else f"{PATH}/leases"
        async with (
            zk.Mutex(third, directory) as foreign,
            _semaphore(client, layout=layout).acquire(),
            _semaphore(other, layout=layout).acquire(),
        ):
            with pytest.raises(zk.AcquireTimeoutError):
                async with _semaphore(fourth, layout=layout).acquire(wait=0):
                    pass
    lines = [each.getMessage() for each in caplog.records if "permit" in each.getMessage()]
    name = foreign.path.removeprefix(f"{directory}/")
    what = "not permits, but counted as permits, as kazoo and Curator count them"
    line = f"{directory} has unexpected children ({what}): {name!r} (a lock's)"
    assert lines == [line, line, line]  # by each client


async def test_more_permits_than_the_server_accepts_are_an_error_and_no_endless_loop() -> None:
    async with connected_clients("a", max_packet_size=100_000) as (there, (client,)):
        with anyio.fail_after(TIMEOUT), pytest.raises(zk.ConnectionLossError):
            async with _semaphore(client, limit=5000).acquire(permits=2000):
                pass
        async with _semaphore(client, limit=5000).acquire(permits=100):
            pass
        assert there.znodes() <= STAYS


async def test_permits_are_taken_only_in_the_session_of_the_queue_node() -> None:
    """Otherwise no hold would own them, and they would stay for as long as the client lives.

    The znode in the queue outlives its session if that could not be closed; here it is created again.
    """
    async with connected_clients("a") as (there, (client,)):
        pool = _semaphore(client)._pool  # noqa: SLF001 - the moment between two of its requests
        await pool.create_directory(3)
        node, permits = QueueNode(pool.queue, b""), Permits(pool, 1, b"")
        await node.enqueue()
        first = client.session
        there.server.expire(first.id)
        await first.wait_closed()
        await client.create(node.path)
        state = await pool.read_state()
        assert not await permits.take(node, state)
        assert there.znodes() <= {*STAYS, node.path}


# --- the limit -----------------------------------------------------------------------------------------


async def test_the_first_one_writes_the_limit_and_another_limit_is_refused() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _semaphore(client, limit=2).acquire():
            assert (await other.get(PATH)).data == b"2"
            for _ in range(2):
                with pytest.raises(ValueError, match="has a limit of 2, not 5"):
                    async with _semaphore(other, limit=5).acquire():
                        pass
            async with _semaphore(other, limit=2).acquire(wait=0):
                pass
        assert there.znodes() <= STAYS
        assert (await other.get(PATH)).data == b"2"


async def test_a_znode_without_a_number_is_filled_in_or_left_alone() -> None:
    async with connected_clients("a") as (_, (client,)):
        await client.ensure_path(PATH)
        async with _semaphore(client, limit=2).acquire():
            assert (await client.get(PATH)).data == b"2"
        await client.set(PATH, "zwei".encode("utf-16"))
        async with _semaphore(client, limit=5).acquire(permits=5):
            assert (await client.get(PATH)).data == "zwei".encode("utf-16")


async def test_a_raised_limit_lets_waiters_in() -> None:
    async with _party() as (_, client, party):
        await party.come(*"abcdef")
        assert party.inside == list("abc")
        semaphore = _semaphore(client)
        await semaphore.set_limit(5)
        await anyio.sleep(0.1)
        assert party.inside == list("abcde")
        assert semaphore.limit == 5
        with pytest.raises(zk.AcquireTimeoutError):
            async with semaphore.acquire(permits=5, wait=0):
                pass
        await party.leave(*"abcdef")


async def test_a_lowered_limit_evicts_no_holder_and_lets_no_contender_in_until_permits_are_free() -> None:
    """Case 87."""
    async with _party() as (_, client, party):
        await party.come(*"abcd")
        await _semaphore(client).set_limit(1)
        await anyio.sleep(TIMEOUT)
        assert party.inside == list("abc")
        await party.leave("a", "b")
        assert party.inside == ["c"]
        await party.leave("c")
        assert party.inside == ["d"]
        await party.leave("d")


async def test_a_limit_lowered_below_the_wish_of_a_waiter_is_an_error() -> None:
    async with _party() as (_, client, party):
        await party.come("a", "b3", "c")
        await _semaphore(client).set_limit(2)
        await anyio.sleep(0.1)
        assert party.refused == ["b3"]
        assert party.inside == ["a", "c"]
        await party.leave("a", "c")


async def test_a_limit_lowered_between_the_count_and_the_take_counts() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        ours, theirs = _semaphore(client), _semaphore(other)
        async with theirs.acquire():
            async with ours.acquire():
                pass

            def lower(seen: ReceivedRequest) -> None:
                operations = getattr(seen.request, "operations", ())
                if len(operations) == 3:  # the queue node, the limit, the permit
                    there.before_request = lambda _: None
                    processor = there.server.processor
                    node = processor.tree.get(PATH)
                    processor.tree.set_data(node, b"1", node.version + 1, processor.zxid, 0)

            there.before_request = lower
            with pytest.raises(zk.AcquireTimeoutError):
                async with ours.acquire(wait=0):
                    pass
            assert ours.limit == 1
        assert there.znodes() <= STAYS


async def test_an_object_that_has_agreed_follows_the_limit() -> None:
    async with connected_clients("a", "b") as (_, (client, other)):
        ours = _semaphore(client)
        async with ours.acquire():
            pass
        await _semaphore(other).set_limit(4)
        async with ours.acquire(permits=4):
            assert ours.limit == 4
        await _semaphore(other).set_limit(2)
        with pytest.raises(ValueError, match=r"permits must be at most 2, the limit of .*not 3"):
            async with ours.acquire(permits=3):
                pass


async def test_set_limit_creates_the_znode() -> None:
    async with connected_clients("a") as (_, (client,)):
        await _semaphore(client).set_limit(7)
        assert (await client.get(PATH)).data == b"7"
        assert (await client.get(PATH)).stat.ephemeral_owner == 0


@layouts
async def test_the_directories_are_deleted_under_the_waiters(layout: str) -> None:
    async with connected_clients("a", "b") as (there, (client, admin)):
        entered: list[str] = []

        async def work(name: str) -> None:
            while name not in entered:
                try:
                    async with _semaphore(client, name, limit=1, layout=layout).acquire():
                        await anyio.sleep(5)
                        entered.append(name)
                except zk.LockLostError:
                    pass

        async with anyio.create_task_group() as tasks:
            for name in "abc":
                tasks.start_soon(work, name)
            await anyio.sleep(1)
            for path in sorted(there.znodes() - {"/limits"}, reverse=True):
                # a waiter may have created its znode again, or removed it
                with suppress(zk.NotEmptyError, zk.NoNodeError):
                    await admin.delete(path)
        assert sorted(entered) == list("abc")
        assert there.znodes() <= STAYS


# --- loss ----------------------------------------------------------------------------------------------


@layouts
@pytest.mark.parametrize("which", [0, 1, 2])
async def test_the_loss_of_one_permit_is_the_loss_of_all(layout: str, which: int) -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        semaphore = _semaphore(client, layout=layout)
        with pytest.raises(zk.LockLostError):
            async with semaphore.acquire(permits=3) as hold:
                await other.delete((await semaphore.holders())[which].path)
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(TIMEOUT / 8)
                with pytest.raises(zk.LockLostError):
                    hold.check()
                with pytest.raises(zk.LockLostError):
                    async with hold.transaction() as tx:
                        tx.create("/never")
                await anyio.sleep_forever()
        assert there.znodes() <= STAYS


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_transaction_of_a_hold_fails_with_any_of_its_permits(which: int) -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        semaphore = _semaphore(client)
        with pytest.raises(zk.LockLostError):
            async with semaphore.acquire(permits=3) as hold:
                with pytest.raises(zk.TransactionError) as caught:
                    async with hold.transaction() as tx:
                        tx.create("/one")
                        tx.check("/nothing")
                assert (caught.value.index, caught.value.operations) == (1, 2)
                path = (await semaphore.holders())[which].path
                with anyio.CancelScope(shield=True):
                    async with hold.transaction() as tx:
                        tx.create("/never")
                        await other.delete(path)
        assert "/never" not in there.znodes()


async def test_a_session_that_expires_and_a_network_that_is_cut() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        semaphore = _semaphore(client, limit=2)
        with pytest.raises(zk.LockLostError):
            async with semaphore.acquire(permits=2):
                there.server.expire(client.session.id)
                await anyio.sleep_forever()
        cut_at = anyio.current_time()
        with pytest.raises(zk.LockLostError):
            async with semaphore.acquire(permits=2):
                there.network.cut(source="a")
                async with anyio.create_task_group() as tasks:

                    async def succeed() -> None:
                        with anyio.CancelScope(shield=True):
                            async with _semaphore(other, limit=2).acquire():
                                assert anyio.current_time() >= cut_at + TIMEOUT * 15 / 16

                    tasks.start_soon(succeed)
                    await anyio.sleep_forever()
        there.network.heal()
        await anyio.sleep(TIMEOUT)
        assert there.znodes() <= STAYS


# --- faults of every kind ---------------------------------------------------------------------------------


async def _hold_two(_: World, client: zk.Client, layout: str = "kazoo") -> str:
    semaphore = _semaphore(client, "faulty", layout=layout)
    async with semaphore.acquire(permits=2) as hold:
        assert len([each for each in await semaphore.holders() if each.identifier == "faulty"]) == 2
        await anyio.sleep(TIMEOUT / 8)
        hold.check()
    return "held"


async def _hold_two_of_curators(there: World, client: zk.Client) -> str:
    return await _hold_two(there, client, "curator")


@asynccontextmanager
async def _rivals(there: World) -> AsyncIterator[None]:
    """Two contenders have permits at first, and a third one arrives later."""
    async with there.connect("rival") as rival, anyio.create_task_group() as tasks:

        async def hold(name: str) -> None:
            async with _semaphore(rival, name).acquire():
                assert len(await _semaphore(rival).holders()) <= 3
                await anyio.sleep(TIMEOUT / 8)

        tasks.start_soon(hold, "first")
        tasks.start_soon(hold, "second")
        await anyio.sleep(0.1)

        async def come_later() -> None:
            await anyio.sleep(1)
            await hold("later")

        tasks.start_soon(come_later)
        yield


def _is_held(outcome: Outcome) -> None:
    assert outcome.result == "held"


def _is_held_or_lost(outcome: Outcome) -> None:
    assert outcome.result == "held" or type(outcome.error) is zk.LockLostError


@pytest.mark.parametrize(
    ("act", "other_clients"),
    [(_hold_two, None), (_hold_two, _rivals), (_hold_two_of_curators, None)],
    ids=["kazoo, alone", "kazoo, contended", "curator, alone"],
)
@pytest.mark.parametrize(
    ("fault_kind", "judge"),
    [
        (FaultKind.BEFORE_SEND, _is_held),
        (FaultKind.AFTER_SEND, _is_held),
        (FaultKind.AFTER_COMMIT, _is_held),
        (FaultKind.EXPIRE, _is_held_or_lost),
    ],
)
async def test_fault_in_each_request(fault_kind: FaultKind, judge: Any, act: Any, other_clients: Any) -> None:
    options = {} if other_clients is None else {"other_clients": other_clients}
    assert await inject_into_each_request(act, judge, fault_kind, may_remain=STAYS, **options) >= 10


async def _change_the_limit(_: World, client: zk.Client) -> int:
    await _semaphore(client).set_limit(5)
    return int((await client.get(PATH)).data or b"0")


@pytest.mark.parametrize("fault_kind", list(FaultKind))
async def test_fault_in_each_request_of_a_changed_limit(fault_kind: FaultKind) -> None:
    def judge(outcome: Outcome) -> None:
        assert outcome.result == 5

    assert await inject_into_each_request(_change_the_limit, judge, fault_kind, may_remain=STAYS) >= 3


async def _hold_for_a_moment(_: World, client: zk.Client) -> str:
    async with _semaphore(client, "faulty").acquire(permits=2) as hold:
        hold.check()
    return "held"


@asynccontextmanager
async def _a_lost_reply(there: World) -> AsyncIterator[None]:
    """The reply to the transaction: it is unknown whether the permits exist."""
    async with there.connect("maker") as maker:
        await _semaphore(maker).set_limit(3)
    fault = there.server.faults.lose_reply(OpCode.MULTI)
    yield
    fault.remove()


def _is_held_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert outcome.result == "held" or is_cancelled


@pytest.mark.parametrize("other_clients", [None, _a_lost_reply], ids=["alone", "reply lost"])
async def test_cancelled_at_each_pass(other_clients: Any) -> None:
    options = {} if other_clients is None else {"other_clients": other_clients}
    number = await cancel_at_each_pass(
        _hold_for_a_moment, _is_held_or_cancelled, may_remain=STAYS, every=2, **options
    )
    assert number >= 20


@asyncio_only
@pytest.mark.parametrize("again_after", [None, 2])
async def test_cancelled_natively_at_each_pass(again_after: int | None) -> None:
    number = await cancel_at_each_pass(
        _hold_for_a_moment,
        _is_held_or_cancelled,
        may_remain=STAYS,
        other_clients=_a_lost_reply,
        native=True,
        again_after=again_after,
        every=2,
    )
    assert number >= 20


async def test_a_cancelled_waiter_blocks_no_other_contender() -> None:
    async with _party(limit=1) as (_, client, party):
        await party.come("a")
        with anyio.move_on_after(1):
            async with anyio.create_task_group() as tasks:
                await _Party(tasks, client, limit=1).come("x", "y")
        await party.come("b")
        await party.leave("a")
        assert party.inside == ["b"]
        await party.leave("b")

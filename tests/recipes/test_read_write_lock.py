"""ReadWriteLock: which contenders share it, in which order, and a downgrade with a fault at any point."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

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

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

DIRECTORY = "/locks/table"
STAYS = {"/locks", DIRECTORY}


def _lock(client: zk.Client, identifier: str = "me", **options: Any) -> zk.ReadWriteLock:
    return zk.ReadWriteLock(client, DIRECTORY, identifier=identifier, **options)


class _Party:
    """Tasks that contend for the lock.

    Attributes:
        inside: the names of the tasks inside, writers in capitals.
        entered: the names of all tasks that have entered, in order.
    """

    def __init__(self, tasks: Any, layout: str = "kazoo") -> None:
        self.inside: list[str] = []
        self.entered: list[str] = []
        self.holds: dict[str, zk.Hold] = {}
        self._tasks = tasks
        self._layout = layout
        self._leave: dict[str, anyio.Event] = {}
        self._downgrade: dict[str, anyio.Event] = {}

    async def come(self, client: zk.Client, names: str) -> None:
        """Queue up one task for each letter: a capital to write, a small one to read."""
        for name in names:
            lock = _lock(client, name, layout=self._layout)
            number = len(await lock.contenders())
            self._leave[name], self._downgrade[name] = anyio.Event(), anyio.Event()
            self._tasks.start_soon(self._take_part, lock, name)
            while len(await lock.contenders()) <= number:
                await anyio.lowlevel.checkpoint()
        await anyio.sleep(0.1)

    async def leave(self, *names: str) -> None:
        for name in names:
            self._leave[name].set()
        await anyio.sleep(0.1)

    async def downgrade(self, name: str) -> None:
        self._downgrade[name].set()
        await anyio.sleep(0.1)

    async def _take_part(self, lock: zk.ReadWriteLock, name: str) -> None:
        async with lock.write() if name.isupper() else lock.read() as hold:
            self.holds[name] = hold
            self._enter(name)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._leave_on_request, name, tasks.cancel_scope)
                await self._downgrade[name].wait()
                await lock.downgrade()
                self.inside[self.inside.index(name)] = name.lower()
                await anyio.sleep_forever()
            hold.check()
            self.inside = [each for each in self.inside if each.lower() != name.lower()]

    async def _leave_on_request(self, name: str, scope: anyio.CancelScope) -> None:
        await self._leave[name].wait()
        scope.cancel()

    def _enter(self, name: str) -> None:
        self.inside.append(name)
        self.entered.append(name)
        assert len(self.inside) == 1 or "".join(self.inside).islower(), self.inside


@asynccontextmanager
async def _party(**options: Any) -> AsyncIterator[tuple[World, zk.Client, _Party]]:
    """A client whose tasks contend like those of several clients; in the end no znode may be left."""
    async with connected_clients("a") as (there, (client,)):
        async with anyio.create_task_group() as tasks:
            yield there, client, _Party(tasks, **options)
        assert there.znodes() - {"/locks"} <= {DIRECTORY}
        assert len(there.server.processor.watches) == 0


# --- contenders inside together ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["kazoo", "curator"])
async def test_readers_share_it_and_a_writer_has_it_alone(layout: str) -> None:
    async with _party(layout=layout) as (_, client, party):
        await party.come(client, "abcWde")
        assert party.inside == ["a", "b", "c"]
        await party.leave("b", "a")
        assert party.inside == ["c"]
        await party.leave("c")
        assert party.inside == ["W"]
        await party.leave("W")
        assert sorted(party.inside) == ["d", "e"]
        await party.leave("d", "e")
        assert party.inside == []


async def test_later_readers_do_not_starve_a_writer() -> None:
    async with _party() as (_, client, party):
        await party.come(client, "a")
        await party.come(client, "W")
        for reader in "bcdefg":
            await party.come(client, reader)
        assert party.inside == ["a"]
        await party.leave("a")
        assert party.inside == ["W"]
        await party.leave("W")
        assert sorted(party.inside) == list("bcdefg")
        await party.leave(*"bcdefg")


async def test_later_writers_do_not_starve_a_reader() -> None:
    async with _party() as (_, client, party):
        await party.come(client, "VWrXYZ")
        for writer, behind in zip("VWXYZ", ["W", "r", "Y", "Z", ""], strict=True):
            assert party.inside == [writer]
            await party.leave(writer)
            if behind == "r":
                assert party.inside == ["r"]
                await party.leave("r")
        assert party.entered == list("VWrXYZ")


async def test_each_departure_wakes_only_contenders_that_may_enter() -> None:
    """A writer watches the contender before it; readers watch the writer before them, not each other."""
    async with _party() as (there, client, party):
        await party.come(client, "abcWdeX")
        assert len(there.server.processor.watches) == 3  # d and e belong to one client
        del there.requests[:]
        await party.leave("a")  # W waits for c, and X for e
        assert there.count(OpCode.GET_CHILDREN, OpCode.GET_DATA) == 0
        await party.leave("c")  # W lists and watches b; because b is first, W lists again with the watch
        assert there.count(OpCode.GET_DATA) == 1
        assert there.count(OpCode.GET_CHILDREN) == 2
        await party.leave("b")
        assert party.inside == ["W"]
        del there.requests[:]
        await party.leave("W")
        assert there.count(OpCode.GET_CHILDREN) == 1  # for d and e
        assert sorted(party.inside) == ["d", "e"]
        await party.leave("d", "e", "X")


async def test_a_waiting_writer_that_gives_up_lets_the_readers_behind_it_in() -> None:
    async with _party() as (_, client, party):
        await party.come(client, "a")
        with anyio.move_on_after(1) as scope:
            async with anyio.create_task_group() as tasks:
                waiting = _Party(tasks)
                await waiting.come(client, "W")
                await party.come(client, "b")
                assert party.inside == ["a"]
        assert scope.cancelled_caught
        await anyio.sleep(0.1)
        assert party.inside == ["a", "b"]
        await party.leave("a", "b")


async def test_contenders_are_readers_and_writers_in_order() -> None:
    async with _party() as (_, client, party):
        await party.come(client, "aWb")
        contenders = await _lock(client).contenders()
        assert [each.identifier for each in contenders] == list("aWb")
        assert contenders[0].path == party.holds["a"].path
        assert contenders[0].fencing_token == party.holds["a"].fencing_token
        tokens = [each.fencing_token for each in contenders]
        assert tokens == sorted(set(tokens))
        await party.leave(*"aWb")


async def test_one_try_enters_or_raises() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _lock(client).read():
            async with _lock(other).read(wait=0):
                pass
            with pytest.raises(zk.AcquireTimeoutError):
                async with _lock(other).write(wait=0):
                    pass
        async with _lock(client).write():
            for refused in (_lock(other).read(wait=0), _lock(other).write(wait=0)):
                with pytest.raises(zk.AcquireTimeoutError):
                    async with refused:
                        pass
        async with _lock(other).write(wait=0):
            pass
        assert there.znodes() == STAYS


async def test_the_same_task_gets_an_error_instead_of_waiting_for_itself() -> None:
    async with connected_clients("a") as (there, (client,)):
        lock = _lock(client)
        both = (lock.read, lock.write)
        for first in both:
            early = [second() for second in both]  # only entering them counts
            async with first() as hold:
                for second in [*early, lock.read(wait=0), lock.write(wait=0)]:
                    with pytest.raises(RuntimeError, match=r"this task has already entered"):
                        async with second:
                            pass
                hold.check()
        assert there.znodes() == STAYS


async def test_building_it_does_no_io_and_refuses_invalid_arguments() -> None:
    async with connected_clients("a") as (there, (client,)):
        before = len(there.requests)
        assert repr(_lock(client)) == f"<ReadWriteLock {DIRECTORY} me>"
        with pytest.raises(ValueError, match="path"):
            zk.ReadWriteLock(client, "locks")
        with pytest.raises(ValueError, match="not 'zoo'"):
            _lock(client, layout="zoo")
        with pytest.raises(ValueError, match=r"must give its owner READ|at least one entry"):
            _lock(client, acl=[])
        assert len(there.requests) == before


@pytest.mark.parametrize("layout", ["kazoo", "curator"])
async def test_other_children_of_the_directory_are_ignored(layout: str) -> None:
    """Children that are not contenders do not affect the order."""
    async with connected_clients("a") as (_, (client,)):
        await client.ensure_path(DIRECTORY)
        for name in ("0", "__lock__", "__READ__", "stranger-0000000000", "__WRIT__x"):
            await client.create(f"{DIRECTORY}/{name}")
        lock = _lock(client, layout=layout)
        async with lock.write(wait=0) as hold:
            await lock.downgrade()
            (contender,) = await lock.contenders()
            assert contender.path == hold.path


async def test_readers_and_writers_in_order_when_the_counter_wraps() -> None:
    async with connected_clients("a", start_counter=2**31 - 3) as (_, (client,)):
        async with anyio.create_task_group() as tasks:
            party = _Party(tasks)
            await party.come(client, "aWbX")
            await party.leave("a")
            await party.downgrade("W")
            assert party.inside == ["w", "b"]
            await party.leave("W", "b", "X")
        assert party.entered == list("aWbX")


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_the_loss_of_the_lock(kind: str) -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        lock = _lock(client)
        with pytest.raises(zk.LockLostError):
            async with getattr(lock, kind)() as hold:
                await other.delete(hold.path)
                await anyio.sleep_forever()
        with pytest.raises(zk.LockLostError):
            async with getattr(lock, kind)():
                there.server.expire(client.session.id)
                await anyio.sleep_forever()
        with pytest.raises(zk.LockLostError):
            async with getattr(lock, kind)():
                there.network.cut(source="a")
                await anyio.sleep_forever()
        there.network.heal()
        await anyio.sleep(TIMEOUT)
        assert there.znodes() == STAYS


# --- downgrade -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["kazoo", "curator"])
async def test_a_downgraded_writer_shares_with_the_readers_behind_it(layout: str) -> None:
    """Readers before the next writer enter; that writer and all later contenders wait."""
    async with _party(layout=layout) as (_, client, party):
        await party.come(client, "WabXc")
        hold = party.holds["W"]
        path, token = hold.path, hold.fencing_token
        assert party.inside == ["W"]
        await party.downgrade("W")
        assert sorted(party.inside) == ["a", "b", "w"]
        assert hold.path != path
        assert hold.path[-10:] == path[-10:]
        assert hold.fencing_token == token
        await hold.confirm()
        async with hold.transaction() as tx:
            tx.set(DIRECTORY, b"by the reader")
        (first, *_) = await _lock(client, layout=layout).contenders()
        assert first.path == hold.path
        await party.leave("a", "b")
        assert party.inside == ["w"]
        await party.leave("W")
        assert party.inside == ["X"]
        await party.leave("X", "c")
        assert party.entered[0] == "W"
        assert party.entered[-2:] == ["X", "c"]


async def test_both_znodes_exist_during_the_switch_so_that_no_writer_gets_in_between() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        children: list[set[str]] = []
        lock = _lock(client)
        async with anyio.create_task_group() as tasks, lock.write() as hold:
            party = _Party(tasks)
            await party.come(other, "X")
            (waiting,) = there.znodes() - {*STAYS, hold.path}
            there.before_request = lambda _: children.append(there.znodes() - {*STAYS, waiting})
            written = hold.path
            await lock.downgrade()
            there.before_request = lambda _: None
            # before the create, before the check of the new znode, before the delete
            assert children == [{written}, {written, hold.path}, {written, hold.path}]
            await anyio.sleep(TIMEOUT)
            assert party.inside == []
            hold.check()
            party._leave["X"].set()  # noqa: SLF001
        assert party.entered == ["X"]
        assert there.znodes() == STAYS


async def test_a_downgrade_by_curator_is_understood() -> None:
    """A reader's znode that is not sequential, with the writer's sequence number."""
    async with connected_clients("a", "b") as (_, (client, theirs)):
        lock = _lock(client, layout="curator")
        name = f"{DIRECTORY}/_c_00000000-0000-0000-0000-00000000000{{}}-__{{}}__"
        writer = await theirs.create(
            name.format(1, "WRIT"), ephemeral=True, sequential=True, make_parents=True
        )
        reader = await theirs.create(name.format(0, "READ") + writer[-10:], ephemeral=True)
        with pytest.raises(zk.AcquireTimeoutError):
            async with lock.read(wait=0):
                pass
        await theirs.delete(writer)
        async with lock.read(wait=0):
            pass
        with pytest.raises(zk.AcquireTimeoutError):
            async with lock.write(wait=0):
                pass
        await theirs.delete(reader)
        async with lock.write(wait=0):
            pass


async def test_a_task_that_does_not_write_has_nothing_to_downgrade() -> None:
    async with connected_clients("a") as (there, (client,)):
        lock = _lock(client)
        with pytest.raises(RuntimeError, match=r"does not hold .* for writing"):
            await lock.downgrade()
        async with lock.read():
            with pytest.raises(RuntimeError, match=r"does not hold .* for writing"):
                await lock.downgrade()
        async with lock.write() as hold:
            await lock.downgrade()
            with pytest.raises(RuntimeError, match=r"does not hold .* for writing"):
                await lock.downgrade()  # once is enough, and twice would remove the only znode
            with pytest.raises(RuntimeError, match=r"this task has already entered"):
                async with lock.read():
                    pass
            assert there.znodes() == {*STAYS, hold.path}
            await hold.confirm()
        assert there.znodes() == STAYS


async def test_another_task_cannot_downgrade() -> None:
    """A child task is not the holder."""
    async with connected_clients("a") as (_, (client,)):
        lock = _lock(client)

        async def child() -> None:
            with pytest.raises(RuntimeError, match="does not hold"):
                await lock.downgrade()

        async with lock.write(), anyio.create_task_group() as tasks:
            tasks.start_soon(child)


async def test_the_loss_of_a_downgraded_lock() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        lock = _lock(client)
        with pytest.raises(zk.LockLostError) as caught:
            async with lock.write() as hold:
                await lock.downgrade()
                await other.delete(hold.path)
                await anyio.sleep_forever()
        assert caught.value.path == hold.path
        assert there.znodes() == STAYS


async def test_a_downgrade_of_a_lost_lock() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        lock = _lock(client)
        with pytest.raises(zk.LockLostError):
            async with lock.write():
                there.server.expire(client.session.id)
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1)
                await lock.downgrade()
        # an administrator deletes it before the next check
        with pytest.raises(zk.LockLostError):
            async with lock.write() as hold:

                def remove(seen: ReceivedRequest) -> None:
                    if seen.opcode == OpCode.CREATE:
                        there.before_request = lambda _: None
                        for path in (hold.path, DIRECTORY):
                            there.server.processor.tree.remove(path, there.server.processor.zxid)

                there.before_request = remove
                await lock.downgrade()
        await other.ensure_path(DIRECTORY)
        assert there.znodes() == STAYS


async def test_a_downgrade_that_is_refused_leaves_a_write_lock() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        lock = _lock(client)
        async with lock.write() as hold:
            await client.set_acl(
                DIRECTORY, [zk.ACL(zk.Perms.ALL & ~zk.Perms.CREATE, zk.Id("world", "anyone"))]
            )
            with pytest.raises(zk.NoAuthError):
                await lock.downgrade()
            await hold.confirm()
            await client.set_acl(DIRECTORY, zk.OPEN_ACL)
            with pytest.raises(zk.AcquireTimeoutError):
                async with _lock(other).read(wait=0):
                    pass
            await lock.downgrade()
            async with _lock(other).read(wait=0):
                pass
        assert there.znodes() == STAYS


# --- faults of every kind ---------------------------------------------------------------------------------


async def _write_downgrade_read(_: World, client: zk.Client) -> str:
    lock = _lock(client, "faulty")
    async with lock.write() as hold:
        await anyio.sleep(TIMEOUT / 16)
        hold.check()
        await lock.downgrade()
        await hold.confirm()
        await anyio.sleep(TIMEOUT / 16)
        hold.check()
    return "held"


async def _read(_: World, client: zk.Client) -> str:
    async with _lock(client, "faulty").read() as hold:
        await anyio.sleep(TIMEOUT / 16)
        hold.check()
    return "held"


@asynccontextmanager
async def _others(there: World) -> AsyncIterator[None]:
    """A writer has it at first; a reader and a writer queue up behind."""
    async with there.connect("rival") as rival, anyio.create_task_group() as tasks:
        is_held = anyio.Event()
        writers: list[str] = []
        readers: list[str] = []

        async def write(name: str) -> None:
            async with _lock(rival, name).write():
                is_held.set()
                writers.append(name)
                assert len(writers) == 1
                assert not readers
                await anyio.sleep(TIMEOUT / 8)
                writers.remove(name)

        async def read(name: str) -> None:
            async with _lock(rival, name).read():
                readers.append(name)
                assert not writers
                await anyio.sleep(TIMEOUT / 8)
                readers.remove(name)

        tasks.start_soon(write, "first")
        await is_held.wait()

        async def come_later() -> None:
            await anyio.sleep(1)
            tasks.start_soon(read, "reader")
            await anyio.sleep(0.5)
            tasks.start_soon(write, "writer")

        tasks.start_soon(come_later)
        yield


def _is_held(outcome: Outcome) -> None:
    assert outcome.result == "held"


def _is_held_or_lost(outcome: Outcome) -> None:
    assert outcome.result == "held" or type(outcome.error) is zk.LockLostError


@pytest.mark.parametrize(
    ("act", "other_clients"),
    [(_write_downgrade_read, None), (_write_downgrade_read, _others), (_read, _others)],
    ids=["downgrade, alone", "downgrade, contended", "read, contended"],
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
    assert await inject_into_each_request(act, judge, fault_kind, may_remain=STAYS, **options) >= 5


async def _downgrade_for_a_moment(_: World, client: zk.Client) -> str:
    lock = _lock(client, "faulty")
    async with lock.write() as hold:
        await lock.downgrade()
        hold.check()
    return "held"


@asynccontextmanager
async def _a_lost_reply(there: World) -> AsyncIterator[None]:
    """The reply to the second create: it is unknown whether the second znode exists."""
    async with there.connect("maker") as maker:
        await maker.ensure_path(DIRECTORY)
    fault = there.server.faults.lose_reply(OpCode.CREATE, skip=1)
    yield
    fault.remove()


def _is_held_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert outcome.result == "held" or is_cancelled


@pytest.mark.parametrize("other_clients", [None, _a_lost_reply], ids=["alone", "reply lost"])
async def test_a_downgrade_cancelled_at_each_pass(other_clients: Any) -> None:
    options = {} if other_clients is None else {"other_clients": other_clients}
    number = await cancel_at_each_pass(
        _downgrade_for_a_moment, _is_held_or_cancelled, may_remain=STAYS, **options
    )
    assert number >= 20


@asyncio_only
@pytest.mark.parametrize("again_after", [None, 2])
async def test_a_downgrade_cancelled_natively_at_each_pass(again_after: int | None) -> None:
    number = await cancel_at_each_pass(
        _downgrade_for_a_moment,
        _is_held_or_cancelled,
        may_remain=STAYS,
        other_clients=_a_lost_reply,
        native=True,
        again_after=again_after,
    )
    assert number >= 20


async def test_after_a_cancelled_downgrade_the_lock_is_one_or_the_other() -> None:
    """The block may continue, and downgrade again."""
    async with connected_clients("a", "b") as (there, (client, other)):
        for passes in range(1, 20):
            lock = _lock(client)
            async with lock.write() as hold:
                async with anyio.create_task_group() as tasks:

                    async def cancel_soon(scope: anyio.CancelScope, passes: int) -> None:
                        for _ in range(passes):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()

                    with anyio.CancelScope() as scope:
                        tasks.start_soon(cancel_soon, scope, passes)
                        await lock.downgrade()
                await hold.confirm()
                is_writing = "__lock__" in hold.path
                with suppress(zk.AcquireTimeoutError):
                    async with _lock(other).read(wait=0):
                        assert not is_writing
                if is_writing:
                    await lock.downgrade()
                async with _lock(other).read(wait=0):
                    assert "__rlock__" in hold.path
            assert there.znodes() == STAYS


async def test_an_expiry_during_the_switch_leaves_nothing_in_the_next_session() -> None:
    """A session that does not own the first znode does not create the second."""
    async with connected_clients("a") as (there, (client,)):
        lock = _lock(client)
        with pytest.raises(zk.LockLostError):
            async with lock.write():
                session_id = client.session.id
                there.server.faults.drop_request(OpCode.CREATE, session_id=session_id)
                there.server.faults.inject(2, FaultKind.EXPIRE, session_id=session_id)
                with anyio.CancelScope(shield=True):
                    await lock.downgrade()
                await anyio.sleep_forever()
        await anyio.sleep(TIMEOUT / 2)
        assert there.znodes() == STAYS

"""Every recipe of kazoo between two of its clients on the dev server."""

from __future__ import annotations

import datetime as dt
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import CancelledError
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.watchers import PatientChildrenWatch

from zkrecipes.devserver import DevServer
from zkrecipes.testing import ThreadedDevServer

PATIENCE = 10
NOW = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - kazoo compares it with times that have no zone


@pytest.fixture
def server() -> Iterator[ThreadedDevServer]:
    with ThreadedDevServer(DevServer(seed=0)) as server:
        yield server


@pytest.fixture
def one(server: ThreadedDevServer) -> Iterator[KazooClient]:
    yield from _client(server)


@pytest.fixture
def two(server: ThreadedDevServer) -> Iterator[KazooClient]:
    yield from _client(server)


def _client(server: ThreadedDevServer) -> Iterator[KazooClient]:
    client = KazooClient(server.connect_string)
    client.start(timeout=PATIENCE)
    yield client
    client.stop()
    client.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


class Room:
    """A room with a limit. It records each visitor, and the highest number at one time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0
        self.entered: list[str] = []

    def visit(self, name: str) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self.entered.append(name)
        with self._lock:
            self._inside -= 1


def _finish(*futures: Future[None]) -> None:
    for future in futures:
        future.result(PATIENCE)


def _until(queue_: queue.Queue[object], wanted: object) -> None:
    """Take items from the queue until the expected one arrives."""
    while queue_.get(timeout=PATIENCE) != wanted:
        pass


def test_a_lock_lets_one_in_at_a_time(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    room = Room()

    def work(client: KazooClient, name: str) -> None:
        for _ in range(10):
            with client.Lock("/lock", name):
                room.visit(name)

    _finish(threads.submit(work, one, "one"), threads.submit(work, two, "two"))
    assert room.most == 1
    assert sorted(room.entered) == ["one"] * 10 + ["two"] * 10
    assert one.Lock("/lock").contenders() == []


def test_readers_share_and_a_writer_waits_for_them(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    first, second = one.ReadLock("/rw"), two.ReadLock("/rw")
    assert first.acquire(timeout=PATIENCE)
    assert second.acquire(timeout=PATIENCE)
    writer = two.WriteLock("/rw", "writer")
    assert not writer.acquire(blocking=False)
    got = threads.submit(writer.acquire, timeout=PATIENCE)
    first.release()
    assert not got.done()
    second.release()
    assert got.result(PATIENCE)
    assert not one.ReadLock("/rw").acquire(blocking=False)
    writer.release()


def test_a_semaphore_has_so_many_leases(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    first, second, third = (client.Semaphore("/s", max_leases=2) for client in (one, two, two))
    assert first.acquire(timeout=PATIENCE)
    assert second.acquire(timeout=PATIENCE)
    assert not third.acquire(blocking=False)
    got = threads.submit(third.acquire, timeout=PATIENCE)
    assert len(one.Semaphore("/s", max_leases=2).lease_holders()) == 2
    first.release()
    assert got.result(PATIENCE)
    second.release()
    third.release()


def test_an_election_has_one_leader_after_the_other(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    room, leads, resign = Room(), threading.Event(), threading.Event()

    def reign() -> None:
        leads.set()
        assert resign.wait(PATIENCE)
        room.visit("one")

    first = threads.submit(one.Election("/e", "one").run, reign)
    assert leads.wait(PATIENCE)
    second = threads.submit(two.Election("/e", "two").run, room.visit, "two")
    while one.Election("/e").contenders() != ["one", "two"]:
        assert not second.done()
    resign.set()
    _finish(first, second)
    assert room.entered == ["one", "two"]


@pytest.mark.parametrize("kind", ["Party", "ShallowParty"])
def test_a_party_lists_its_members(one: KazooClient, two: KazooClient, kind: str) -> None:
    first, second = getattr(one, kind)("/party", "ann"), getattr(two, kind)("/party", "bob")
    first.join()
    second.join()
    assert sorted(first) == ["ann", "bob"]
    assert len(second) == 2
    two.stop()
    assert list(first) == ["ann"]
    first.leave()
    assert len(first) == 0


def test_a_barrier_holds_until_it_is_removed(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    one.Barrier("/barrier").create()
    assert not two.Barrier("/barrier").wait(timeout=0.05)
    passed = threads.submit(two.Barrier("/barrier").wait, PATIENCE)
    assert one.Barrier("/barrier").remove()
    assert passed.result(PATIENCE)


def test_a_double_barrier_is_entered_and_left_together(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    barriers = [client.DoubleBarrier("/double", 2, name) for client, name in ((one, "1"), (two, "2"))]
    first = threads.submit(barriers[0].enter)
    assert not first.done()
    _finish(threads.submit(barriers[1].enter), first)
    assert all(barrier.participating for barrier in barriers)
    _finish(*(threads.submit(barrier.leave) for barrier in barriers))
    assert one.get_children("/double") == []


def test_a_counter_counts_what_both_add(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    def count(client: KazooClient) -> None:
        counter = client.Counter("/count", default=5)
        for _ in range(20):
            counter += 1

    _finish(threads.submit(count, one), threads.submit(count, two))
    assert one.Counter("/count", default=5).value == 45


def test_a_queue_gives_by_priority_and_then_in_order(one: KazooClient, two: KazooClient) -> None:
    source = one.Queue("/queue")
    for value, priority in ((b"last", 200), (b"first", 1), (b"a", 100), (b"b", 100)):
        source.put(value, priority)
    sink = two.Queue("/queue")
    assert len(sink) == 4
    assert [sink.get() for _ in range(5)] == [b"first", b"a", b"b", b"last", None]


def test_a_locking_queue_gives_each_entry_to_one(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    one.LockingQueue("/locking").put_all([b"a", b"b"])
    first, second = one.LockingQueue("/locking"), two.LockingQueue("/locking")
    assert {first.get(PATIENCE), second.get(PATIENCE)} == {b"a", b"b"}
    assert first.consume()
    assert second.release()
    waiting = threads.submit(one.LockingQueue("/locking").get, PATIENCE)
    assert waiting.result(PATIENCE) == b"b"


def test_a_set_is_partitioned_between_two(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    def take(client: KazooClient, name: str) -> set[str]:
        # kazoo waits for the time boundary. Within it, no member may join or leave.
        partitioner = client.SetPartitioner("/parts", ("x", "y"), identifier=name, time_boundary=0.3)
        while True:
            if partitioner.failed:
                raise AssertionError(f"{name} failed")
            if partitioner.release:
                partitioner.release_set()
            elif partitioner.acquired and len(set(partitioner)) == 1:
                ready.wait(PATIENCE)
                got = set(partitioner)
                partitioner.finish()
                return got
            else:
                partitioner.wait_for_acquire(1)

    ready = threading.Barrier(2)
    parts = [threads.submit(take, client, name) for client, name in ((one, "1"), (two, "2"))]
    assert sorted(map(sorted, (part.result(PATIENCE) for part in parts))) == [["x"], ["y"]]


def test_a_tree_cache_follows_what_the_other_does(one: KazooClient, two: KazooClient) -> None:
    events: queue.Queue[object] = queue.Queue()
    one.ensure_path("/tree")
    cache = TreeCache(one, "/tree")

    def listener(event: TreeEvent) -> None:
        events.put((event.event_type, event.event_data and event.event_data.path))

    cache.listen(listener)
    cache.start()
    _until(events, (TreeEvent.INITIALIZED, None))
    two.create("/tree/a/b", b"deep", makepath=True)
    _until(events, (TreeEvent.NODE_ADDED, "/tree/a/b"))
    assert cache.get_data("/tree/a/b").data == b"deep"
    two.set("/tree/a/b", b"new")
    _until(events, (TreeEvent.NODE_UPDATED, "/tree/a/b"))
    assert cache.get_data("/tree/a/b").data == b"new"
    two.delete("/tree/a", recursive=True)
    _until(events, (TreeEvent.NODE_REMOVED, "/tree/a"))
    assert cache.get_children("/tree") == set()
    cache.close()


def test_watchers_call_back_for_each_change(one: KazooClient, two: KazooClient) -> None:
    one.create("/w", b"0")
    values: queue.Queue[object] = queue.Queue()
    lists: queue.Queue[object] = queue.Queue()
    one.DataWatch("/w", lambda data, _: values.put(data))
    one.ChildrenWatch("/w", lambda children: lists.put(sorted(children)))
    assert (values.get(timeout=PATIENCE), lists.get(timeout=PATIENCE)) == (b"0", [])
    for number in range(1, 6):
        two.set("/w", b"%d" % number)
        assert values.get(timeout=PATIENCE) == b"%d" % number
        two.create(f"/w/{number}")
        assert lists.get(timeout=PATIENCE) == [str(each) for each in range(1, number + 1)]


def test_a_patient_watch_waits_until_a_list_is_quiet(one: KazooClient) -> None:
    one.ensure_path("/patient/a")
    children, changed = PatientChildrenWatch(one, "/patient", time_boundary=0.1).start().get(timeout=PATIENCE)
    assert children == ["a"]
    one.create("/patient/b")
    changed.get(timeout=PATIENCE)


def test_a_lease_is_one_holders_until_it_runs_out(one: KazooClient, two: KazooClient) -> None:
    def lease(client: KazooClient, name: str, now: dt.datetime) -> bool:
        duration = dt.timedelta(minutes=1)
        return bool(client.NonBlockingLease("/lease", duration, name, utcnow=lambda: now))

    assert lease(one, "one", NOW)
    assert not lease(two, "two", NOW)
    assert lease(one, "one", NOW)
    assert lease(two, "two", NOW + dt.timedelta(minutes=2))


def test_several_may_have_a_lease(one: KazooClient, two: KazooClient) -> None:
    def lease(client: KazooClient, name: str) -> bool:
        duration = dt.timedelta(minutes=1)
        return bool(client.MultiNonBlockingLease(2, "/leases", duration, name, utcnow=lambda: NOW))

    assert [lease(one, "a"), lease(two, "b"), lease(two, "c")] == [True, True, False]


def test_a_transaction_as_a_block_is_all_or_nothing(one: KazooClient, two: KazooClient) -> None:
    with one.transaction() as transaction:
        transaction.create("/t", b"1")
        transaction.create("/t/s-", sequence=True)
        transaction.create("/t/e", ephemeral=True)
        transaction.set_data("/t", b"2")
        transaction.delete("/t/s-0000000000")
    assert two.get("/t")[0] == b"2"
    assert two.get_children("/t") == ["e"]


def test_a_waiter_for_a_lock_can_give_up(
    one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    with one.Lock("/lock", "one"):
        waiter = two.Lock("/lock", "two")
        waiting = threads.submit(_raised_by, waiter.acquire)
        while one.Lock("/lock").contenders() != ["one", "two"]:
            assert not waiting.done()
        waiter.cancel()
        assert waiting.result(PATIENCE) is CancelledError
        assert one.Lock("/lock").contenders() == ["one"]


def _raised_by(call: Callable[[], object]) -> type[BaseException] | None:
    try:
        call()
    except CancelledError as error:
        return type(error)
    return None


def test_a_lock_is_handed_on_when_its_holders_session_expires(
    server: ThreadedDevServer, one: KazooClient, two: KazooClient, threads: ThreadPoolExecutor
) -> None:
    held = one.Lock("/lock", "one")
    assert held.acquire(timeout=PATIENCE)
    waiting = threads.submit(two.Lock("/lock", "two").acquire, timeout=PATIENCE)
    while two.Lock("/lock").contenders() != ["one", "two"]:
        assert not waiting.done()
    session_id, _ = one.client_id
    server.expire(session_id)
    assert waiting.result(PATIENCE)

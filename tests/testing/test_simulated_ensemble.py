"""The simulated ensemble keeps the rules that decide what clients see when servers fail."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

import zkrecipes as zk
from tests.devserver.raw_client import OPEN, ClosedError, RawClient
from zkrecipes.codec.messages import (
    CheckRequest,
    CloseSessionRequest,
    CreateRequest,
    ExistsRequest,
    GetDataRequest,
    SyncRequest,
)
from zkrecipes.enums import EventType
from zkrecipes.testing import CommittedTransaction, MemoryNetwork, SimulatedEnsemble

pytestmark = [pytest.mark.trio, pytest.mark.usefixtures("autojump_clock")]


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def _client(
    ensemble: SimulatedEnsemble, *numbers: int, source: str = "", **options: Any
) -> AbstractAsyncContextManager[zk.Client]:
    """Connect a client that knows only these replicas; without numbers, all."""
    hosts = ",".join(ensemble.address(number) for number in numbers or ensemble.numbers)
    return zk.connect(hosts, network=ensemble.network.view(source), **options)


@asynccontextmanager
async def _raw(
    ensemble: SimulatedEnsemble, number: int, session_id: int = 0, password: bytes = bytes(16)
) -> AsyncIterator[tuple[RawClient, Any]]:
    client = RawClient(await ensemble.network.connect(ensemble.host(number), 2181))
    try:
        yield client, await client.attach(session_id=session_id, password=password)
    finally:
        await client.stream.aclose()


def _a_follower(ensemble: SimulatedEnsemble) -> int:
    return ensemble.followers[0]


def _data(ensemble: SimulatedEnsemble, path: str) -> Iterator[bytes | None]:
    for number in ensemble.numbers:
        node = ensemble.tree(number).find(path)
        yield None if node is None else node.data


async def test_a_write_reaches_every_replica(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble, _client(ensemble) as client:
        stat = await client.create_with_stat("/a", b"1")
        await trio.sleep(0.1)
        assert list(_data(ensemble, "/a")) == [b"1"] * 3
        stats = {ensemble.tree(number).get("/a").stat() for number in ensemble.numbers}
        assert len(stats) == 1
        assert stat[1] in stats


async def test_errors_are_the_same_through_every_replica(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        for number in ensemble.numbers:
            async with _client(ensemble, number) as client:
                with pytest.raises(zk.NoNodeError):
                    await client.create("/no/parent", b"")
                with pytest.raises(zk.TransactionError, match="no such znode: /missing"):
                    await _transact(client, f"/{number}")
                assert await client.get_children("/") == ["zookeeper"]


async def _transact(client: zk.Client, path: str) -> None:
    async with client.transaction() as transaction:
        transaction.create(path, b"")
        transaction.check("/missing", version=1)


async def test_the_same_seed_gives_the_same_run(autojump_clock: MockClock) -> None:
    async def run(seed: int) -> tuple[float, int | None]:
        began = trio.current_time()
        async with SimulatedEnsemble(seed=seed) as ensemble:
            return trio.current_time() - began, ensemble.leader

    assert await run(5) == pytest.approx(await run(5))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_an_ensemble_of_any_size_serves(size: int, autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble(size) as ensemble, _client(ensemble) as client:
        assert ensemble.numbers == list(range(1, size + 1))
        assert len(ensemble.followers) == size - 1
        await client.create("/a", b"")


async def test_committed_transactions_can_be_followed_from_the_first(autojump_clock: MockClock) -> None:
    followed: list[tuple[int | None, bool, list[str]]] = []

    def follow(transaction: CommittedTransaction) -> None:
        children = sorted(transaction.tree.get("/").children or ())
        followed.append((transaction.session_id, transaction.is_session_end, children))

    async with SimulatedEnsemble() as ensemble:
        async with _client(ensemble) as client:
            session_id = client.session.id
            await client.create("/a")
            ensemble.follow_commits(follow)
            before = [(None, False, ["zookeeper"]), (session_id, False, ["a", "zookeeper"])]
            assert followed == before
            await client.create("/b", ephemeral=True)
        assert followed[2:] == [
            (session_id, False, ["a", "b", "zookeeper"]),
            (session_id, True, ["a", "zookeeper"]),
        ]


async def test_it_runs_once(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        pass
    with pytest.raises(RuntimeError, match="runs only once"):
        await ensemble.__aenter__()


async def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="size=0"):
        SimulatedEnsemble(0)
    with pytest.raises(ValueError, match="number must be between 1 and 3, not 4"):
        SimulatedEnsemble().host(4)


async def test_it_also_works_in_real_time_and_on_asyncio() -> None:
    async def use() -> None:
        async with SimulatedEnsemble(1) as ensemble, _client(ensemble) as client:
            _, stat = await client.create_with_stat("/a", b"")
            assert abs(stat.ctime / 1000 - time.time()) < 10

    await trio.to_thread.run_sync(lambda: anyio.run(use, backend="asyncio"))


# --- old reads, sync, order ---------------------------------------------------------------------------------


async def test_a_late_replica_reads_old_data_until_a_sync(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        late = _a_follower(ensemble)
        async with _client(ensemble, ensemble.leader or 0) as writer, _client(ensemble, late) as reader:
            await writer.create("/a", b"old")
            await reader.sync("/")
            ensemble.lag(late, 3)
            await writer.set("/a", b"new")
            assert (await reader.get("/a")).data == b"old"
            began = trio.current_time()
            await reader.sync("/a")
            assert trio.current_time() - began == pytest.approx(3, abs=0.1)
            assert (await reader.get("/a")).data == b"new"


async def test_a_lag_of_0_ends_the_lag(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        late = _a_follower(ensemble)
        async with _client(ensemble, ensemble.leader or 0) as writer:
            ensemble.lag(late, math.inf)
            await writer.create("/a", b"")
            await trio.sleep(1000)
            assert "/a" not in ensemble.tree(late)
            ensemble.lag(late, 0)
            assert "/a" in ensemble.tree(late)


async def test_a_client_sees_its_own_writes_even_through_a_late_replica(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        late = _a_follower(ensemble)
        async with _client(ensemble, late) as client:
            ensemble.lag(late, 1)
            async with client.pipeline() as pipe:
                before = pipe.exists("/a")
                pipe.create("/a", b"1")
                after = pipe.exists("/a")
            assert (before.result() is None, after.result() is None) == (True, False)


async def test_a_watch_fires_when_the_clients_replica_applies_the_change(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        late = _a_follower(ensemble)
        async with (
            _client(ensemble, ensemble.leader or 0) as writer,
            _client(ensemble, late) as reader,
            reader.watch("/a") as events,
        ):
            ensemble.lag(late, 2)
            await writer.create("/a", b"")
            began = trio.current_time()
            event = await anext(events)
            assert (event.type, event.path) == (EventType.CREATED, "/a")
            assert trio.current_time() - began == pytest.approx(2, abs=0.1)


async def test_a_replica_that_is_behind_its_client_refuses_it(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        late = _a_follower(ensemble)
        ensemble.lag(late, math.inf)
        async with _client(ensemble, *ensemble.numbers, source="one") as client:
            await client.create("/a", b"")
            for number in ensemble.numbers:
                if number != late:
                    ensemble.network.refuse(source="one", host=ensemble.host(number))
            ensemble.network.reset(source="one")
            with trio.move_on_after(2) as scope:
                await client.get("/a")
            assert scope.cancelled_caught
            ensemble.lag(late, 0)
            await client.get("/a")
            assert ensemble.attached_to(client.session.id) == [late]


async def test_a_late_replica_lets_a_session_wait_that_it_does_not_know_yet(
    autojump_clock: MockClock,
) -> None:
    async with SimulatedEnsemble() as ensemble:
        late = _a_follower(ensemble)
        ensemble.lag(late, 3)
        began = trio.current_time()
        async with (
            _raw(ensemble, ensemble.leader or 0) as (_, hello),
            _raw(ensemble, late, hello.session_id, hello.password) as (client, again),
        ):
            assert again.session_id == hello.session_id
            assert trio.current_time() - began == pytest.approx(3, abs=0.1)
            await client.ok(SyncRequest("/"))


# --- sessions -----------------------------------------------------------------------------------------------


async def test_a_session_lives_behind_any_replica_and_ends_when_its_client_falls_silent(
    autojump_clock: MockClock,
) -> None:
    async with SimulatedEnsemble(tick_time=1) as ensemble:
        for number in ensemble.numbers:
            async with _client(ensemble, number, source="one", session_timeout=4) as client:
                session = client.session
                await client.create("/mine", b"", ephemeral=True)
                await trio.sleep(60)
                assert client.session is session
                ensemble.network.cut(source="one")
                cut_at = trio.current_time()
                ended_at = await ensemble.session_ended(session.id)
                # A timeout after the last touch, which is up to T/3 older, in buckets of a tick; a touch that
                # comes through a learner is up to half a tick late.
                assert 4 - 4 / 3 < ended_at - cut_at <= 4 + 1 + 0.5
                assert set(_data(ensemble, "/mine")) == {None}
                ensemble.network.heal(source="one")


async def test_a_closed_session_is_answered_and_ends_on_all_replicas(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        for number in ensemble.numbers:
            async with _raw(ensemble, number) as (client, hello):
                await client.ok(CreateRequest("/mine", b"", OPEN, 1))
                await client.ok(CloseSessionRequest())
                assert await client.is_closed()
                await trio.sleep(0.1)
                assert set(_data(ensemble, "/mine")) == {None}
                assert ensemble.ended_at(hello.session_id) is not None


async def test_a_session_moves_and_its_old_connection_can_write_no_more(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        one, other = ensemble.followers
        async with (
            _raw(ensemble, one) as (before, hello),
            _raw(ensemble, other, hello.session_id, hello.password) as (after, _),
        ):
            assert ensemble.attached_to(hello.session_id) == sorted([one, other])
            assert (await before.call(ExistsRequest("/a"))).err == -101
            await before.send(CreateRequest("/a", b"", OPEN, 0))
            assert await before.is_closed()
            assert (await after.call(ExistsRequest("/a"))).err == -101
            await after.ok(CreateRequest("/a", b"", OPEN, 0))


async def test_a_wrong_password_is_an_expiry(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble, _raw(ensemble, 1) as (_, hello):
        for number in ensemble.numbers:
            async with _raw(ensemble, number, hello.session_id, b"wrong") as (_, again):
                assert (again.session_id, again.timeout_ms) == (0, 0)


async def test_a_session_can_be_expired(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble, _client(ensemble) as client:
        session = client.session
        ensemble.expire(session.id)
        await session.wait_closed()
        await client.get("/")
        assert client.session is not session
        with pytest.raises(KeyError, match="no session"):
            ensemble.expire(session.id)


async def test_a_replica_without_its_leader_answers_pings_of_a_session_that_has_ended(
    autojump_clock: MockClock,
) -> None:
    """The leader learns of its clients from the answers to its pings, and there are no answers."""
    async with SimulatedEnsemble(tick_time=1, sync_limit=10) as ensemble:
        replica = _a_follower(ensemble)
        client = RawClient(await ensemble.network.connect(ensemble.host(replica), 2181))
        hello = await client.attach(session_timeout=4)
        for _ in range(20):
            await client.ping()
            await trio.sleep(0.5)
        ensemble.isolate(replica)
        cut_at = trio.current_time()
        for _ in range(16):
            await trio.sleep(0.5)
            await client.ping()
        ended_at = ensemble.ended_at(hello.session_id)
        assert ended_at is not None
        assert 4 - 1 <= ended_at - cut_at <= 4 + 1
        assert await client.is_closed()


async def test_requests_of_an_ended_session_are_ignored_and_its_connection_ends(
    autojump_clock: MockClock,
) -> None:
    async with SimulatedEnsemble() as ensemble:
        leader = ensemble.leader or 0
        late = _a_follower(ensemble)
        async with _raw(ensemble, leader) as (client, hello), _raw(ensemble, late) as (other, greeting):
            ensemble.lag(leader, 1)
            ensemble.lag(late, 1)
            ensemble.expire(hello.session_id)
            ensemble.expire(greeting.session_id)
            await client.send(GetDataRequest("/"))
            assert await client.is_closed()
            await other.send(CreateRequest("/late", b"", OPEN, 1))
            assert await other.is_closed()
            assert set(_data(ensemble, "/late")) == {None}


async def test_a_client_goes_to_another_replica_when_its_own_is_cut_from_it(
    autojump_clock: MockClock,
) -> None:
    async with SimulatedEnsemble() as ensemble, _client(ensemble) as client:
        session = client.session
        await client.create("/mine", b"", ephemeral=True)
        (before,) = ensemble.attached_to(session.id)
        ensemble.network.cut(host=ensemble.host(before))
        await client.get("/mine")
        assert client.session is session
        assert set(ensemble.attached_to(session.id)) - {before}


async def test_credentials_belong_to_a_write_on_every_replica(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        async with _client(ensemble, auth=[("digest", "me:secret")]) as client:
            await client.create("/private", b"", acl=zk.CREATOR_ALL_ACL)
        async with _client(ensemble) as anonymous:
            for number in ensemble.numbers:
                assert ensemble.tree(number).get("/private").acl[0].id.id.startswith("me:")
            with pytest.raises(zk.NoAuthError):
                await anonymous.set("/private", b"1")


async def test_containers_are_removed_when_they_are_empty(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble, _client(ensemble) as client:
        await client.create("/box", b"", container=True)
        await client.create("/box/thing", b"")
        await trio.sleep(90)
        assert "/box" in ensemble.tree(1)
        await client.delete("/box/thing")
        await trio.sleep(90)
        assert not any("/box" in ensemble.tree(number) for number in ensemble.numbers)


# --- losing and finding leaders -----------------------------------------------------------------------------


async def test_the_leader_moves_and_sessions_continue(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble, _client(ensemble) as client:
        session = client.session
        for to in (1, 2, 3):
            if ensemble.leader != to:
                ensemble.move_leader(to)
                await trio.sleep(0.1)
                await ensemble.serving()
            assert ensemble.leader == to
            await client.create(f"/{to}", b"")
        assert client.session is session
        await trio.sleep(0.1)
        assert len(set(map(frozenset, map(_children, map(ensemble.tree, ensemble.numbers))))) == 1


def _children(tree: Any) -> list[str]:
    return list(tree.get("/").children)


async def test_without_a_quorum_nothing_is_written_and_the_leader_steps_down(
    autojump_clock: MockClock,
) -> None:
    async with SimulatedEnsemble(tick_time=1, sync_limit=5) as ensemble:
        leader = ensemble.leader or 0
        async with _raw(ensemble, leader) as (client, _):
            for follower in ensemble.followers:
                ensemble.crash(follower)
            began = trio.current_time()
            await client.ok(SyncRequest("/"))
            await client.send(CreateRequest("/a", b"", OPEN, 0))
            with pytest.raises(ClosedError):
                await client.receive()
            assert trio.current_time() - began <= 2
            assert ensemble.leader is None
            assert not ensemble.is_serving(leader)
            for follower in (number for number in ensemble.numbers if number != leader):
                ensemble.restart(follower)
            await ensemble.serving()
        async with _client(ensemble) as again:
            # The leader had it in its log, and no other replica has more.
            assert await again.exists("/a") is not None


async def test_a_leader_cut_from_its_followers_answers_sync_while_another_leads(
    autojump_clock: MockClock,
) -> None:
    async with SimulatedEnsemble(tick_time=1, sync_limit=5) as ensemble:
        old, others = ensemble.leader or 0, ensemble.followers
        async with _raw(ensemble, old) as (client, _):
            ensemble.isolate(old)
            began = trio.current_time()
            with suppress(ClosedError):
                while True:
                    await client.ok(SyncRequest("/"))
                    await client.ok(ExistsRequest("/"))
                    await trio.sleep(0.1)
            assert 4 <= trio.current_time() - began <= 7
        await ensemble.serving(*others)
        assert ensemble.leader in others
        ensemble.heal()
        await ensemble.serving()
        assert ensemble.leader != old


async def test_proposals_of_an_isolated_leader_are_dropped(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble(tick_time=1) as ensemble:
        old = ensemble.leader or 0
        async with _raw(ensemble, old) as (client, _):
            ensemble.isolate(old)
            await client.send(CreateRequest("/lost", b"", OPEN, 0))
            await trio.sleep(20)
        async with _client(ensemble, *ensemble.followers) as other:
            await other.create("/kept", b"")
        ensemble.heal()
        await ensemble.serving(*ensemble.numbers)
        await trio.sleep(1)
        assert set(_data(ensemble, "/lost")) == {None}
        assert set(_data(ensemble, "/kept")) == {b""}


async def test_a_replica_that_was_cut_off_catches_up(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble(tick_time=1) as ensemble:
        away = _a_follower(ensemble)
        others = [number for number in ensemble.numbers if number != away]
        async with _client(ensemble, *others) as client:
            ensemble.isolate(away)
            await client.create("/a", b"")
            await trio.sleep(20)
            assert not ensemble.is_serving(away)
            ensemble.heal()
            await ensemble.serving(away)
            await trio.sleep(0.1)
            assert "/a" in ensemble.tree(away)


async def test_one_direction_can_be_blocked(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble(tick_time=1) as ensemble:
        leader, deaf = ensemble.leader or 0, _a_follower(ensemble)
        async with _raw(ensemble, deaf) as (client, _):
            ensemble.block(leader, deaf)
            await client.send(CreateRequest("/a", b"", OPEN, 0))
            await trio.sleep(1)
            # The request arrived, and the others committed it; the answer cannot arrive.
            assert "/a" in ensemble.tree(leader)
            assert "/a" not in ensemble.tree(deaf)
            ensemble.heal(leader, deaf)
            assert (await client.receive()).err == 0


async def test_a_paused_replica_continues_where_it_stopped(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble:
        paused = _a_follower(ensemble)
        async with _raw(ensemble, paused) as (client, _):
            ensemble.pause(paused)
            await client.send(ExistsRequest("/"))
            await trio.sleep(3)
            with trio.move_on_after(1) as scope:
                await client.frame()
            assert scope.cancelled_caught
            ensemble.resume(paused)
            assert (await client.receive()).err == 0


async def test_a_client_survives_a_crash_of_each_replica_in_turn(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble, _client(ensemble) as client:
        session = client.session
        await client.create("/count", b"0")
        for number in ensemble.numbers:
            ensemble.crash(number)
            while True:
                node = await client.get("/count")
                try:
                    await client.set("/count", str(number).encode(), version=node.stat.version)
                    break
                except (zk.ConnectionLossError, zk.BadVersionError):
                    continue
            ensemble.restart(number)
            await ensemble.serving()
        assert client.session is session
        await trio.sleep(1)
        assert list(_data(ensemble, "/count")) == [b"3"] * 3


async def test_a_session_has_a_full_timeout_under_a_new_leader(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble(tick_time=1) as ensemble, _raw(ensemble, 1) as (_, hello):
        await trio.sleep(9)
        ensemble.move_leader()
        await trio.sleep(0.1)
        await ensemble.serving()
        leads_at = trio.current_time()
        assert 9.5 < await ensemble.session_ended(hello.session_id) - leads_at <= 11


async def test_a_check_outside_a_multi_is_answered_as_by_a_server(autojump_clock: MockClock) -> None:
    async with SimulatedEnsemble() as ensemble, _raw(ensemble, 1) as (client, _):
        assert (await client.call(CheckRequest("/", -1))).err == -6
        assert await client.is_closed()


@pytest.mark.parametrize("word", ["ruok", "isro", "srvr", "envi"])
async def test_four_letter_words_are_answered(word: str, autojump_clock: MockClock) -> None:
    async def ask(network: MemoryNetwork, host: str) -> bytes:
        stream = await network.connect(host, 2181)
        await stream.send(word.encode())
        answer = await stream.receive()
        await stream.aclose()
        return answer

    async with SimulatedEnsemble() as ensemble:
        answers = [await ask(ensemble.network, ensemble.host(number)) for number in ensemble.numbers]
        if word == "srvr":
            modes = sorted(answer.splitlines()[-1] for answer in answers)
            assert modes == [b"Mode: follower", b"Mode: follower", b"Mode: leader"]
        else:
            assert len(set(answers)) == 1
        ensemble.crash(1)
        ensemble.crash(2)
        await trio.sleep(10)
        left = await ask(ensemble.network, ensemble.host(3))
        assert (left == b"imok") if word == "ruok" else left.startswith(b"This ZooKeeper instance is not")

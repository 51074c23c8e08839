"""ConfigWatch has the newest good value, and `update` loses no change of any client."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings, strategies as st

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    ClientLeftovers,
    Outcome,
    ReceivedRequest,
    World,
    asyncio_only,
    cancel_at_each_pass,
    inject_into_each_request,
    jumping_backend,
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode

anyio_backend = virtual_time()

PATH = "/app/config"
SECRET = [zk.ACL(zk.Perms.ALL, zk.digest_id("somebody", "else"))]


def number(client: zk.Client, path: str = PATH) -> zk.ConfigWatch[int]:
    """Create a config whose value is a number, -1 while the znode is absent."""
    return zk.ConfigWatch(client, path, decode=int, default=-1)


def encode(value: int) -> bytes:
    return b"%d" % value


@asynccontextmanager
async def stage(*names: str) -> AsyncIterator[tuple[World, list[zk.Client]]]:
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(world())
        yield there, [await stack.enter_async_context(there.connect(name)) for name in names]


async def until(config: zk.ConfigWatch[int], value: int) -> list[int]:
    """Return the values up to this one."""
    found: list[int] = []
    with anyio.fail_after(20 * TIMEOUT):
        async for each in config:
            found.append(each)
            if each == value:
                break
    return found


# --- the value ---------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_value_is_available_after_entering() -> None:
    async with stage("a") as (there, (client,)):
        await client.create(PATH, b"1", make_parents=True)
        before = ClientLeftovers.of(there, client)
        async with number(client) as config:
            assert (config.value, config.error) == (1, None)
            assert config.stat == (await client.get(PATH)).stat
            assert await anext(aiter(config)) == 1
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, client) == before


@pytest.mark.anyio
async def test_the_default_is_the_value_while_the_znode_is_absent() -> None:
    async with stage("a") as (_, (client,)):
        async with number(client) as config:
            assert (config.value, config.stat, config.error) == (-1, None, None)
            await client.create(PATH, b"1", make_parents=True)
            assert await until(config, 1) in ([1], [-1, 1])
            await client.delete(PATH)
            await until(config, -1)
            assert (config.value, config.stat, config.error) == (-1, None, None)
        async with zk.ConfigWatch(client, PATH) as bare:
            assert bare.value is None


@pytest.mark.anyio
async def test_without_decode_the_value_is_the_bytes() -> None:
    async with stage("a") as (_, (client,)):
        await client.create(PATH, None, make_parents=True)
        async with zk.ConfigWatch(client, PATH, default=b"?") as config:
            assert config.value == b""
            await client.set(PATH, b"\xff")
            assert await anext(aiter(config)) in (b"", b"\xff")
            await anyio.sleep(1)
            assert config.value == b"\xff"


@pytest.mark.anyio
async def test_each_change_is_reported() -> None:
    async with stage("a", "b") as (_, (a, b)):
        await a.create(PATH, b"0", make_parents=True)
        async with number(b) as config:
            values = aiter(config)
            for each in range(1, 20):
                await a.set(PATH, encode(each))
                await anyio.sleep(1)
                assert config.value == each
                assert await anext(values) == each


@pytest.mark.anyio
async def test_a_slow_reader_gets_only_the_newest_value() -> None:
    async with stage("a", "b") as (_, (a, b)):
        await a.create(PATH, b"0", make_parents=True)
        async with number(b) as config:
            values = aiter(config)
            assert await anext(values) == 0
            for each in range(1, 100):
                await a.set(PATH, encode(each))
            await anyio.sleep(1)
            assert await anext(values) == 99
            with anyio.move_on_after(1) as scope:
                await anext(values)
            assert scope.cancelled_caught


@pytest.mark.anyio
async def test_each_reader_has_a_separate_position() -> None:
    async with stage("a", "b") as (_, (a, b)):
        await a.create(PATH, b"0", make_parents=True)
        async with number(b) as config:
            one, two = aiter(config), aiter(config)
            assert await anext(one) == await anext(two) == 0
            await a.set(PATH, b"1")
            assert await anext(one) == await anext(two) == 1


@pytest.mark.anyio
async def test_a_recreated_znode_with_the_same_version_is_a_new_value() -> None:
    async with stage("a", "b") as (there, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        async with number(b) as config:
            for each in range(2, 6):
                there.network.cut(source="b")  # so that it does not see the deletion
                await a.delete(PATH)
                await a.create(PATH, encode(each))
                there.network.reset(source="b")
                there.network.heal()
                await until(config, each)
                assert config.stat is not None
                assert config.stat.version == 0


@pytest.mark.anyio
async def test_writing_the_same_data_again_is_a_new_value() -> None:
    async with stage("a", "b") as (_, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        async with number(b) as config:
            values = aiter(config)
            await anext(values)
            await a.set(PATH, b"1")
            assert await anext(values) == 1
            assert config.stat is not None
            assert config.stat.version == 1


@pytest.mark.anyio
async def test_reading_the_same_state_again_is_not_a_new_value() -> None:
    async with stage("a") as (there, (client,)):
        await client.create(PATH, b"1", make_parents=True)
        async with number(client) as config:
            values = aiter(config)
            await anext(values)
            there.server.drop_connections()
            await anyio.sleep(TIMEOUT / 2)
            there.server.expire(client.session.id)
            with anyio.move_on_after(TIMEOUT) as scope:
                await anext(values)
            assert scope.cancelled_caught


@pytest.mark.anyio
@pytest.mark.parametrize("keep", [True, False])
async def test_nothing_is_lost_by_a_restart_of_the_server(keep: bool) -> None:
    async with stage("a", "b") as (there, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        async with number(b) as config:
            await there.server.restart(keep=keep, downtime=1)
            if not keep:
                await until(config, -1)
                await anyio.sleep(TIMEOUT)  # the other client also has a new session
                await a.create(PATH, b"1", make_parents=True)
            await a.set(PATH, b"2")
            await until(config, 2)


@pytest.mark.anyio
async def test_nothing_is_lost_by_a_new_session() -> None:
    async with stage("a", "b") as (there, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        async with number(b) as config:
            session = b.session
            there.network.cut(source="b")
            await session.wait_closed()
            await a.set(PATH, b"2")
            there.network.heal()
            await until(config, 2)
            await a.set(PATH, b"3")
            await until(config, 3)


@pytest.mark.anyio
async def test_it_needs_no_persistent_watches() -> None:
    async with stage("a", "b") as (there, (a, b)):
        async with number(b) as config:
            await a.create(PATH, b"1", make_parents=True)
            await until(config, 1)
        assert not {OpCode.ADD_WATCH, OpCode.SET_WATCHES2} & {seen.opcode for seen in there.requests}


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_bad_data_keep_the_last_good_value(caplog: pytest.LogCaptureFixture) -> None:
    async with stage("a", "b") as (_, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        async with number(b) as config:
            values = aiter(config)
            await anext(values)
            good = config.stat
            with caplog.at_level(logging.WARNING):
                await a.set(PATH, b"two")
                await anyio.sleep(1)
            assert (config.value, config.stat) == (1, good)
            assert isinstance(config.error, ValueError)
            (record,) = (each for each in caplog.records if PATH in each.getMessage())
            assert "keeping the last value" in record.getMessage()
            await a.set(PATH, b"2")
            assert await anext(values) == 2, "bad data must not be a value"
            assert config.error is None


@pytest.mark.anyio
async def test_bad_data_at_first_leave_the_default() -> None:
    async with stage("a") as (_, (client,)):
        await client.create(PATH, b"{", make_parents=True)
        default: dict[str, int] = {}
        async with zk.ConfigWatch(client, PATH, decode=json.loads, default=default) as config:
            assert config.value == {}
            assert isinstance(config.error, json.JSONDecodeError)
            await client.delete(PATH)
            await anyio.sleep(1)
            assert config.error is None


@pytest.mark.anyio
async def test_a_broken_decoder_does_not_end_the_watch() -> None:
    def decode(data: bytes) -> int:
        raise RecursionError("mine")

    async with stage("a") as (_, (client,)):
        await client.create(PATH, b"1", make_parents=True)
        async with zk.ConfigWatch(client, PATH, decode=decode, default=-1) as config:
            assert config.value == -1
            assert isinstance(config.error, RecursionError)


@pytest.mark.anyio
async def test_a_znode_that_becomes_unreadable_keeps_its_value(caplog: pytest.LogCaptureFixture) -> None:
    """Case 59."""
    async with stage("a", "b") as (there, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        async with number(b) as config:
            values = aiter(config)
            await anext(values)
            await a.set_acl(PATH, SECRET)
            there.server.expire(b.session.id)
            await anyio.sleep(100)
            assert config.value == 1
            assert isinstance(config.error, zk.NoAuthError)
            assert caplog.text.count("could not read") == 1
            there.server.processor.tree.get(PATH).acl = there.server.processor.tree.get("/app").acl
            await anyio.sleep(100)
            assert config.value == 1
            assert await _error_of(config) is None
            with anyio.move_on_after(1) as scope:
                await anext(values)
            assert scope.cancelled_caught, "it is no news"


async def _error_of(config: zk.ConfigWatch[int]) -> Exception | None:
    """Return the error, in a function because a type checker takes a property for a constant."""
    await anyio.lowlevel.checkpoint()
    return config.error


@pytest.mark.anyio
async def test_a_znode_that_becomes_too_large_keeps_its_value() -> None:
    async with stage("a") as (there, (a,)), there.connect("b", max_packet_size=2000) as b:
        await a.create(PATH, b"1", make_parents=True)
        async with number(b) as config:
            await a.set(PATH, b"1" * 5000)
            await anyio.sleep(1)
            assert config.value == 1
            assert isinstance(config.error, zk.PacketTooLargeError)
            await a.set(PATH, b"2")
            await until(config, 2)
            assert config.error is None


@pytest.mark.anyio
async def test_a_znode_that_is_too_large_is_not_read_again_until_it_changes() -> None:
    """Each try breaks the connection, and every other request in flight on it."""
    async with stage("a") as (there, (a,)), there.connect("b", max_packet_size=2000) as b:
        await a.create(PATH, b"1", make_parents=True)
        async with number(b) as config:
            await a.set(PATH, b"1" * 5000)
            await anyio.sleep(1)
            connections = b.stats().connections
            await anyio.sleep(100 * TIMEOUT)
            assert b.stats().connections == connections
            for size in (3000, 1913):  # the reply has 2001 bytes
                await a.set(PATH, b"2" * size)
                await anyio.sleep(100 * TIMEOUT)
                connections += 1
                assert b.stats().connections == connections
                assert config.value == 1
            await a.set(PATH, b"3".zfill(1912))
            await until(config, 3)


@pytest.mark.anyio
async def test_entering_raises_if_the_first_read_is_refused() -> None:
    async with stage("a") as (there, (client,)):
        await client.create(PATH, b"1", make_parents=True)
        await client.set_acl(PATH, SECRET)
        before = ClientLeftovers.of(there, client)
        with pytest.raises(zk.NoAuthError):
            async with number(client):
                pass
        assert ClientLeftovers.of(there, client) == before


@pytest.mark.anyio
async def test_it_can_be_entered_once_and_read_inside() -> None:
    async with stage("a") as (_, (client,)):
        config = number(client)
        with pytest.raises(RuntimeError, match="must be entered before it is read"):
            aiter(config)
        async with config:
            values = aiter(config)
            await anext(values)
            with pytest.raises(RuntimeError, match="only once"):
                await config.__aenter__()
        with pytest.raises(RuntimeError, match="has ended"):
            await anext(values)
        with pytest.raises(ValueError, match="znode path"):
            zk.ConfigWatch(client, "config")


@pytest.mark.anyio
async def test_an_error_of_the_block_is_raised_bare() -> None:
    async with stage("a") as (_, (client,)):
        with pytest.raises(KeyError, match="mine"):
            async with number(client):
                raise KeyError("mine")


# --- update ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_update_creates_a_missing_znode_and_changes_an_existing_one() -> None:
    async with stage("a") as (there, (client,)):
        config = number(client)
        assert await config.update(lambda value: value + 1, encode=encode) == 0
        assert await config.update(lambda value: value + 1, encode=encode) == 1
        data, stat = await client.get(PATH)
        assert (data, stat.version) == (b"1", 1)
        assert there.server.processor.tree.get("/app").kind.value == "persistent"
        assert there.server.processor.tree.get(PATH).kind.value == "persistent"


@pytest.mark.anyio
async def test_an_update_is_seen_by_its_own_watch() -> None:
    async with stage("a") as (_, (client,)), number(client) as config:
        await config.update(lambda value: 5, encode=encode)
        await until(config, 5)


@pytest.mark.anyio
async def test_bytes_need_no_encoder() -> None:
    async with stage("a") as (_, (client,)):
        config = zk.ConfigWatch(client, PATH, default=b"")
        assert await config.update(lambda value: value + b"x") == b"x"
        assert await config.update(lambda value: value + b"x") == b"xx"
        with pytest.raises(TypeError, match="bytes"):
            await number(client, "/other").update(lambda value: 1)


@pytest.mark.anyio
async def test_an_update_without_a_change_writes_nothing() -> None:
    async with stage("a") as (_, (client,)):
        await client.create(PATH, b"1", make_parents=True)
        assert await number(client).update(lambda value: value, encode=encode) == 1
        assert (await client.get(PATH)).stat.version == 0


@pytest.mark.anyio
async def test_many_concurrent_updates_are_all_applied() -> None:
    async with stage("a", "b", "c") as (_, clients):
        async with anyio.create_task_group() as tasks:

            async def count_up(client: zk.Client) -> None:
                for _ in range(10):
                    await number(client).update(lambda value: value + 1, encode=encode)

            for client in clients * 2:
                tasks.start_soon(count_up, client)
        assert (await clients[0].get(PATH)).data == b"59"


@pytest.mark.anyio
@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("times", [1, 2])
async def test_updates_of_one_client_are_all_applied_when_their_replies_are_lost(
    is_there: bool, times: int
) -> None:
    """They write the same bytes, so the data do not show whose write was applied."""
    async with stage("a") as (there, (client,)):
        if is_there:
            await client.create(PATH, b"0", make_parents=True)
        else:
            await client.ensure_path("/app")
        operations = [OpCode.SET_DATA] if is_there else [OpCode.CREATE, OpCode.CREATE2]
        lost = there.server.faults.lose_reply(*operations, times=times)

        async def count() -> None:
            await zk.ConfigWatch(client, PATH, decode=int, default=0).update(lambda n: n + 1, encode=encode)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(count)
        assert lost.times_used >= 1
        assert (await client.get(PATH)).data == b"4"


@pytest.mark.anyio
async def test_an_error_of_the_change_function_changes_nothing() -> None:
    async with stage("a") as (_, (client,)):
        await client.create(PATH, b"1", make_parents=True)
        with pytest.raises(ZeroDivisionError):
            await number(client).update(lambda value: value // 0, encode=encode)
        await client.set(PATH, b"bad")
        with pytest.raises(ValueError, match="invalid literal"):
            await number(client).update(lambda value: value + 1, encode=encode)
        assert (await client.get(PATH)).data == b"bad"


@pytest.mark.anyio
async def test_too_much_data_for_the_server_is_an_error_and_not_an_endless_loop() -> None:
    async with world(max_packet_size=2000) as there, there.connect("a") as client:
        config = zk.ConfigWatch(client, PATH, default=b"")
        with pytest.raises(zk.ConnectionLossError):
            await config.update(lambda _: bytes(5000))
        await config.update(lambda _: b"1")
        with pytest.raises(zk.ConnectionLossError):
            await config.update(lambda _: bytes(5000))
        assert (await client.get(PATH)).data == b"1"


@pytest.mark.anyio
async def test_a_znode_that_is_deleted_during_an_update_is_created_again() -> None:
    async with stage("a") as (there, (client,)):
        await client.create(PATH, b"1", make_parents=True)
        processor = there.server.processor
        _once(there, OpCode.SET_DATA, lambda: processor.tree.remove(PATH, processor.zxid))
        assert await number(client).update(lambda value: value + 1, encode=encode) == 0
        assert (await client.get(PATH)).data == b"0"


@pytest.mark.anyio
async def test_an_update_with_an_unknowable_outcome_raises() -> None:
    """The reply was lost, and other clients have written since: one of the versions may be our write."""
    async with stage("a", "b") as (there, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        there.server.faults.lose_reply(OpCode.SET_DATA, session_id=a.session.id)
        there.network.black_hole(source="a")
        failed: list[BaseException] = []

        async def update() -> None:
            try:
                await number(a).update(lambda value: value + 1, encode=encode)
            except zk.ConnectionLossError as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(update)
            await anyio.sleep(1)
            assert await number(b).update(lambda value: value + 10, encode=encode) == 12
            there.network.heal()
        assert len(failed) == 1


@pytest.mark.anyio
async def test_a_lost_request_that_another_client_overtook_is_repeated() -> None:
    async with stage("a", "b") as (there, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        there.server.faults.drop_request(OpCode.SET_DATA, session_id=a.session.id)
        there.network.black_hole(source="a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(number(a).update, lambda value: value + 1, encode=encode))
            await anyio.sleep(1)
            await number(b).update(lambda value: value + 10, encode=encode)
            there.network.heal()
        assert (await b.get(PATH)).data == b"12"


@pytest.mark.anyio
async def test_a_lost_update_of_a_znode_that_was_recreated_is_repeated() -> None:
    """The version and the data are those of our write, but it is another znode."""
    async with stage("a", "b") as (there, (a, b)):
        await a.create(PATH, b"1", make_parents=True)
        there.server.faults.lose_reply(OpCode.SET_DATA, session_id=a.session.id)
        there.network.black_hole(source="a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(number(a).update, lambda value: value + 1, encode=encode))
            await anyio.sleep(1)
            await b.delete(PATH)
            await b.create(PATH, b"1")
            await b.set(PATH, b"2")
            there.network.heal()
        assert (await b.get(PATH)).data == b"3"


def _once(there: World, opcode: OpCode, func: Callable[[], Any]) -> None:
    """Call `func` just before the next such request is applied."""

    def before_request(seen: ReceivedRequest) -> None:
        if seen.opcode == opcode:
            there.before_request = lambda _: None
            func()

    there.before_request = before_request


# --- faults --------------------------------------------------------------------------------------------

STAYS = {"/app", PATH}


async def count_to_three(_: World, client: zk.Client) -> Any:
    for _try in range(3):
        await number(client).update(lambda value: value + 1, encode=encode)
    return (await client.get(PATH)).data


def counted(outcome: Outcome) -> None:
    assert outcome.error is None
    assert outcome.result == b"2", "an update was lost, or applied twice"


@pytest.mark.anyio
@pytest.mark.parametrize("fault_kind", FaultKind)
async def test_after_any_fault_each_update_is_applied_once(fault_kind: FaultKind) -> None:
    assert await inject_into_each_request(count_to_three, counted, fault_kind, may_remain=STAYS) >= 7


@asynccontextmanager
async def somebody_sets_it(there: World) -> AsyncIterator[None]:
    async with there.connect("other") as other, anyio.create_task_group() as tasks:

        async def count_up() -> None:
            for each in range(6):
                await anyio.sleep(1)
                await number(other).update(lambda _, each=each: each, encode=encode)  # type: ignore[misc]
                if each == 2:
                    await other.delete(PATH)

        tasks.start_soon(count_up)
        yield


async def watch_until_five(_: World, client: zk.Client) -> Any:
    async with number(client) as config:
        return (await until(config, 5))[-1]


def saw_five(outcome: Outcome) -> None:
    assert outcome.error is None
    assert outcome.result == 5


@pytest.mark.anyio
@pytest.mark.parametrize("fault_kind", FaultKind)
async def test_after_any_fault_the_newest_value_is_seen(fault_kind: FaultKind) -> None:
    count = await inject_into_each_request(
        watch_until_five, saw_five, fault_kind, may_remain=STAYS, other_clients=somebody_sets_it
    )
    assert count >= 8


async def look(_: World, client: zk.Client) -> Any:
    async with number(client) as config:
        await config.update(lambda value: 5, encode=encode)
        return (await until(config, 5))[-1]


def saw_five_or_cancelled(outcome: Outcome) -> None:
    assert outcome.result == 5 or not isinstance(outcome.error, Exception)


@pytest.mark.anyio
async def test_it_may_be_cancelled_anywhere() -> None:
    assert await cancel_at_each_pass(look, saw_five_or_cancelled, may_remain=STAYS) > 10


@asyncio_only
@pytest.mark.anyio
@pytest.mark.parametrize("again_after", [None, 0, 1, 3])
async def test_it_may_be_cancelled_natively_and_twice(again_after: int | None) -> None:
    passes = await cancel_at_each_pass(
        look, saw_five_or_cancelled, may_remain=STAYS, native=True, again_after=again_after
    )
    assert passes > 10


# --- any history -------------------------------------------------------------------------------------------

CLIENTS = 3
STEPS = st.one_of(
    st.tuples(st.just("count"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("spoil"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("delete"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("cut"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("heal"), st.just(0)),
    st.tuples(st.just("expire"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("lose"), st.integers(0, CLIENTS - 1)),
    st.tuples(st.just("restart"), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.integers(0, 20)),
)


class History:
    """Clients that write, spoil and delete a config that all of them watch, under faults."""

    def __init__(self, there: World, clients: list[zk.Client], configs: list[zk.ConfigWatch[int]]) -> None:
        self._there = there
        self._clients = clients
        self._configs = configs
        self.seen: list[list[int]] = [[] for _ in configs]

    async def play(self, steps: list[tuple[str, int]]) -> None:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for config, seen in zip(self._configs, self.seen, strict=True):
                tasks.start_soon(self._follow, config, seen)
            for step, number in steps:
                await getattr(self, f"_{step}")(number)
                await anyio.sleep(0.25)
            self._there.server.faults.clear()
            self._there.network.heal()
            await anyio.sleep(4 * TIMEOUT)
            await self._check()
            # the watches still work: a last value reaches every client
            await self._clients[0].ensure_path(PATH)
            await self._clients[0].set(PATH, b"12345")
            await anyio.sleep(1)
            assert {config.value for config in self._configs} == {12345}
            assert {seen[-1] for seen in self.seen} == {12345}
            tasks.cancel_scope.cancel()

    async def _check(self) -> None:
        try:
            data, stat = await self._clients[0].get(PATH)
        except zk.NoNodeError:
            assert {config.value for config in self._configs} == {-1}
            return
        for config, seen in zip(self._configs, self.seen, strict=True):
            assert seen[-1] == config.value
            if data == b"bad":
                assert isinstance(config.error, ValueError)
            else:
                assert (config.value, config.stat, config.error) == (int(data or b""), stat, None)

    async def _follow(self, config: zk.ConfigWatch[int], seen: list[int]) -> None:
        async for value in config:
            seen.append(value)  # noqa: PERF401 - a test reads it at the same time

    async def _count(self, number: int) -> None:
        async def count() -> None:
            with suppress(zk.ConnectionLossError, ValueError):  # unknown outcome, or bad data
                await self._configs[number].update(lambda value: value + 1, encode=encode)

        self._tasks.start_soon(count)

    async def _spoil(self, number: int) -> None:
        self._tasks.start_soon(_leniently, functools.partial(self._clients[number].set, PATH, b"bad"))

    async def _delete(self, number: int) -> None:
        self._tasks.start_soon(_leniently, functools.partial(self._clients[number].delete, PATH))

    async def _cut(self, number: int) -> None:
        self._there.network.cut(source=f"c{number}")

    async def _heal(self, _: int) -> None:
        self._there.network.heal()

    async def _expire(self, number: int) -> None:
        session_id = self._clients[number].session.id
        if self._there.server.processor.sessions.find(session_id) is not None:
            self._there.server.expire(session_id)

    async def _lose(self, number: int) -> None:
        self._there.server.faults.lose_reply(session_id=self._clients[number].session.id)

    async def _restart(self, keep: int) -> None:
        await self._there.server.restart(keep=bool(keep), downtime=1)

    async def _wait(self, seconds: int) -> None:
        await anyio.sleep(seconds)


async def _leniently(func: Callable[[], Any]) -> None:
    with suppress(zk.ZooKeeperError):
        await func()


async def _play(steps: list[tuple[str, int]]) -> None:
    async with stage("c0", "c1", "c2") as (there, clients), AsyncExitStack() as stack:
        configs = [await stack.enter_async_context(number(client)) for client in clients]
        await History(there, clients, configs).play(steps)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_in_every_history_the_value_becomes_the_newest(backend: str) -> None:
    @settings(max_examples=25)
    @given(st.lists(STEPS, max_size=25))
    def play(steps: list[tuple[str, int]]) -> None:
        name, options = jumping_backend(backend)
        anyio.run(_play, steps, backend=name, backend_options=options)

    play()

"""PersistentNode: it is created again, removed on leaving, and never touches the znode of another client."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

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
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.devserver.fault_injector import paths_of
from zkrecipes.enums import OpCode, SessionState

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATH = "/app/nodes/a"
STAYS = {"/app", "/app/nodes"}
NO_DELETE = [zk.ACL(zk.Perms.ALL & ~zk.Perms.DELETE, zk.ANYONE_ID)]


def node(client: zk.Client, data: bytes = b"1", **options: object) -> zk.PersistentNode:
    return zk.PersistentNode(client, PATH, data, **options)  # type: ignore[arg-type]


async def until(there: World, path: str, data: bytes | None, *, owner: zk.Client | None = None) -> None:
    """Wait until the znode on the server has these data and this owner; None: until it is absent."""
    await wait_until(lambda: _is_so(there, path, data, owner))


async def wait_until(is_so: Callable[[], bool]) -> None:
    """Poll the server until the condition holds."""
    with anyio.fail_after(20 * TIMEOUT):
        while True:
            if is_so():
                return
            await anyio.sleep(0.125)


def _is_so(there: World, path: str, data: bytes | None, owner: zk.Client | None) -> bool:
    try:
        found = there.server.processor.tree.get(path)
    except zk.NoNodeError:
        return data is None
    return found.data == data and (owner is None or found.stat().ephemeral_owner == owner.session.id)


@asynccontextmanager
async def two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        yield there, client, other


# --- while the block runs ------------------------------------------------------------------------------


async def test_the_directory_is_a_container_only_on_request() -> None:
    async with world() as there, there.connect("a") as client, node(client, container=True):
        tree = there.server.processor.tree
        kinds = {path: tree.get(path).kind.value for path in ("/app", "/app/nodes")}
        assert kinds == {"/app": "persistent", "/app/nodes": "container"}


async def test_it_exists_while_the_block_runs_and_its_parents_are_created() -> None:
    async with world() as there, there.connect("a") as client:
        before = ClientLeftovers.of(there, client)
        async with node(client, b"1"):
            data, stat = await client.get(PATH)
            assert (data, stat.ephemeral_owner) == (b"1", client.session.id)
            kinds = {
                path: there.server.processor.tree.get(path).kind.value for path in ("/app", "/app/nodes")
            }
            # the server would remove a container, and with it the data of the user
            assert kinds == {"/app": "persistent", "/app/nodes": "persistent"}
        assert there.znodes() == STAYS
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, client) == before


async def test_it_is_created_with_one_request_and_removed_with_one() -> None:
    async with world() as there, there.connect("a") as client:
        await client.ensure_path("/app/nodes")
        for first in (OpCode.MULTI, OpCode.CREATE):  # the first one also checks whether it may be removed
            there.requests.clear()
            async with node(client):
                await anyio.sleep(1)
            about_it = [seen for seen in there.requests if PATH in paths_of(seen.request)]
            opcodes = [seen.opcode for seen in about_it if seen.opcode != OpCode.REMOVE_WATCHES]
            assert opcodes == [first, OpCode.EXISTS, OpCode.DELETE]


async def test_an_error_of_the_block_is_raised_bare() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(KeyError, match="mine"):
            async with node(client):
                raise KeyError("mine")
        assert there.znodes() == STAYS


async def test_the_znode_has_the_acl() -> None:
    async with world() as there, there.connect("a") as client:
        acl = [zk.ACL(zk.Perms.READ, zk.ANYONE_ID)]
        async with node(client, acl=acl):
            assert (await client.get_acl(PATH))[0] == acl


async def test_invalid_arguments_are_refused_before_anything_is_sent() -> None:
    async with world() as there, there.connect("a", max_packet_size=2000) as client:
        there.requests.clear()
        with pytest.raises(ValueError, match="must start with a slash"):
            zk.PersistentNode(client, "a")
        with pytest.raises(ValueError, match="on_conflict"):
            node(client, on_conflict="fight")
        with pytest.raises(ValueError, match="max_packet_size"):
            node(client, bytes(2000))
        with pytest.raises(TypeError, match="bytes"):
            zk.PersistentNode(client, PATH, "text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="acl"):
            node(client, acl=[])
        with pytest.raises(ValueError, match="READ"):
            node(client, acl=[zk.ACL(zk.Perms.WRITE, zk.ANYONE_ID)])
        with pytest.raises(RuntimeError, match="must be entered before it can be updated"):
            await node(client).update(b"2")
        assert not there.requests


async def test_it_can_be_entered_once() -> None:
    async with world() as there, there.connect("a") as client:
        entered = node(client)
        async with entered:
            with pytest.raises(RuntimeError, match="once"):
                await entered.__aenter__()
            assert PATH in there.znodes()


async def test_entering_raises_a_refusal() -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        other_user = zk.digest_id("other", "user")
        await client.ensure_path("/app/nodes")
        await client.set_acl("/app/nodes", [zk.ACL(zk.Perms.ALL, other_user)])
        with pytest.raises(zk.NoAuthError):
            async with node(other):
                pass
        assert there.znodes() == STAYS


async def test_too_much_data_for_the_server_is_an_error_and_not_an_endless_loop() -> None:
    async with world(max_packet_size=2000) as there, there.connect("a") as client:
        with pytest.raises(zk.ConnectionLossError):
            async with node(client, bytes(5000)):
                pass
        async with node(client) as member:
            with pytest.raises(zk.ConnectionLossError):
                await member.update(bytes(5000))
            await until(there, PATH, b"1", owner=client)
            await member.update(b"2")
            await until(there, PATH, b"2", owner=client)


# --- created again -------------------------------------------------------------------------------------


async def test_it_is_created_again_after_a_deletion() -> None:
    async with two_clients() as (there, client, other):
        async with node(client, b"1") as member:
            for _ in range(3):
                await other.delete(PATH)
                await until(there, PATH, b"1", owner=client)
            await member.update(b"2")
            await other.delete(PATH)
            await until(there, PATH, b"2", owner=client)
        assert there.znodes() == STAYS


async def test_it_is_created_again_with_its_directory() -> None:
    """Case 80: the server removes the parent."""
    async with two_clients() as (there, client, other), node(client, b"1"):
        async with other.transaction() as tx:
            for path in (PATH, "/app/nodes", "/app"):
                tx.delete(path)
        await until(there, PATH, b"1", owner=client)


async def test_it_is_created_again_in_a_new_session() -> None:
    async with world() as there, there.connect("a") as client:
        async with node(client, b"1") as member:
            first = client.session
            there.server.expire(first.id)
            await until(there, PATH, b"1", owner=client)
            assert client.session.id != first.id
            there.server.expire(client.session.id)
            await member.update(b"2")
            await until(there, PATH, b"2", owner=client)
        assert there.znodes() == STAYS


async def test_without_renewal_it_ends_with_the_session() -> None:
    async with world() as there:
        with pytest.raises(zk.SessionExpiredError):  # noqa: PT012 - the error of the whole block
            async with there.connect("a", renew=False) as client, node(client):
                there.server.expire(client.session.id)
                await anyio.sleep_forever()
        assert there.znodes() <= STAYS | {PATH}


async def test_it_does_not_wait_for_the_session_that_was_given_up() -> None:
    # with these ticks the server would expire the session later than the client gives it up
    async with world(tick_time=8.0) as there, there.connect("a") as client, node(client, b"1"):
        first = client.session
        there.network.cut(source="a")
        await first.wait_closed()
        assert there.server.processor.sessions.find(first.id) is not None
        there.network.heal()
        await until(there, PATH, b"1", owner=client)
        assert client.session.id not in (0, first.id)
        assert anyio.current_time() < TIMEOUT + 2


async def test_the_znode_of_our_old_session_is_recognised_and_removed() -> None:
    """A server that lags may still show it."""
    async with world() as there, there.connect("a") as client:
        async with node(client, b"1", on_conflict="raise"):
            await anyio.sleep(1)
            tree, first = there.server.processor.tree, client.session
            old = tree.get(PATH)

            def show_the_old_one(seen: ReceivedRequest) -> None:
                if seen.opcode == OpCode.EXISTS and seen.session_id != first.id:
                    there.before_request = lambda _: None
                    assert PATH not in tree
                    tree.add(PATH, b"1", old.acl, old.czxid, old.ctime, kind=old.kind, owner=first.id)

            there.before_request = show_the_old_one
            there.server.expire(first.id)
            await until(there, PATH, b"1", owner=client)
            assert anyio.current_time() < TIMEOUT / 2
        assert there.znodes() == STAYS


async def test_a_reconnect_changes_nothing() -> None:
    async with world() as there, there.connect("a") as client, node(client) as member:
        _, before = await client.get(PATH)
        there.server.drop_connections()
        await anyio.sleep(TIMEOUT / 2)
        assert (await client.get(PATH)).stat == before
        await member.update(b"2")
        assert (await client.get(PATH)).data == b"2"


@pytest.mark.parametrize("keep", [True, False])
async def test_it_survives_the_restart_of_a_server(keep: bool) -> None:
    async with world() as there, there.connect("a") as client:
        async with node(client, b"1") as member:
            await there.server.restart(keep=keep, downtime=2)
            await until(there, PATH, b"1", owner=client)
            await member.update(b"2")
            await until(there, PATH, b"2", owner=client)
        assert there.znodes() == STAYS


# --- update --------------------------------------------------------------------------------------------


async def test_an_update_is_written_when_it_returns() -> None:
    async with world() as there, there.connect("a") as client, node(client, b"0") as member:
        for number in range(1, 20):
            await member.update(b"%d" % number)
            assert (await client.get(PATH)).data == b"%d" % number


async def test_of_concurrent_updates_the_last_wins_and_all_return() -> None:
    async with world() as there, there.connect("a") as client, node(client, b"0") as member:
        called: list[bytes] = []  # in the order that the scheduler chose

        async def update(data: bytes) -> None:
            called.append(data)
            await member.update(data)

        async with anyio.create_task_group() as tasks:
            for number in range(1, 20):
                tasks.start_soon(update, b"%d" % number)
        assert (await client.get(PATH)).data == called[-1]


async def test_a_refused_update_raises_and_keeps_the_data() -> None:
    async with two_clients() as (there, client, other), node(client, b"1") as member:
        readable = [zk.ACL(zk.Perms.READ | zk.Perms.DELETE, zk.ANYONE_ID)]
        await other.set_acl(PATH, readable)
        with pytest.raises(zk.NoAuthError):
            await member.update(b"2")
        assert (await client.get(PATH)).data == b"1"
        await other.delete(PATH)
        await until(
            there, PATH, b"1", owner=client
        )  # created again with the old data, and an ACL that permits WRITE
        await member.update(b"3")
        assert (await client.get(PATH)).data == b"3"


async def test_an_update_is_checked_before_anything_is_sent() -> None:
    async with (
        world() as there,
        there.connect("a", max_packet_size=2000) as client,
        node(client) as member,
    ):
        await anyio.sleep(1)
        there.requests.clear()
        with pytest.raises(ValueError, match="max_packet_size"):
            await member.update(bytes(2000))
        with pytest.raises(TypeError, match="bytes"):
            await member.update("text")  # type: ignore[arg-type]
        assert not there.requests


async def test_a_cancelled_update_is_still_written() -> None:
    async with world() as there, there.connect("a") as client, node(client, b"1") as member:
        there.server.drop_connections()
        there.network.cut(source="a")
        with anyio.move_on_after(1) as scope:
            await member.update(b"2")
        assert scope.cancelled_caught
        there.network.heal()
        await until(there, PATH, b"2", owner=client)


async def test_data_of_another_client_stay_until_the_next_update() -> None:
    async with two_clients() as (_, client, other), node(client, b"1") as member:
        await other.set(PATH, b"theirs")
        await anyio.sleep(1)
        assert (await client.get(PATH)).data == b"theirs"
        await member.update(b"2")
        assert (await client.get(PATH)).data == b"2"


# --- the name is taken ---------------------------------------------------------------------------------


async def test_a_pod_that_restarts_waits_for_its_old_session(caplog: pytest.LogCaptureFixture) -> None:
    """The most common failure in practice: the old session still holds the name."""
    async with world() as there, there.connect("new") as client:
        old = await _leave_a_session_behind(there)
        with caplog.at_level(logging.WARNING):
            async with node(client, b"new"):
                assert there.server.processor.sessions.find(old) is None
                assert _is_so(there, PATH, b"new", client)
        (record,) = (each for each in caplog.records if "is taken" in each.getMessage())
        assert f"0x{old:x}" in record.getMessage()
        assert "seconds old" in record.getMessage()


async def test_a_taken_name_can_be_an_error() -> None:
    async with world() as there, there.connect("new") as client:
        old = await _leave_a_session_behind(there)
        with pytest.raises(zk.NodeExistsError, match=f"session 0x{old:x}.* seconds old") as caught:
            async with node(client, on_conflict="raise"):
                pass
        assert caught.value.path == PATH
        assert _is_so(there, PATH, b"old", None), "the znode of the other session is not touched"


async def test_a_taken_name_can_be_replaced() -> None:
    async with world() as there, there.connect("new") as client:
        await _leave_a_session_behind(there)
        before = anyio.current_time()
        async with node(client, b"new", on_conflict="replace"):
            assert anyio.current_time() == pytest.approx(before, abs=0.01)
            assert _is_so(there, PATH, b"new", client)
        assert there.znodes() == STAYS


async def test_two_living_nodes_replace_each_other_at_most_once_a_second() -> None:
    async with (
        two_clients() as (there, client, other),
        node(client, b"1", on_conflict="replace"),
        node(other, b"2", on_conflict="replace"),
    ):
        before = there.count(OpCode.DELETE)
        await anyio.sleep(30)
        assert 25 <= there.count(OpCode.DELETE) - before <= 31


async def test_a_replacement_is_refused_if_the_other_znode_has_changed() -> None:
    async with two_clients() as (there, client, other), node(other, b"theirs") as theirs:
        changed = 0

        def change_once(seen: ReceivedRequest) -> None:
            nonlocal changed
            if seen.opcode == OpCode.DELETE and changed == 0:
                changed = 1
                there.server.processor.tree.get(PATH).version += 1

        there.before_request = change_once
        async with node(client, b"ours", on_conflict="replace"):
            assert changed == 1
            assert there.count(OpCode.DELETE, session_id=client.session.id) == 2
            assert _is_so(there, PATH, b"ours", client)
        await until(there, PATH, b"theirs", owner=other)  # it is created again, as ours would be
        await theirs.update(b"again")


async def test_the_next_in_line_gets_the_name_when_it_is_left() -> None:
    async with two_clients() as (there, client, other):
        order = []

        async def hold(client: zk.Client, name: str, seconds: float) -> None:
            async with node(client, name.encode()):
                order.append(name)
                await anyio.sleep(seconds)
                assert _is_so(there, PATH, name.encode(), client)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, client, "first", 5)
            await anyio.sleep(1)
            tasks.start_soon(hold, other, "second", 5)
        assert order == ["first", "second"]
        assert there.znodes() == STAYS


async def test_two_nodes_of_one_client_conflict(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as there, there.connect("a") as client, node(client, b"1"):
        with pytest.raises(zk.NodeExistsError, match="this client's own"):
            async with node(client, b"2", on_conflict="raise"):
                pass
        with anyio.move_on_after(5) as scope:
            async with node(client, b"2"):
                pass
        assert scope.cancelled_caught
        assert _is_so(there, PATH, b"1", client)


@pytest.mark.parametrize("fault_kind", [FaultKind.AFTER_SEND, FaultKind.AFTER_COMMIT, FaultKind.CORRUPT])
async def test_two_nodes_of_one_client_conflict_even_when_a_reply_is_lost(fault_kind: FaultKind) -> None:
    """Both have the same session, so the owner of the znode does not distinguish them."""
    async with world() as there, there.connect("a") as client, node(client, b"1") as first:
        there.server.faults.inject(1, fault_kind, session_id=client.session.id)
        with pytest.raises(zk.NodeExistsError, match="this client's own"):
            async with node(client, b"2", on_conflict="raise"):
                pass
        await first.update(b"3")
        assert _is_so(there, PATH, b"3", client)


async def test_the_error_states_that_the_other_znode_is_not_ephemeral(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as there, there.connect("a") as client:
        await client.create(PATH, b"other software", make_parents=True)
        with pytest.raises(zk.NodeExistsError, match="not ephemeral"):
            async with node(client, on_conflict="raise"):
                pass
        with anyio.move_on_after(TIMEOUT * 3) as scope:
            async with node(client):
                pass
        assert scope.cancelled_caught
        assert there.znodes() == STAYS | {PATH}


async def test_it_waits_if_its_name_was_taken_before_it_could_be_created_again() -> None:
    async with two_clients() as (there, client, other), node(client, b"1", on_conflict="raise") as member:
        first = client.session
        there.network.cut(source="a")
        await first.wait_closed()
        async with node(other, b"usurper", on_conflict="replace"):
            there.network.heal()
            with anyio.move_on_after(TIMEOUT):
                await member.update(b"2")
            assert _is_so(there, PATH, b"usurper", other)
        await until(there, PATH, b"2", owner=client)


async def test_an_update_never_writes_to_the_znode_of_another_client() -> None:
    async with two_clients() as (there, client, other), node(client, b"1") as member:
        await other.delete(PATH)
        async with node(other, b"theirs", on_conflict="replace"):
            with anyio.move_on_after(TIMEOUT):
                await member.update(b"2")
            assert (await client.get(PATH)).data == b"theirs"
        await until(there, PATH, b"2", owner=client)


async def test_leaving_after_an_unseen_replacement_deletes_nothing() -> None:
    async with two_clients() as (there, client, other), AsyncExitStack() as stack:
        async with node(client, b"1"):
            await anyio.sleep(1)
            there.network.refuse(source="a")
            there.network.reset(source="a")
            await stack.enter_async_context(node(other, b"theirs", on_conflict="replace"))
            theirs = there.server.processor.tree.get(PATH).czxid
            assert client.state is SessionState.SUSPENDED
        there.network.heal()
        await anyio.sleep(TIMEOUT / 2)
        assert client.state.is_connected
        assert there.server.processor.tree.get(PATH).czxid == theirs


async def test_data_of_an_update_during_a_lost_create_are_written() -> None:
    async with two_clients() as (there, client, other), node(client, b"1") as member:
        # the first one creates the znode, the second one finds it, and both replies are lost
        lost = there.server.faults.lose_reply(OpCode.CREATE, session_id=client.session.id, times=2)
        there.network.refuse(source="a")
        await other.delete(PATH)
        await lost.wait_used()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(member.update, b"2")
            await anyio.sleep(1)
            assert _is_so(there, PATH, b"1", client)
            there.network.heal()
        assert _is_so(there, PATH, b"2", client)


async def _leave_a_session_behind(there: World) -> int:
    """Let a program die while it holds the name, without closing its session; return the session's id."""
    async with there.connect("dead") as dead:
        await dead.create(PATH, b"old", ephemeral=True, make_parents=True)
        there.network.cut(source="dead")
        session_id: int = dead.session.id
    there.network.reset(source="dead")
    return session_id


# --- faults ----------------------------------------------------------------------------------------------


async def enter_and_update(there: World, client: zk.Client) -> str:
    async with node(client, b"1") as member:
        assert await _data_settles(there, client) == b"1"
        await member.update(b"2")
        assert await _data_settles(there, client) == b"2"
    return "left"


async def _data_settles(there: World, client: zk.Client) -> bytes | None:
    """Wait until the znode exists and this client owns it; return its data."""

    def is_there() -> bool:
        if PATH not in there.znodes():
            return False
        return there.server.processor.tree.get(PATH).stat().ephemeral_owner == client.session.id

    await wait_until(is_there)
    return there.server.processor.tree.get(PATH).data


def left(outcome: Outcome) -> None:
    assert outcome.error is None
    assert outcome.result == "left"


@pytest.mark.parametrize("fault_kind", FaultKind)
async def test_after_any_fault_it_is_there_and_then_it_is_gone(fault_kind: FaultKind) -> None:
    """Case 73: a create whose reply was lost is found and adopted. Case 76: a fault in a release."""
    assert await inject_into_each_request(enter_and_update, left, fault_kind, may_remain=STAYS) >= 8


async def come_and_go(there: World, client: zk.Client) -> str:
    async with node(client, b"1") as member:
        await member.update(b"2")
    return "left"


def left_or_cancelled(outcome: Outcome) -> None:
    assert outcome.result == "left" or not isinstance(outcome.error, Exception), outcome.error


async def test_it_can_be_cancelled_anywhere() -> None:
    """Cases 74, 75 and 76: cancelled while a create or a delete is in flight."""
    assert await cancel_at_each_pass(come_and_go, left_or_cancelled, may_remain=STAYS) > 10


@asyncio_only
@pytest.mark.parametrize("again_after", [None, 0, 1, 2, 5])
async def test_it_can_be_cancelled_natively_and_twice(again_after: int | None) -> None:
    passes = await cancel_at_each_pass(
        come_and_go, left_or_cancelled, may_remain=STAYS, native=True, again_after=again_after
    )
    assert passes > 10


@asynccontextmanager
async def another_client_has_it(there: World) -> AsyncIterator[None]:
    async with there.connect("other") as other:
        await other.create(PATH, b"theirs", ephemeral=True, make_parents=True)
        async with anyio.create_task_group() as tasks:

            async def leave_later() -> None:
                await anyio.sleep(3)
                await other.delete(PATH)

            tasks.start_soon(leave_later)
            yield


@pytest.mark.parametrize("fault_kind", FaultKind)
async def test_after_any_fault_the_name_is_waited_for(fault_kind: FaultKind) -> None:
    count = await inject_into_each_request(
        enter_and_update, left, fault_kind, may_remain=STAYS, other_clients=another_client_has_it
    )
    assert count >= 8


@asynccontextmanager
async def a_node_of_a_dead_session(there: World) -> AsyncIterator[None]:
    await _leave_a_session_behind(there)
    yield


async def replace_and_go(there: World, client: zk.Client) -> str:
    async with node(client, b"1", on_conflict="replace"):
        assert await _data_settles(there, client) == b"1"
    return "left"


@pytest.mark.parametrize("fault_kind", FaultKind)
async def test_after_any_fault_the_name_is_replaced(fault_kind: FaultKind) -> None:
    count = await inject_into_each_request(
        replace_and_go, left, fault_kind, may_remain=STAYS, other_clients=a_node_of_a_dead_session
    )
    assert count >= 5


async def test_a_delete_whose_reply_was_lost_never_deletes_the_successor() -> None:
    async with two_clients() as (there, client, other):
        async with node(client, b"1"):
            await anyio.sleep(1)
            there.server.faults.lose_reply(OpCode.DELETE, session_id=client.session.id)
        # The znode is deleted although the reply was lost. A second try must not delete the next znode.
        async with node(other, b"2"):
            await anyio.sleep(TIMEOUT)
            assert _is_so(there, PATH, b"2", other)
            assert other.state is SessionState.CONNECTED


# --- refusals and late calls ---------------------------------------------------------------------------


async def _updated_too_late(member: zk.PersistentNode) -> None:
    with anyio.fail_after(0), pytest.raises(RuntimeError, match="has been left"):
        await member.update(b"late")


async def test_an_update_after_the_block_is_an_error() -> None:
    async with world() as there, there.connect("a") as client:
        async with node(client) as member:
            pass
        await _updated_too_late(member)


async def test_an_update_in_progress_fails_immediately_when_the_block_is_left() -> None:
    async with world() as there, there.connect("a") as client, anyio.create_task_group() as tasks:
        async with node(client) as member:
            there.network.cut(source="a")  # nothing can be written
            tasks.start_soon(_updated_late, member)
            await anyio.sleep(0.1)
        there.network.heal(source="a")


async def _updated_late(member: zk.PersistentNode) -> None:
    began = anyio.current_time()
    with pytest.raises(RuntimeError, match="has been left"):
        await member.update(b"late")
    assert anyio.current_time() - began < 0.2  # long before the end of the wait for the clean-up


async def test_leaving_raises_if_the_directory_does_not_permit_delete() -> None:
    async with two_clients() as (there, client, other):
        with pytest.raises(zk.NoAuthError, match="must permit DELETE"):
            async with node(client):
                await other.set_acl("/app/nodes", NO_DELETE)
        assert there.znodes() == {*STAYS, PATH}


async def test_the_error_of_the_block_wins_over_the_refusal() -> None:
    async with two_clients() as (_, client, other):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with node(client):
                await other.set_acl("/app/nodes", NO_DELETE)
                raise ZeroDivisionError


async def test_a_change_of_the_other_znode_costs_the_waiter_a_read_and_no_write() -> None:
    async with two_clients() as (there, client, other), anyio.create_task_group() as tasks:
        async with node(other) as owner:
            tasks.start_soon(_join_and_leave, client)
            await anyio.sleep(1)
            writes = (OpCode.CREATE, OpCode.MULTI, OpCode.DELETE)
            before = there.count(*writes, session_id=client.session.id)
            for number in range(100):
                await owner.update(b"%d" % number)
            assert there.count(*writes, session_id=client.session.id) == before
        await anyio.sleep(1)
        assert there.count(*writes, session_id=client.session.id) > before


async def _join_and_leave(client: zk.Client) -> None:
    async with node(client):
        pass

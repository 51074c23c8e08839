"""Transactions: all or nothing, results after the block, and errors that name the failed operation."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import pytest

import zkrecipes as zk
from tests.net.peers import accept_all, scripted
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import CreateReply, Empty, ErrorReply
from zkrecipes.codec.multi import MultiReply
from zkrecipes.enums import OpCode
from zkrecipes.protocol.server_side import Requested, ServerSide
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def test_all_operations_are_applied_when_the_block_ends() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/old")
        async with client.transaction() as tx:
            tx.check("/old", version=0)
            made = tx.create("/n-", b"1", sequential=True)
            changed = tx.set("/old", b"2", version=0)
            gone = tx.delete("/old", version=1)
            assert len(tx) == 4
            assert there.znodes() == {"/old"}
        assert made.result() == "/n-0000000001"
        assert changed.result().version == 1
        gone.result()
        assert there.znodes() == {"/n-0000000001"}
        assert there.count(OpCode.MULTI) == 1


async def test_one_that_fails_rolls_all_of_them_back_and_is_named() -> None:
    """Case 47."""
    async with world() as there, there.connect("a") as client:
        with pytest.raises(
            zk.TransactionError, match="operation 2 of 3 failed: no such znode: /missing"
        ) as caught:
            async with client.transaction() as tx:
                results = [tx.create("/n"), tx.set("/missing", b""), tx.delete("/n")]
        error = caught.value
        assert (error.index, error.operations) == (1, 3)
        assert isinstance(error.error, zk.NoNodeError)
        assert error.nothing_changed
        assert there.znodes() == set()
        for result in results:
            with pytest.raises(zk.TransactionError):
                result.result()


async def test_a_version_that_has_changed_fails_the_transaction() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        await client.set("/n", b"1")
        with pytest.raises(zk.TransactionError) as caught:
            async with client.transaction() as tx:
                tx.check("/n", version=0)
                tx.create("/m")
        assert isinstance(caught.value.error, zk.BadVersionError)
        assert caught.value.index == 0


async def test_a_result_before_the_end_of_the_block_is_a_runtime_error() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.transaction() as tx:
            made = tx.create("/n")
            with pytest.raises(RuntimeError, match="not been answered yet"):
                made.result()
        assert made.result() == "/n"


async def test_a_block_that_fails_sends_nothing_and_raises_its_own_error() -> None:
    async with world() as there, there.connect("a") as client:
        error = ValueError("mine")
        with pytest.raises(ValueError, match="mine") as caught:
            async with client.transaction() as tx:
                made = tx.create("/n")
                raise error
        assert caught.value is error
        assert there.requests == []
        with pytest.raises(RuntimeError, match="not been answered"):
            made.result()
        with pytest.raises(RuntimeError, match="block has ended"):
            tx.create("/n")


async def test_an_operation_after_the_block_is_a_runtime_error() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.transaction() as tx:
            pass
        assert there.requests == []
        for late in (tx.create, tx.delete, tx.check):
            with pytest.raises(RuntimeError, match="the transaction's block has ended"):
                late("/n")


async def test_a_lost_connection_leaves_the_outcome_unknown_for_every_operation() -> None:
    async with world() as there, there.connect("a") as client:
        there.server.faults.lose_reply(OpCode.MULTI)
        with pytest.raises(zk.ConnectionLossError, match="Multi was answered"):
            async with client.transaction() as tx:
                made = tx.create("/n")
        with pytest.raises(zk.ConnectionLossError):
            made.result()
        assert there.count(OpCode.MULTI) == 1
        assert await client.exists("/n") is not None


async def test_containers_and_ttl_nodes_may_be_made_in_a_transaction() -> None:
    async with world(extended_types=True) as there, there.connect("a") as client:
        async with client.transaction() as tx:
            made = tx.create("/c", container=True)
            other = tx.create("/t", ttl=60.0)
        assert (made.result(), other.result()) == ("/c", "/t")


@pytest.mark.parametrize(
    ("codes", "index", "kind"),
    [
        ((-2, -101, -2), 1, zk.NoNodeError),
        ((0, 0, -110), 2, zk.NodeExistsError),
        ((-2, -2, -2), 0, zk.RuntimeInconsistencyError),
        ((0, -112, -2), 1, zk.RuntimeInconsistencyError),
        ((0, -4242, -2), 1, zk.UnknownServerError),
    ],
)
async def test_the_first_failure_is_reported_whatever_the_codes_around_it(
    codes: tuple[int, ...], index: int, kind: type[zk.ServerError]
) -> None:
    network = MemoryNetwork()

    def answer(side: ServerSide, requested: Requested) -> bool:
        results = tuple(ErrorReply(code) for code in codes)
        side.reply_multi(requested.xid, 7, [-1] * len(codes), MultiReply(results))
        return True

    async with (
        scripted(network, greet=accept_all(), answer=answer),
        zk.connect("scripted", network=network) as client,
    ):
        with pytest.raises(zk.TransactionError) as caught:
            async with client.transaction() as tx:
                for path in ("/a", "/b", "/c"):
                    tx.delete(path)
        assert caught.value.index == index
        assert type(caught.value.error) is kind


@pytest.mark.parametrize(
    "results",
    [
        [Empty()],
        [Empty(), Empty(), Empty()],
        [Empty(), CreateReply("/a")],
        [Empty(), ErrorReply(0)],
    ],
    ids=["too few", "too many", "another kind", "an error that is none"],
)
async def test_results_that_do_not_answer_the_operations_are_a_protocol_error(results: list[Record]) -> None:
    network = MemoryNetwork()

    def answer(side: ServerSide, requested: Requested) -> bool:
        opcodes = [OpCode.CREATE if isinstance(each, CreateReply) else OpCode.DELETE for each in results]
        side.reply_multi(requested.xid, 7, opcodes, MultiReply(tuple(results)))
        return True

    async with (
        scripted(network, greet=accept_all(), answer=answer),
        zk.connect("scripted", network=network) as client,
    ):
        with pytest.raises(zk.ProtocolError, match="answered by"):
            async with client.transaction() as tx:
                gone = [tx.delete("/a"), tx.delete("/b")]
        for each in gone:
            with pytest.raises(zk.ProtocolError):
                each.result()


async def test_an_empty_transaction_is_nothing_to_send() -> None:
    """Case 48."""
    async with world() as there, there.connect("a") as client:
        async with client.transaction():
            pass
        await client.exists("/")
        assert there.count(OpCode.MULTI) == 0

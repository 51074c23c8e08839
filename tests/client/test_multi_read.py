"""Several reads in one request, each with its own result or error."""

from __future__ import annotations

import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_5, OldServer, accept_all, scripted
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.codec.messages import WhoAmIReply
from zkrecipes.codec.multi import MultiReply
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address
from zkrecipes.protocol.server_side import Requested, ServerSide
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def test_several_reads_are_one_request_and_each_has_its_result_or_error() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        await client.create("/n/child")
        before = len(there.requests)
        async with client.multi_read() as reads:
            node = reads.get("/n")
            missing = reads.get("/missing")
            children = reads.get_children("/n")
            leaf = reads.get_children("/n/child")
            assert len(reads) == 4
            with pytest.raises(RuntimeError, match="after the block"):
                node.result()
        assert len(there.requests) == before + 1
        assert node.result() == await client.get("/n")
        assert children.result() == ["child"]
        assert leaf.result() == []
        with pytest.raises(zk.NoNodeError, match="/missing"):
            missing.result()


async def test_a_block_without_reads_and_one_that_raises_send_nothing() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.multi_read() as reads:
            pass
        with pytest.raises(RuntimeError, match="has ended"):
            reads.get("/n")
        with pytest.raises(KeyError):  # noqa: PT012 - of the whole block
            async with client.multi_read() as reads:
                reads.get("/n")
                raise KeyError
        assert there.count(OpCode.MULTI_READ) == 0


async def test_it_is_asked_again_when_its_answer_was_lost() -> None:
    async with world() as there, there.connect("a") as client:
        there.server.faults.drop_request(OpCode.MULTI_READ)
        async with client.multi_read() as reads:
            children = reads.get_children("/")
        assert "zookeeper" in children.result()


async def test_paths_are_those_of_the_view_and_a_missing_chroot_is_named() -> None:
    async with world() as there, there.connect("a") as client:
        view = client.chroot("/app")
        async with view.multi_read() as reads:
            missing = reads.get("/n")
        with pytest.raises(zk.NoNodeError, match="the chroot /app itself does not exist"):
            missing.result()
        await view.create("/n", b"1", make_parents=True)
        async with view.multi_read() as reads:
            node = reads.get("/n")
        assert node.result().data == b"1"


async def test_an_older_server_is_not_asked_and_no_read_is_left_open() -> None:
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_5, "3.5.10")
        async with old.serving(), zk.connect("old", network=there.network) as client:
            reads = None
            with pytest.raises(zk.UnimplementedError, match=r"multi_read needs ZooKeeper 3\.6"):
                async with client.multi_read() as reads:
                    node = reads.get("/")
            with pytest.raises(zk.UnimplementedError):
                node.result()
            assert OpCode.MULTI_READ not in old.opcodes_seen


async def test_a_server_that_answers_more_or_fewer_reads_than_were_asked_is_found_out() -> None:
    network = MemoryNetwork()

    def answer(side: ServerSide, requested: Requested) -> bool:
        if requested.opcode == OpCode.MULTI_READ:
            side.reply_multi(requested.xid, 1, (), MultiReply(()))
        else:
            side.reply(requested.xid, 1, 0, WhoAmIReply([]))
        return True

    async with (
        scripted(network, "new", greet=accept_all(), answer=answer),
        zk.connect("new", network=network) as client,
    ):
        with pytest.raises(zk.ProtocolError, match="1 operations were answered by 0"):
            async with client.multi_read() as reads:
                node = reads.get("/")
        with pytest.raises(zk.ProtocolError):
            node.result()

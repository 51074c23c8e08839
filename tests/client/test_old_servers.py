"""An operation that an older server lacks is refused with its name and release, and is never sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_4, OPCODES_3_5, OPCODES_3_6, OldServer
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.client.operations import Operation
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

Call = Callable[[zk.Client], Awaitable[Any]]

RELEASES: dict[str, tuple[str | None, frozenset[OpCode]]] = {
    "3.4": ("3.4.14", OPCODES_3_4),
    "3.5": ("3.5.10", OPCODES_3_5),
    "3.6": ("3.6.4", OPCODES_3_6),
    "3.7": ("3.7.1", OPCODES_3_6 | {OpCode.WHO_AM_I}),
}


CALLS: dict[str, tuple[str, Call]] = {
    "whoami": ("3.7", lambda client: client.whoami()),
    "get_ephemerals": ("3.6", lambda client: client.get_ephemerals()),
    "get_all_children_number": ("3.6", lambda client: client.get_all_children_number("/")),
    "check_watches": ("3.5", lambda client: client.check_watches("/")),
    "get_config": ("3.5", lambda client: client.get_config()),
    "reconfig": ("3.5", lambda client: client.reconfig(leaving=[3])),
    "a container": ("3.5", lambda client: client.create("/c", container=True)),
    "a znode with a ttl": ("3.5", lambda client: client.create("/t", ttl=60)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("release", RELEASES)
async def test_a_call_is_answered_from_its_release_on_and_not_sent_before(name: str, release: str) -> None:
    first, call = CALLS[name]
    version, opcodes = RELEASES[release]
    async with world(extended_types=True) as there:
        old = OldServer(there.network, Address("zk", 2181), opcodes, version)
        async with old.serving(), zk.connect("old", network=there.network) as client:
            before = len(there.requests)
            if release >= first:
                try:
                    await call(client)
                except zk.ReconfigDisabledError:
                    assert name == "reconfig"
                assert len({each.opcode for each in there.requests[before:]}) == 1
            else:
                with pytest.raises(zk.UnimplementedError, match=f"{name} needs ZooKeeper {first}"):
                    await call(client)
                assert len(there.requests) == before
            unknown = set(old.opcodes_seen) - opcodes
            assert unknown <= {OpCode.GET_ALL_CHILDREN_NUMBER, OpCode.WHO_AM_I}, "only questions"
            assert not unknown or OpCode.CREATE2 in opcodes, "not even those are for 3.4"
            assert client.session.state is zk.SessionState.CONNECTED


@pytest.mark.parametrize("way", ["stream", "pipeline"])
async def test_the_configuration_asked_for_among_others_is_refused_in_its_place(way: str) -> None:
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_4, "3.4.14")
        async with old.serving(), zk.connect("old", network=there.network) as client:
            operations = client.operations
            asked: list[Operation[Any]] = [
                operations.exists("/"),
                operations.get_config(),
                operations.get("/"),
            ]
            if way == "stream":
                async with client.stream(asked) as stream:
                    replies = [reply async for reply in stream]
            else:
                async with client.pipeline() as pipe:
                    replies = [await pipe.submit(operation) for operation in asked]
            assert replies[0].error is replies[2].error is None
            with pytest.raises(zk.UnimplementedError, match=r"get_config needs ZooKeeper 3\.5"):
                replies[1].result()

"""Scenarios with our barrier and another library's at one path, written once for each library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import anyio

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT
from tests.interop.peer import Peer, StartPeer
from zkrecipes.ensemble import ApacheServer


@final
@dataclass(frozen=True)
class Gate:
    """A library, the server, and a path on it that no other test uses.

    Attributes:
        gate_class: the library's name for its barrier.
        close: the command that closes a barrier.
    """

    server: ApacheServer
    path: str
    start: StartPeer
    gate_class: str
    close: str

    async def theirs(self, peer: Peer) -> None:
        """Create a barrier of theirs, named `gate`."""
        await peer.call(self.gate_class, "gate", self.path)

    def ours(self, client: zk.Client) -> zk.Barrier:
        return zk.Barrier(client, self.path)


async def we_close_and_they_wait(gate: Gate) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(gate.server.connect_string) as client, gate.start() as peer:
            await gate.theirs(peer)
            await gate.ours(client).create()
            assert not await peer.call("wait", "gate", 0.2)
            await peer.call(gate.close, "gate")  # it is already closed, which is not an error
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.call, "wait", "gate")
                await gate.ours(client).remove()
            await gate.ours(client).remove()
            assert await peer.call("wait", "gate", 5)


async def they_close_and_we_wait(gate: Gate) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(gate.server.connect_string) as client, gate.start() as peer:
            await gate.theirs(peer)
            await peer.call(gate.close, "gate")
            await gate.ours(client).create()  # it is already closed, which is not an error
            with anyio.move_on_after(0.2):
                await gate.ours(client).wait()
                raise AssertionError("through a closed gate")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(gate.ours(client).wait)
                await peer.call("remove", "gate")
            await peer.call("remove", "gate")
            await gate.ours(client).wait()


async def they_die_and_it_stays_closed(gate: Gate) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(gate.server.connect_string) as client:
            async with gate.start() as peer:
                await gate.theirs(peer)
                await peer.call(gate.close, "gate")
                peer.kill()
            with anyio.move_on_after(0.2):
                await gate.ours(client).wait()
                raise AssertionError("through a closed gate")
            await gate.ours(client).remove()
            await gate.ours(client).wait()

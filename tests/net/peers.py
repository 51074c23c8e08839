"""Peers that the dev server cannot play: those that speak another protocol, and servers of other releases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from zkrecipes.codec.framing import FrameBuffer
from zkrecipes.codec.messages import (
    ConnectReply,
    ConnectRequest,
    ExistsRequest,
    GetAllChildrenNumberRequest,
    Request,
)
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address, Network, Stream, bare_errors
from zkrecipes.protocol.server_side import FourLetterWord, Greeted, Requested, ServerSide

Greet = Callable[[ConnectRequest], ConnectReply | None]
Answer = Callable[[ServerSide, Requested], bool]

OPCODES_3_4 = frozenset(
    {
        OpCode.CREATE,
        OpCode.DELETE,
        OpCode.EXISTS,
        OpCode.GET_DATA,
        OpCode.SET_DATA,
        OpCode.GET_ACL,
        OpCode.SET_ACL,
        OpCode.GET_CHILDREN,
        OpCode.SYNC,
        OpCode.PING,
        OpCode.GET_CHILDREN2,
        OpCode.CHECK,
        OpCode.MULTI,
        OpCode.AUTH,
        OpCode.SET_WATCHES,
        OpCode.SASL,
        OpCode.CLOSE_SESSION,
    }
)
OPCODES_3_5 = OPCODES_3_4 | {
    OpCode.CREATE2,
    OpCode.RECONFIG,
    OpCode.CHECK_WATCHES,
    OpCode.REMOVE_WATCHES,
    OpCode.CREATE_CONTAINER,
    OpCode.DELETE_CONTAINER,
    OpCode.CREATE_TTL,
}
OPCODES_3_6 = OPCODES_3_5 | {
    OpCode.MULTI_READ,
    OpCode.GET_EPHEMERALS,
    OpCode.GET_ALL_CHILDREN_NUMBER,
    OpCode.SET_WATCHES2,
    OpCode.ADD_WATCH,
}


QUESTIONS: Sequence[Request[Any]] = (
    ExistsRequest("/zookeeper/config", watch=False),
    ExistsRequest("/zookeeper/absent", watch=False),
    GetAllChildrenNumberRequest("/zookeeper"),
)
"""The questions about the server's version; `OldServer` may have changed the first."""
_CONFIG = b"/zookeeper/config"
_NO_CONFIG = b"/zookeeper/absent"


def accept_all(session_id: int = 0x1234, *, timeout_ms: int = 10_000, read_only: bool = False) -> Greet:
    """Attach every client to the same session."""

    def greet(_: ConnectRequest) -> ConnectReply:
        return ConnectReply(0, timeout_ms, session_id, bytes(range(16)), read_only)

    return greet


def never_answer(_side: ServerSide, _requested: Requested) -> bool:
    return True


def scripted(
    network: Network, host: str = "scripted", port: int = 2181, *, greet: Greet, answer: Answer = never_answer
) -> AbstractAsyncContextManager[Address]:
    """A server whose every answer the test decides: `answer` returns whether the connection continues."""

    async def converse(stream: Stream) -> None:
        side = ServerSide()
        try:
            while data := await stream.receive():
                side.receive_data(data)
                while (event := side.next_event()) is not None:
                    if isinstance(event, Greeted):
                        reply = greet(event.request)
                        if reply is None:
                            return
                        side.accept(reply)
                    elif isinstance(event, FourLetterWord) or (
                        isinstance(event, Requested) and not answer(side, event)
                    ):
                        return
                await stream.send(side.data_to_send())
        except OSError:
            return
        finally:
            await stream.aclose()

    return network.serve(host, port, converse)


def saying(
    network: Network, data: bytes, host: str = "foreign", port: int = 2181, *, then_close: bool = False
) -> AbstractAsyncContextManager[Address]:
    """Serve a peer that answers the first bytes with `data`, and then stays silent or closes."""

    async def speak(stream: Stream) -> None:
        try:
            await stream.receive()
            await stream.send(data)
            while not then_close and await stream.receive():
                pass
        except OSError:
            return
        finally:
            await stream.aclose()

    return network.serve(host, port, speak)


class OldServer:
    """A server of an older release: unknown requests never reach the dev server behind it.

    Args:
        network: the network of both.
        behind: the address of the dev server.
        opcodes: those that it knows; it drops the connection on any other, as 3.4 does. Without `CREATE2` it
            is a 3.4, which has no `/zookeeper/config`.
        version: the version in the answer to `srvr`; None if the word is switched off.
    """

    def __init__(
        self, network: Network, behind: Address, opcodes: frozenset[OpCode], version: str | None
    ) -> None:
        self.opcodes_seen: list[int] = []
        """Every opcode that arrived, known or not."""
        self.words_seen = 0
        """The number of `srvr` requests."""
        self._network = network
        self._behind = behind
        self.opcodes = opcodes
        """The opcodes that it knows; a test may replace them."""
        self._version = version

    @asynccontextmanager
    async def serving(self, host: str = "old", port: int = 2181) -> AsyncIterator[None]:
        async with self._network.serve(host, port, self._relay):
            yield

    async def _relay(self, client: Stream) -> None:
        frames = FrameBuffer(2**20)
        server = await self._network.connect(*self._behind)
        try:
            first = await client.receive()
            if first == b"srvr":
                self.words_seen += 1
                await client.send(self._answer().encode())
                return
            with bare_errors():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._pump, server, client)
                    frames.feed(first)
                    frames.next_frame()  # the greeting
                    data = first
                    while data and self._knows_all(frames):
                        await server.send(self._hidden(data))
                        data = await client.receive()
                        frames.feed(data)
                    tasks.cancel_scope.cancel()
        except OSError:
            return
        finally:
            with anyio.CancelScope(shield=True):
                await server.aclose()
                await client.aclose()

    def _hidden(self, data: bytes) -> bytes:
        """Return the request for a missing znode whose name has the same length."""
        return data if OpCode.CREATE2 in self.opcodes else data.replace(_CONFIG, _NO_CONFIG)

    def _answer(self) -> str:
        if self._version is None:
            return "srvr is not executed because it is not in the whitelist.\n"
        return f"Zookeeper version: {self._version}, built on 01/01/2020 00:00 GMT\nMode: standalone\n"

    def _knows_all(self, frames: FrameBuffer) -> bool:
        while (frame := frames.next_frame()) is not None:
            buffer, start, _ = frame
            opcode = int.from_bytes(buffer[start + 4 : start + 8], "big", signed=True)
            self.opcodes_seen.append(opcode)
            if opcode not in self.opcodes:
                return False
        return True

    async def _pump(self, source: Stream, target: Stream) -> None:
        try:
            while data := await source.receive():
                await target.send(data)
        except OSError:
            pass
        await target.aclose()

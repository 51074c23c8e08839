"""A hostile client, for tests that check what a server keeps of such clients."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random
from typing import Any

import trio

from tests.devserver.raw_client import OPEN
from zkrecipes.codec.messages import (
    AddWatchRequest,
    CloseSessionRequest,
    ConnectReply,
    ConnectRequest,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    PingRequest,
    Request,
    SetDataRequest,
)
from zkrecipes.codec.multi import MultiRequest
from zkrecipes.net.transport.network import Stream
from zkrecipes.testing import MemoryNetwork


class HostileClient:
    """A client that misbehaves at random. It reads only sometimes, and never checks the replies.

    Args:
        network: the network of the servers.
        random: chooses the actions.
        hosts: the servers, each at port 2181.
    """

    def __init__(self, network: MemoryNetwork, random: Random, hosts: Sequence[str]) -> None:
        self._network = network
        self._random = random
        self._hosts = hosts
        self._stream: Stream | None = None
        self._sessions = [(0, bytes(16))]

    async def misbehave(self) -> None:
        """Perform random actions for a while."""
        actions = [
            self._greet,
            *[self._ask] * 5,
            self._read,
            self._read,
            self._say_goodbye,
            self._blabber,
            self.go,
        ]
        try:
            with trio.move_on_after(self._random.choice([0.0, 0.5, 5.0])):
                await self._random.choice(actions)()
        except OSError:
            await self.go()

    async def go(self) -> None:
        """Close or break the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _greet(self) -> None:
        await self.go()
        self._stream = await self._network.connect(self._random.choice(self._hosts), 2181)
        session_id, password = self._random.choice(self._sessions)
        if self._random.random() < 0.1:
            password = b"not the password"
        timeout_ms = self._random.choice([1, 5_000, 30_000])
        read_only = self._random.random() < 0.5
        hello = ConnectRequest(0, 0, timeout_ms, session_id, password, read_only).encode()
        await self._stream.send(struct.pack("!i", len(hello)) + hello)
        if self._random.random() < 0.9:
            data = await self._stream.receive()
            if len(data) >= 41:
                reply = ConnectReply.decode(data[4 : 4 + struct.unpack_from("!i", data)[0]])
                self._sessions.append((reply.session_id, reply.password or b""))

    async def _ask(self) -> None:
        if self._stream is not None:
            requests = [self._request() for _ in range(self._random.choice([1, 5, 20]))]
            frames = (request.encode_frame(xid) for xid, request in enumerate(requests, 1))
            await self._stream.send(b"".join(frames))

    async def _say_goodbye(self) -> None:
        if self._stream is not None:
            await self._stream.send(CloseSessionRequest().encode_frame(1))

    def _request(self) -> Request[Any]:
        path = self._random.choice(["/a", "/b", "/c"])
        return self._random.choice(
            [
                CreateRequest(path, b"", OPEN, self._random.choice([0, 1])),
                CreateRequest(path, b"", OPEN, self._random.choice([2, 3])),
                SetDataRequest(path, b"x", -1),
                DeleteRequest(path, -1),
                GetDataRequest(path, True),
                GetDataRequest("/large", True),
                ExistsRequest(path, True),
                GetChildrenRequest("/", True),
                AddWatchRequest(self._random.choice([path, "/"]), self._random.choice([0, 1])),
                MultiRequest((CreateRequest(path, b"", OPEN, 1), DeleteRequest(path, 0))),
                PingRequest(),
            ]
        )

    async def _read(self) -> None:
        while self._stream is not None and await self._stream.receive():
            if self._random.random() < 0.7:
                break

    async def _blabber(self) -> None:
        """Garbage, half a frame, or a four-letter word."""
        if self._stream is None:
            self._stream = await self._network.connect(self._random.choice(self._hosts), 2181)
        await self._stream.send(self._random.choice([b"\xff" * 100, b"\0\0\0\x64half", b"mntr", b"\0"]))

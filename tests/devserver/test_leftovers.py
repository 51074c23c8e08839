"""Whatever clients do, and whatever goes wrong meanwhile: when they have gone nothing of them is left.

A run is a function of its seed. `ZKRECIPES_LEFTOVERS_SEEDS=1000` tries more of them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

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
from zkrecipes.devserver import DevServer, Hurt
from zkrecipes.ensemble.four_letter import parse_mntr
from zkrecipes.net.transport import Stream
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.trio

SEEDS = int(os.environ.get("ZKRECIPES_LEFTOVERS_SEEDS", "40"))
CLIENTS = 8
STEPS = 40
LARGE = bytes(150_000)  # two of them fill a wire, so that the server waits for who does not read


class Rascal:
    """A client without manners. It reads when it feels like it, and never checks what it gets."""

    def __init__(self, network: MemoryNetwork, random: Random) -> None:
        self._network = network
        self._random = random
        self._stream: Stream | None = None
        self._sessions = [(0, bytes(16))]

    async def misbehave(self) -> None:
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
        """Hang up, or break the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _greet(self) -> None:
        await self.go()
        self._stream = await self._network.connect("zk", 2181)
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
        """Garbage, half a frame, or a word."""
        if self._stream is None:
            self._stream = await self._network.connect("zk", 2181)
        await self._stream.send(self._random.choice([b"\xff" * 100, b"\0\0\0\x64half", b"mntr", b"\0"]))


class Troublemaker:
    """Lets go wrong what can, and in the end lets all go right."""

    def __init__(self, server: DevServer, network: MemoryNetwork, random: Random) -> None:
        self._server = server
        self._network = network
        self._random = random

    async def make_trouble(self) -> None:
        if self._random.random() < 0.1:
            await self._server.restart(keep=self._random.random() < 0.7, downtime=3.0)
        else:
            troubles: list[Callable[[], object]] = [
                self.calm_down,
                self._let_time_pass,
                self._let_requests_fail,
                self._server.become_read_only,
                self._server.drop_connections,
                self._server.expire,
                self._server.faults.hold_replies,
                self._server.pause,
                self._network.cut,
                self._network.reset,
            ]
            self._random.choice(troubles)()

    def _let_time_pass(self) -> None:
        self._server.jump(self._random.choice([1.0, 60.0]))

    def _let_requests_fail(self) -> None:
        if self._random.random() < 0.5:
            self._server.faults.delay_reply(self._random.choice([0.1, 30.0]), times=5)
        else:
            how = self._random.choice([how for how in Hurt if how is not Hurt.DELAY])
            self._server.faults.hurt(self._random.randint(1, 4), how)

    def calm_down(self) -> None:
        self._server.resume()
        self._server.faults.clear()
        self._network.heal()
        if self._server.processor.is_read_only:
            self._server.become_writable()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_nothing_is_left_of_clients_that_have_gone(
    seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", random)
    network = MemoryNetwork(chunk_size=random.choice([None, 7]))
    async with DevServer(network=network, host="zk", port=2181, seed=seed, start_time=1e9) as server:
        server.processor.tree.add("/large", LARGE, tuple(OPEN), 0, 0)
        rascals = [Rascal(network, random) for _ in range(CLIENTS)]
        trouble = Troublemaker(server, network, random)
        for step in range(STEPS):
            async with trio.open_nursery() as nursery:
                for rascal in rascals:
                    nursery.start_soon(rascal.misbehave)
            # Not to the end: some troubles would clear away what others have left behind.
            if step > STEPS / 2:
                trouble.calm_down()
            elif random.random() < 0.5:
                await trouble.make_trouble()
        for rascal in rascals:
            await rascal.go()
        await trio.sleep(100)
        figures = parse_mntr(server.answer_word("mntr"))
        left = {
            name: figures[f"zk_{name}"]
            for name in ("num_alive_connections", "global_sessions", "watch_count", "ephemerals_count")
        }
        assert left == dict.fromkeys(left, "0")
        assert not server.processor.attached
        assert not any(link.is_open for link in network.links)

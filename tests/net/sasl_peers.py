"""Servers that require SASL DIGEST-MD5: a correct one in front of the dev server, and faulty ones.

The server's end of RFC 2831 is implemented here again, from the RFC and not from the package.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from struct import Struct

import anyio

from zkrecipes.codec.framing import FrameBuffer
from zkrecipes.codec.messages import SASLReply, SASLRequest
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address, Stream, bare_errors
from zkrecipes.testing import MemoryNetwork

CHALLENGE = b'realm="zk-sasl-md5",nonce="c2VydmVy",charset=utf-8,algorithm=md5-sess'
_HEADER = Struct("!ii")
_REPLY = Struct("!iiqi")  # length, xid, zxid, err


def rspauth(users: dict[str, str], response: bytes) -> bytes | None:
    """Return the answer of a server with these passwords; None if it refuses."""
    said = dict(re.findall(r'([\w-]+)="?([^",]*)"?', response.decode()))
    password = users.get(said["username"])
    if password is None:
        return None
    secret = hashlib.md5(f"{said['username']}:zk-sasl-md5:{password}".encode()).digest()
    key = hashlib.md5(secret + f":{said['nonce']}:{said['cnonce']}".encode()).hexdigest()

    def proof(verb: str) -> str:
        what = hashlib.md5(f"{verb}:zookeeper/zk-sasl-md5".encode()).hexdigest()
        whole = f"{key}:{said['nonce']}:{said['nc']}:{said['cnonce']}:{said['qop']}:{what}"
        return hashlib.md5(whole.encode()).hexdigest()

    return b"rspauth=" + proof("").encode() if said["response"] == proof("AUTHENTICATE") else None


@dataclass
class Answer:
    """The answer of a server to one token."""

    token: bytes | None = None
    code: int = 0


class Mute(Enum):
    """The misbehaviour of a server that does not answer."""

    STALL = "stall"
    HANG_UP = "hang up"


Say = Callable[[int, bytes], Answer | Mute]
"""Returns the answer to the nth token of a connection, from 0."""


@dataclass
class SaslServer:
    """A server that refuses all requests before SASL; the dev server is behind it.

    Attributes:
        network: the network of both.
        behind: the dev server's address.
        users: the passwords by user.
        say: returns a faulty answer.
        seen: every opcode that arrived, of all connections; a greeting is 0.
    """

    network: MemoryNetwork
    behind: Address = field(default=Address("zk", 2181))
    users: dict[str, str] = field(default_factory=lambda: {"bob": "open-sesame"}, repr=False)
    say: Say | None = None
    seen: list[int] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self, host: str = "sasl", port: int = 2181) -> AsyncIterator[None]:
        async with self.network.serve(host, port, self._relay):
            yield

    async def _relay(self, client: Stream) -> None:
        server = await self.network.connect(*self.behind)
        try:
            with bare_errors():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_pump, server, client)
                    await self._listen(client, server)
                    tasks.cancel_scope.cancel()
        except OSError:
            return
        finally:
            with anyio.CancelScope(shield=True):
                await server.aclose()
                await client.aclose()

    async def _listen(self, client: Stream, server: Stream) -> None:
        frames = FrameBuffer(2**20)
        tokens, is_proven, is_greeted = 0, False, False
        while data := await client.receive():
            if data == b"srvr":
                return  # it does not reveal its version
            frames.feed(data)
            while (frame := frames.next_frame()) is not None:
                body = frame[0][frame[1] : frame[2]]
                xid, opcode = _HEADER.unpack_from(body) if is_greeted else (0, 0)
                self.seen.append(opcode)
                if opcode == OpCode.SASL:
                    token = SASLRequest.read(body, _HEADER.size, len(body))[0].token
                    assert token is not None
                    answer = self._answer(tokens, token)
                    tokens += 1
                    is_proven = isinstance(answer, Answer) and (answer.token or b"").startswith(b"rspauth")
                elif is_greeted and not is_proven and opcode != OpCode.PING:
                    answer = Answer(None, -124)
                else:
                    is_greeted = True
                    await server.send(len(body).to_bytes(4, "big") + body)
                    continue
                if isinstance(answer, Answer):
                    await client.send(_reply(xid, answer))
                if answer is Mute.HANG_UP or (isinstance(answer, Answer) and answer.code != 0):
                    return

    def _answer(self, nth: int, token: bytes) -> Answer | Mute:
        if self.say is not None:
            return self.say(nth, token)
        if nth == 0:
            return Answer(CHALLENGE) if token == b"" else Answer(None, -115)
        proof = rspauth(self.users, token)
        return Answer(None, -115) if proof is None else Answer(proof)


def _reply(xid: int, answer: Answer) -> bytes:
    body = SASLReply(answer.token).encode()
    return _REPLY.pack(len(body) + _REPLY.size - 4, xid, 0, answer.code) + body


async def _pump(source: Stream, target: Stream) -> None:
    try:
        while data := await source.receive():
            await target.send(data)
    except OSError:
        pass
    await target.aclose()

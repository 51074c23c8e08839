"""Encoding and decoding, compared with kazoo's serialization: CPU time only, without a server."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from kazoo.protocol import serialization as kazoo
from kazoo.security import OPEN_ACL_UNSAFE

from zkrecipes.acl import OPEN_ACL
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    ChildrenReply,
    CreateReply,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    ReplyHeader,
    SetDataRequest,
    StatReply,
    WatchEventMessage,
)
from zkrecipes.codec.multi import MultiRequest
from zkrecipes.codec.records import Node, Stat

PATH = "/bench/some/path"
DATA = b"x" * 100
HEADER = Struct("!iqi")
STAT = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
CHILDREN = [f"child-{number:010d}" for number in range(1000)]
# Prepared once, as in a client, because only the serialization is timed.
OURS_ACL = list(OPEN_ACL)


@dataclass(frozen=True, slots=True)
class Message:
    """A message in both libraries: from values to bytes, or from bytes to values."""

    name: str
    ours: Callable[[], object]
    kazoos: Callable[[], object]


def _kazoo_frame(request: object, xid: int) -> bytes:
    """Encode a frame like kazoo's connection (`ConnectionHandler._submit`)."""
    body = bytearray(kazoo.int_struct.pack(xid))
    body += kazoo.int_struct.pack(request.type)
    body += request.serialize()
    return kazoo.int_struct.pack(len(body)) + body


def reply(name: str, ours: type[Record], kazoos: Any, record: Record) -> Message:
    """Return a whole reply, header and body, as read from its frame."""
    frame = ReplyHeader(7, 8, 0).encode() + record.encode()
    end = len(frame)

    def read_ours() -> Record:
        # as in ClientSide
        HEADER.unpack_from(frame, 0)
        return ours.read(frame, HEADER.size, end)[0]

    def read_kazoos() -> object:
        _, position = kazoo.ReplyHeader.deserialize(frame, 0)
        return kazoos.deserialize(frame, position)

    return Message(name, read_ours, read_kazoos)


def messages() -> list[Message]:
    """Return every message that is compared."""
    ours = Message
    return [
        ours(
            "encode get",
            lambda: GetDataRequest(PATH, False).encode_frame(7),
            lambda: _kazoo_frame(kazoo.GetData(PATH, None), 7),
        ),
        ours(
            "encode exists",
            lambda: ExistsRequest(PATH, False).encode_frame(7),
            lambda: _kazoo_frame(kazoo.Exists(PATH, None), 7),
        ),
        ours(
            "encode get_children",
            lambda: GetChildrenRequest(PATH, False).encode_frame(7),
            lambda: _kazoo_frame(kazoo.GetChildren(PATH, None), 7),
        ),
        ours(
            "encode set",
            lambda: SetDataRequest(PATH, DATA, -1).encode_frame(7),
            lambda: _kazoo_frame(kazoo.SetData(PATH, DATA, -1), 7),
        ),
        ours(
            "encode create",
            lambda: CreateRequest(PATH, DATA, OURS_ACL, 3).encode_frame(7),
            lambda: _kazoo_frame(kazoo.Create(PATH, DATA, OPEN_ACL_UNSAFE, 3), 7),
        ),
        ours(
            "encode delete",
            lambda: DeleteRequest(PATH, -1).encode_frame(7),
            lambda: _kazoo_frame(kazoo.Delete(PATH, -1), 7),
        ),
        ours(
            "encode multi of 10 deletes",
            lambda: MultiRequest((DeleteRequest(PATH, -1),) * 10).encode_frame(7),
            lambda: _kazoo_frame(kazoo.Transaction([kazoo.Delete(PATH, -1)] * 10), 7),
        ),
        reply("decode get reply", Node, kazoo.GetData, Node(DATA, STAT)),
        reply("decode exists reply", StatReply, kazoo.Exists, StatReply(STAT)),
        reply("decode create reply", CreateReply, kazoo.Create, CreateReply(PATH)),
        reply("decode 1000 children", ChildrenReply, kazoo.GetChildren, ChildrenReply(CHILDREN)),
        reply("decode watch event", WatchEventMessage, kazoo.Watch, WatchEventMessage(3, 3, PATH)),
    ]


def measure(rounds: int) -> list[tuple[str, float, float]]:
    """Return (name, our microseconds, kazoo's) of each message: the best of the interleaved rounds."""
    rows = []
    for message in messages():
        times = max(1, int(0.01 / (timeit.timeit(message.kazoos, number=10) / 10)))
        ours, kazoos = [], []
        for _ in range(5 * rounds):
            ours.append(timeit.timeit(message.ours, number=times) / times * 1e6)
            kazoos.append(timeit.timeit(message.kazoos, number=times) / times * 1e6)
        rows.append((message.name, min(ours), min(kazoos)))
    return rows

"""The one irregular message: `multi`, a list of operations of mixed kinds that applies as a whole.

On the wire it is no jute record but a sequence of (header, record) closed by a header that says so
(`MultiOperationRecord.java`, `MultiResponse.java`), so its pair of functions is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any, Self

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    REQUESTS,
    ChildrenReply,
    ErrorReply,
    MultiHeader,
    Request,
)
from zkrecipes.codec.records import Node
from zkrecipes.enums import OpCode
from zkrecipes.errors import ProtocolError

__all__ = ["MultiReadRequest", "MultiReply", "MultiRequest"]

_HEADER = Struct("!i?i")
_END = _HEADER.pack(-1, True, -1)
_FRAME_HEAD = Struct("!iii")

# getChildren alone answers differently inside a multiRead: the children without a stat, as opcode 8 does.
_RESULTS: dict[int, type[Record]] = {
    OpCode.GET_DATA: Node,
    OpCode.GET_CHILDREN: ChildrenReply,
    OpCode.ERROR: ErrorReply,
}


class MultiReply(Record):
    """One result for each operation: its reply, `Empty`, or an `ErrorReply`.

    Where the multi failed, all are `ErrorReply`: 0 before the one that failed, its code, -2 after it.
    """

    results: tuple[Record, ...]

    @staticmethod
    def read(buffer: bytes, start: int, end: int) -> tuple[MultiReply, int]:
        """The reply that begins at `start` and the position behind it."""
        results: list[Record] = []
        pos = start
        while True:
            header, pos = MultiHeader.read(buffer, pos, end)
            if header.done:
                return MultiReply(tuple(results)), pos
            result, pos = _result_class(header.type).read(buffer, pos, end)
            results.append(result)

    def encode(self) -> bytes:
        """The reply's bytes, with each result under the opcode that its class belongs to."""
        raise TypeError("a result's opcode is not in the result: use encode_results(opcodes)")

    def encode_results(self, opcodes: Iterable[int]) -> bytes:
        """The reply's bytes.

        Args:
            opcodes: the opcode of each operation, in order; an `ErrorReply` goes under its own.
        """
        parts = []
        for opcode, result in zip(opcodes, self.results, strict=True):
            if isinstance(result, ErrorReply):
                parts.append(_HEADER.pack(OpCode.ERROR, False, result.err))
            else:
                parts.append(_HEADER.pack(opcode, False, 0))
            parts.append(result.encode())
        return b"".join(parts) + _END


def _result_class(opcode: int) -> type[Record]:
    special = _RESULTS.get(opcode)
    if special is not None:
        return special
    request = REQUESTS.get(opcode)
    if request is None:
        raise ProtocolError(f"a multi's result has the unknown opcode {opcode}")
    return request.reply


class _Operations(Request[MultiReply], opcode=OpCode.MULTI):
    """What the two kinds of multi share: a list of operations on the wire."""

    operations: tuple[Request[Any], ...]

    @classmethod
    def read(cls, buffer: bytes, start: int, end: int) -> tuple[Self, int]:
        """The request that begins at `start` and the position behind it."""
        operations: list[Request[Any]] = []
        pos = start
        while True:
            header, pos = MultiHeader.read(buffer, pos, end)
            if header.done:
                return cls(tuple(operations)), pos
            request_class = REQUESTS.get(header.type)
            if request_class is None or issubclass(request_class, _Operations):
                raise ProtocolError(f"a multi has an operation of the unknown opcode {header.type}")
            operation, pos = request_class.read(buffer, pos, end)
            operations.append(operation)

    def encode(self) -> bytes:
        """The request's bytes."""
        parts = []
        for operation in self.operations:
            parts.append(_HEADER.pack(operation.opcode, False, -1))
            parts.append(operation.encode())
        return b"".join(parts) + _END

    def encode_frame(self, xid: int) -> bytes:
        """The whole frame: length, request header, body."""
        body = self.encode()
        return _FRAME_HEAD.pack(len(body) + 8, xid, self.opcode) + body


class MultiRequest(_Operations, opcode=OpCode.MULTI, is_write=True):
    """Apply all operations or none: creates, deletes, set-data, checks."""


class MultiReadRequest(_Operations, opcode=OpCode.MULTI_READ):
    """Read several znodes in one step; each read has its own result or error (servers from 3.6)."""

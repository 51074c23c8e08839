"""The one irregular message: `multi`, a list of operations of mixed types that applies as a whole.

On the wire it is not a jute record but a sequence of (header, record), closed by a header with `done` set
(`MultiOperationRecord.java`, `MultiResponse.java`, read at 3.9), so its functions are written by hand. Those
files also define which operations it may contain, and the opcode in the header of each result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct, error as StructError  # noqa: N812 - an exception, whatever its case
from typing import Any, ClassVar, Self

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    CheckRequest,
    ChildrenReply,
    Create2Reply,
    Create2Request,
    CreateContainerRequest,
    CreateReply,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    Empty,
    ErrorReply,
    GetChildrenRequest,
    GetDataRequest,
    Request,
    SetDataRequest,
    StatReply,
)
from zkrecipes.codec.records import Node
from zkrecipes.enums import OpCode
from zkrecipes.errors import ProtocolError

__all__ = ["MultiReadRequest", "MultiReply", "MultiRequest"]

_WRITES: dict[int, type[Request[Any]]] = {
    each.opcode: each
    for each in (
        CreateRequest,
        Create2Request,
        CreateContainerRequest,
        CreateTTLRequest,
        DeleteRequest,
        SetDataRequest,
        CheckRequest,
    )
}
_READS: dict[int, type[Request[Any]]] = {each.opcode: each for each in (GetDataRequest, GetChildrenRequest)}
_RESULTS: dict[int, type[Record]] = {
    OpCode.CREATE: CreateReply,
    OpCode.CREATE2: Create2Reply,
    OpCode.DELETE: Empty,
    OpCode.SET_DATA: StatReply,
    OpCode.CHECK: Empty,
    OpCode.GET_DATA: Node,
    OpCode.GET_CHILDREN: ChildrenReply,
    OpCode.ERROR: ErrorReply,
}
# The results of all creates that return a stat have the opcode of create2.
_RESULT_OPCODES = {OpCode.CREATE_CONTAINER: OpCode.CREATE2, OpCode.CREATE_TTL: OpCode.CREATE2}

_HEADER = Struct("!i?i")
_END = _HEADER.pack(-1, True, -1)
_FRAME_HEAD = Struct("!iii")
_OPERATION_HEADERS = {opcode: _HEADER.pack(opcode, False, -1) for opcode in (*_WRITES, *_READS)}


class MultiReply(Record):
    """One result for each operation: its reply, `Empty`, or an `ErrorReply`.

    If the multi failed, every result is an `ErrorReply`: the failed operation's has its error code, those
    before it 0, and those after it -2.
    """

    results: tuple[Record, ...]

    @staticmethod
    def read(buffer: bytes, start: int, end: int) -> tuple[MultiReply, int]:
        """Return the reply that begins at `start`, and the position after it."""
        results, pos = _read_list(_RESULTS, buffer, start, end)
        return MultiReply(tuple(results)), pos

    def has_failed_with(self, code: int) -> bool:
        """Whether an operation failed with this code, and so the whole multi."""
        if not self.results or not isinstance(self.results[0], ErrorReply):
            return False
        return any(isinstance(each, ErrorReply) and each.err == code for each in self.results)

    def check_answers(self, operations: Sequence[Request[Any]], *, errors: bool) -> None:
        """Check that there is one result for each operation, of the operation's reply type.

        Args:
            operations: the operations of the request.
            errors: whether any result may be an `ErrorReply` instead.

        Raises:
            ProtocolError: a result is missing, left over or of another type.
        """
        if len(self.results) != len(operations):
            raise ProtocolError(f"{len(operations)} operations were answered by {len(self.results)} results")
        for operation, result in zip(operations, self.results, strict=True):
            if type(result) is not operation.reply and not (errors and isinstance(result, ErrorReply)):
                raise ProtocolError(f"{type(operation).__name__} was answered by {type(result).__name__}")

    def encode(self) -> bytes:
        """Refuse: a result does not contain the opcode of its header. Use `encode_results`."""
        raise TypeError("a result's opcode is not in the result: use encode_results(opcodes)")

    def __repr__(self) -> str:
        return f"MultiReply(results={self.results!r})"

    def encode_results(self, opcodes: Iterable[int]) -> bytes:
        """Return the reply's bytes.

        Args:
            opcodes: the opcode of each operation, in order; an `ErrorReply` has its own.

        Raises:
            ValueError: the number of opcodes differs from the number of results.
            TypeError: a result does not have the type of a reply to its operation.
        """
        parts = []
        for opcode, result in zip(opcodes, self.results, strict=True):
            if isinstance(result, ErrorReply):
                parts.append(_HEADER.pack(OpCode.ERROR, False, result.err))
            else:
                parts.append(_result_header(opcode, result))
            parts.append(result.encode())
        return b"".join(parts) + _END


class _Operations(Request[MultiReply], opcode=OpCode.MULTI):
    """The base of both multis: a list of operations on the wire."""

    allowed: ClassVar[Mapping[int, type[Request[Any]]]] = {}
    """The operations that it may contain, by opcode."""
    operations: tuple[Request[Any], ...]

    @classmethod
    def read(cls, buffer: bytes, start: int, end: int) -> tuple[Self, int]:
        """Return the request that begins at `start`, and the position after it."""
        operations, pos = _read_list(cls.allowed, buffer, start, end)
        return cls(tuple(operations)), pos

    def encode(self) -> bytes:
        """Return the request's bytes.

        Raises:
            TypeError: the multi cannot contain one of the operations, or a value has the wrong type.
            ValueError: a value does not fit its field.
        """
        parts = []
        for operation in self.operations:
            if getattr(operation, "opcode", None) not in self.allowed:
                raise TypeError(f"a {type(self).__name__} cannot contain {operation!r}")
            parts.append(_OPERATION_HEADERS[operation.opcode])
            parts.append(operation.encode())
        return b"".join(parts) + _END

    def __repr__(self) -> str:
        return f"{type(self).__name__}(operations={self.operations!r})"

    def encode_frame(self, xid: int) -> bytes:
        """Return the whole frame: length, request header, body."""
        body = self.encode()
        return _FRAME_HEAD.pack(len(body) + 8, xid, self.opcode) + body


class MultiRequest(_Operations, opcode=OpCode.MULTI, is_write=True):
    """A request to apply all operations or none: creates, deletes, set-data, checks."""

    allowed: ClassVar[Mapping[int, type[Request[Any]]]] = _WRITES


class MultiReadRequest(_Operations, opcode=OpCode.MULTI_READ):
    """A request to read several znodes in one step, each with a result or an error (servers from 3.6)."""

    allowed: ClassVar[Mapping[int, type[Request[Any]]]] = _READS


def _read_list(
    classes: Mapping[int, type[Record]], buffer: bytes, pos: int, end: int
) -> tuple[list[Any], int]:
    records = []
    try:
        while True:
            opcode, done, _ = _HEADER.unpack_from(buffer, pos)
            pos += _HEADER.size
            if done:
                break
            record_class = classes.get(opcode)
            if record_class is None:
                raise ProtocolError(f"a multi contains the opcode {opcode}, which it cannot contain")
            record, pos = record_class.read(buffer, pos, end)
            records.append(record)
    except StructError:
        raise ProtocolError("the bytes end inside a multi") from None
    if pos > end:
        raise ProtocolError("the bytes end inside a multi")
    return records, pos


def _result_header(opcode: int, result: Record) -> bytes:
    opcode = _RESULT_OPCODES.get(OpCode(opcode), opcode)
    if type(result) is not _RESULTS.get(opcode):
        raise TypeError(f"{result!r} does not answer an operation of the opcode {opcode}")
    return _HEADER.pack(opcode, False, 0)

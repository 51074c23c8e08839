"""All operations or none: what a multi does, under one zxid.

The rules are those of `MultiOperationRecord.deserialize`, `PrepRequestProcessor` and `DataTree.processTxn`
(3.9). A real server reads the creates of a multi by their flags rather than by their opcode, and answers each
under the opcode that it has read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    Create2Request,
    CreateContainerRequest,
    CreateRequest,
    CreateTTLRequest,
    ErrorReply,
    Request,
)
from zkrecipes.codec.multi import MultiReply
from zkrecipes.devserver.requests.writes import WRITES, Change
from zkrecipes.enums import CreateMode, OpCode
from zkrecipes.errors import MarshallingError, RuntimeInconsistencyError, ServerError

__all__ = ["NullACLError", "apply_multi", "as_read"]

_ALLOWED = frozenset(
    {
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.DELETE,
        OpCode.SET_DATA,
        OpCode.CHECK,
    }
)
_MODES = {int(mode): mode for mode in CreateMode}


class NullACLError(MarshallingError):
    """A create in a multi has a null for its ACL, over which a real server stumbles while it reads."""


def as_read(operations: Sequence[Request[Any]]) -> list[Request[Any]]:
    """The operations that a server makes of those that were sent.

    Raises:
        MarshallingError: there is something that cannot be in a multi.
        NullACLError: there is a null ACL, and nothing before it that cannot be in a multi.
    """
    return [_as_read(operation) for operation in operations]


def apply_multi(change: Change, operations: Sequence[Request[Any]]) -> tuple[list[int], MultiReply]:
    """Apply all of `operations`, which come from `as_read`, or none; what happened stands in `change`.

    Returns:
        The opcode of each result, and the results. Where one operation failed all are `ErrorReply`: 0 before
        it, its code, -2 after it.
    """
    opcodes = [int(operation.opcode) for operation in operations]
    results: list[Record] = []
    change.tree.open_journal()
    try:
        for operation in operations:
            result = WRITES[operation.opcode](change, operation)
            results.append(result)
    except ServerError as error:
        change.tree.roll_back()
        change.events.clear()
        change.size_changes.clear()
        return opcodes, _failed(len(operations), len(results), error.code)
    change.tree.commit()
    return opcodes, MultiReply(tuple(results))


def _failed(count: int, done: int, code: int) -> MultiReply:
    """The results of a multi whose operation number `done`, from 0, failed."""
    after = RuntimeInconsistencyError.code
    codes = (0 if i < done else code if i == done else after for i in range(count))
    return MultiReply(tuple(ErrorReply(each) for each in codes))


def _as_read(operation: Request[Any]) -> Request[Any]:
    if operation.opcode not in _ALLOWED:
        raise MarshallingError(detail=f"opcode {operation.opcode} in a multi")
    if isinstance(operation, CreateTTLRequest):
        mode = _MODES.get(operation.flags)
        if mode is not None and mode.has_ttl:
            return operation
        return CreateRequest(operation.path, operation.data, operation.acl, operation.flags)
    if isinstance(operation, (CreateRequest, Create2Request, CreateContainerRequest)):
        mode = _MODES.get(operation.flags)
        if mode is not None and operation.acl is None:
            raise NullACLError(operation.path, detail="a null ACL in a multi")
        if mode is None or mode.has_ttl:
            raise MarshallingError(operation.path, detail=f"flags {operation.flags} in a multi")
        if mode is CreateMode.CONTAINER:
            return CreateContainerRequest(operation.path, operation.data, operation.acl, operation.flags)
    return operation

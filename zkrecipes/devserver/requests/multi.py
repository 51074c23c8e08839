"""A multi: apply all of its operations, or none, under one zxid.

The rules are those of `MultiOperationRecord.deserialize`, `PrepRequestProcessor` and `DataTree.processTxn`
(3.9). A real server deserializes the creates in a multi by their flags rather than by their opcode. Each
result has the opcode of the deserialized operation.
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

__all__ = ["NullACLError", "apply_multi", "as_deserialized"]

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
    """A create in a multi has a null ACL, which makes a real server fail during deserialization."""


def as_deserialized(operations: Sequence[Request[Any]]) -> list[Request[Any]]:
    """Turn the operations of a multi into those that a real server deserializes.

    Raises:
        MarshallingError: an operation is not allowed in a multi.
        NullACLError: an ACL is null, and all operations before that one are allowed.
    """
    return [_as_deserialized(operation) for operation in operations]


def apply_multi(change: Change, operations: Sequence[Request[Any]]) -> tuple[list[int], MultiReply]:
    """Apply all of `operations`, which come from `as_deserialized`, or none. `change` collects the events.

    Returns:
        The opcode of each result, and the results. If an operation fails, all results are `ErrorReply`: 0
        before it, its own code, and -2 after it.
    """
    opcodes = [int(operation.opcode) for operation in operations]
    results: list[Record] = []
    change.tree.begin()
    try:
        for operation in operations:
            result = WRITES[operation.opcode](change, operation)
            results.append(result)
    except ServerError as error:
        change.tree.roll_back()
        change.events.clear()
        change.size_changes.clear()
        return opcodes, _failure_reply(len(operations), len(results), error.code)
    change.tree.commit()
    return opcodes, MultiReply(tuple(results))


def _failure_reply(count: int, failed_at: int, code: int) -> MultiReply:
    """Build the reply to a multi whose operation number `failed_at`, from 0, failed."""
    code_after = RuntimeInconsistencyError.code
    codes = (0 if i < failed_at else code if i == failed_at else code_after for i in range(count))
    return MultiReply(tuple(ErrorReply(each) for each in codes))


def _as_deserialized(operation: Request[Any]) -> Request[Any]:
    if operation.opcode not in _ALLOWED:
        raise MarshallingError(detail=f"opcode {operation.opcode} is not allowed in a multi")
    if isinstance(operation, CreateTTLRequest):
        mode = _MODES.get(operation.flags)
        if mode is not None and mode.has_ttl:
            return operation
        return CreateRequest(operation.path, operation.data, operation.acl, operation.flags)
    if isinstance(operation, (CreateRequest, Create2Request, CreateContainerRequest)):
        mode = _MODES.get(operation.flags)
        if mode is not None and operation.acl is None:
            raise NullACLError(operation.path, detail="an ACL in a multi must not be null")
        if mode is None or mode.has_ttl:
            raise MarshallingError(
                operation.path, detail=f"flags {operation.flags} are not allowed in a multi"
            )
        if mode is CreateMode.CONTAINER:
            return CreateContainerRequest(operation.path, operation.data, operation.acl, operation.flags)
    return operation

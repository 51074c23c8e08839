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
from zkrecipes.devserver.writes import WRITES, Change
from zkrecipes.enums import CreateMode, OpCode
from zkrecipes.errors import MarshallingError, RuntimeInconsistencyError, ServerError

__all__ = ["apply_multi"]

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


def apply_multi(change: Change, operations: Sequence[Request[Any]]) -> tuple[list[int], MultiReply]:
    """Apply all of `operations` or none; what happened then stands in `change`.

    Returns:
        The opcode of each result, and the results. Where one operation failed all are `ErrorReply`: 0 before
        it, its code, -2 after it.

    Raises:
        MarshallingError: there is something that cannot be in a multi.
    """
    operations = [_as_read(operation) for operation in operations]
    opcodes = [int(operation.opcode) for operation in operations]
    results: list[Record] = []
    change.tree.open_journal()
    try:
        for operation in operations:
            result = WRITES[operation.opcode](change, operation)
            results.append(result)
    except ServerError as error:
        change.tree.roll_back()
        change.happened.clear()
        return opcodes, _failed(len(operations), len(results), error.code)
    change.tree.commit()
    return opcodes, MultiReply(tuple(results))


def _failed(count: int, done: int, code: int) -> MultiReply:
    """The results of a multi whose operation number `done`, from 0, failed."""
    after = RuntimeInconsistencyError.code
    codes = (0 if i < done else code if i == done else after for i in range(count))
    return MultiReply(tuple(ErrorReply(each) for each in codes))


def _as_read(operation: Request[Any]) -> Request[Any]:
    """The operation that a server makes of the one that was sent."""
    if operation.opcode not in _ALLOWED:
        raise MarshallingError(detail=f"opcode {operation.opcode} in a multi")
    if isinstance(operation, CreateTTLRequest):
        mode = _MODES.get(operation.flags)
        if mode is not None and mode.has_ttl:
            return operation
        return CreateRequest(operation.path, operation.data, operation.acl, operation.flags)
    if isinstance(operation, (CreateRequest, Create2Request, CreateContainerRequest)):
        mode = _MODES.get(operation.flags)
        if mode is None or mode.has_ttl or operation.acl is None:
            raise MarshallingError(operation.path, detail=f"flags {operation.flags} in a multi")
        if mode is CreateMode.CONTAINER:
            return CreateContainerRequest(operation.path, operation.data, operation.acl, operation.flags)
    return operation

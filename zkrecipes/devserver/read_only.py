"""What a server without a quorum refuses (`ReadOnlyRequestProcessor`, 3.9)."""

from __future__ import annotations

from zkrecipes.enums import OpCode

__all__ = ["REFUSED"]

REFUSED = frozenset(
    {
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.DELETE,
        OpCode.DELETE_CONTAINER,
        OpCode.SET_DATA,
        OpCode.SET_ACL,
        OpCode.RECONFIG,
        OpCode.MULTI,
        OpCode.CHECK,
        OpCode.SYNC,
    }
)
"""The opcodes that are answered with -119: all that needs the others, sync among them."""

"""The rows for znodes and sessions. Pure: `tables` stores them.

Each row has a checksum, because a database notices damage to its structure, but not to a byte of the data.
"""

from __future__ import annotations

import json
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

from zkrecipes.codec.records import ACL, Id
from zkrecipes.devserver.data_tree import ZNode, ZNodeKind

__all__ = [
    "COLUMNS",
    "ChangedRows",
    "DamagedRowError",
    "Row",
    "SessionRow",
    "StateRow",
    "add_checksum",
    "remove_checksum",
    "row_of",
    "znode_of",
]

Row = tuple[Any, ...]
"""The values of a row, with the checksum at the end. The row of a znode is in the order of `COLUMNS`."""

COLUMNS = (
    "path",
    "data",
    "acl",
    "kind",
    "owner",
    "ttl_ms",
    "czxid",
    "mzxid",
    "pzxid",
    "ctime",
    "mtime",
    "version",
    "aversion",
    "creates",
    "checksum",
)


_NUMBERS = Struct("!10q")
_KINDS = {kind.value: kind for kind in ZNodeKind}


class SessionRow(NamedTuple):
    """One session."""

    session_id: int
    password: bytes
    timeout: float
    """In seconds."""


class StateRow(NamedTuple):
    """The state of a server besides znodes and sessions, and the number of those."""

    zxid: int
    next_session_id: int
    znode_count: int
    session_count: int


class ChangedRows(NamedTuple):
    """The changes that one transaction saves: all of them or, if the machine fails, none."""

    state: StateRow
    """The state after the changes."""
    znodes: list[Row]
    """The new and changed znodes."""
    removed: list[tuple[str]]
    sessions: list[SessionRow]
    ended: list[tuple[int]]
    from_scratch: bool
    """Whether to delete everything saved before."""


class DamagedRowError(Exception):
    """A row differs from the one that was saved."""


def row_of(node: ZNode) -> Row:
    """Return the row of a znode."""
    row = (
        node.path,
        node.data,
        _acl_text(node.acl),
        node.kind.value,
        node.owner,
        node.ttl_ms,
        node.czxid,
        node.mzxid,
        node.pzxid,
        node.ctime,
        node.mtime,
        node.version,
        node.aversion,
        node.creates,
    )
    return (*row, _checksum(row))


def znode_of(row: Row) -> ZNode:
    """Return the znode of a row.

    Raises:
        DamagedRowError: the row differs from the one that was saved.
        TypeError, ValueError, struct.error: a value has a wrong type or range.
    """
    if _checksum(row[:-1]) != row[-1]:
        raise DamagedRowError(f"the checksum of znode {row[0]!r} is wrong")
    path, data, acl, kind, owner, ttl_ms, czxid, mzxid, pzxid, ctime, mtime, version, aversion, creates, _ = (
        row
    )
    node = ZNode(
        data, _acl(acl), czxid, ctime, kind=_KINDS[kind], owner=owner, ttl_ms=ttl_ms, creates=creates
    )
    node.path = path
    # Most of a million znodes were never changed, so equal numbers share one object.
    node.mzxid = czxid if mzxid == czxid else mzxid
    node.pzxid = czxid if pzxid == czxid else pzxid
    node.mtime = ctime if mtime == ctime else mtime
    node.version, node.aversion = version, aversion
    return node


def add_checksum(row: SessionRow | StateRow) -> Row:
    """Return a row of a session or of the state with a checksum added."""
    return (*row, _checksum_of_text(tuple(row)))


def remove_checksum(row: Row, name: str) -> Row:
    """Check and remove the checksum that `add_checksum` added.

    Args:
        row: the row from the database.
        name: its name for messages.

    Raises:
        DamagedRowError: the row differs from the one that was saved.
    """
    if _checksum_of_text(row[:-1]) != row[-1]:
        raise DamagedRowError(f"the checksum of {name} is wrong")
    return row[:-1]


def _checksum_of_text(row: Row) -> int:
    # Values of any type have a `repr`, even in a damaged row, and it distinguishes 4, 4.0 and None.
    return crc32(repr(row).encode())


def _checksum(row: Row) -> int:
    path, data, acl, kind, *numbers = row
    # None and empty data must differ. No path contains a NUL.
    text_fields = f"{path}\0{kind}\0{acl}\0{'' if data is None else 'data'}"
    checksum = crc32(_NUMBERS.pack(*numbers), crc32(text_fields.encode()))
    return checksum if data is None else crc32(data, checksum)


@lru_cache(maxsize=1024)
def _acl_text(acl: tuple[ACL, ...]) -> str:
    return json.dumps([[int(each.perms), each.id.scheme, each.id.id] for each in acl])


@lru_cache(maxsize=1024)
def _acl(text: str) -> tuple[ACL, ...]:
    return tuple(ACL(perms, Id(scheme, name)) for perms, scheme, name in json.loads(text))

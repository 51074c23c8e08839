"""Znodes and sessions as rows, and back. Pure: what a row holds is known here, where it is kept is not.

Each row carries a checksum, since a database notices when its own structure is damaged, and not when a byte
of somebody's data is.
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
    "node_of",
    "row_of",
    "sealed",
    "unsealed",
]

Row = tuple[Any, ...]
"""What is kept, with its checksum at the end; of a znode in the order of `COLUMNS`."""

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
    """What a server knows beside its znodes and sessions, and how many of those there are."""

    zxid: int
    next_session_id: int
    znode_count: int
    session_count: int


class ChangedRows(NamedTuple):
    """What is to be saved at once: all of it or, where the machine fails meanwhile, nothing of it."""

    state: StateRow
    """As it is afterwards."""
    znodes: list[Row]
    """Those that are new or different."""
    removed: list[tuple[str]]
    sessions: list[SessionRow]
    ended: list[tuple[int]]
    from_scratch: bool
    """Whether all that was saved before is to go first."""


class DamagedRowError(Exception):
    """A row is not what was saved."""


def row_of(node: ZNode) -> Row:
    """The row of a znode."""
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


def node_of(row: Row) -> ZNode:
    """The znode of a row.

    Raises:
        DamagedRowError: the row is not what was saved.
        TypeError, ValueError, struct.error: it is not even of the right form.
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
    # Of a million znodes most were never changed: equal numbers need to be there only once.
    node.mzxid = czxid if mzxid == czxid else mzxid
    node.pzxid = czxid if pzxid == czxid else pzxid
    node.mtime = ctime if mtime == ctime else mtime
    node.version, node.aversion = version, aversion
    return node


def sealed(row: SessionRow | StateRow) -> Row:
    """A row of which there are few, with a checksum."""
    return (*row, _checksum_of_text(tuple(row)))


def unsealed(row: Row, name: str) -> Row:
    """What was `sealed`, without the checksum.

    Args:
        row: as it was kept.
        name: what messages call it.

    Raises:
        DamagedRowError: the row is not what was saved.
    """
    if _checksum_of_text(row[:-1]) != row[-1]:
        raise DamagedRowError(f"the checksum of {name} is wrong")
    return row[:-1]


def _checksum_of_text(row: Row) -> int:
    # Whatever types a damaged row has, they have a `repr`, and it tells 4 from 4.0 and from None.
    return crc32(repr(row).encode())


def _checksum(row: Row) -> int:
    path, data, acl, kind, *numbers = row
    # No data and empty data differ. A NUL is in no path.
    words = f"{path}\0{kind}\0{acl}\0{'' if data is None else 'data'}"
    checksum = crc32(_NUMBERS.pack(*numbers), crc32(words.encode()))
    return checksum if data is None else crc32(data, checksum)


@lru_cache(maxsize=1024)
def _acl_text(acl: tuple[ACL, ...]) -> str:
    return json.dumps([[int(each.perms), each.id.scheme, each.id.id] for each in acl])


@lru_cache(maxsize=1024)
def _acl(text: str) -> tuple[ACL, ...]:
    return tuple(ACL(perms, Id(scheme, name)) for perms, scheme, name in json.loads(text))

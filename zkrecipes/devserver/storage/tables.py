"""The tables with a server's state: create them, write changes, read and check everything.

`DataDir` owns the file that contains them.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from zkrecipes.devserver.data_tree import ZNode
from zkrecipes.devserver.storage.rows import (
    COLUMNS,
    ChangedRows,
    DamagedRowError,
    SessionRow,
    StateRow,
    add_checksum,
    remove_checksum,
    znode_of,
)

__all__ = ["OtherReleaseError", "SavedState", "create_tables", "read_all", "write_changes"]

# "zkrd" distinguishes our database from others, for `file` as well. `_FORMAT` is the version of the tables'
# format.
_APPLICATION_ID: Final = 0x7A6B7264
_FORMAT: Final = 2

_SCHEMA: Final = f"""
BEGIN;
CREATE TABLE state (
    zxid INTEGER NOT NULL, next_session_id INTEGER NOT NULL, znode_count INTEGER NOT NULL,
    session_count INTEGER NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE session (
    id INTEGER PRIMARY KEY, password BLOB NOT NULL, timeout REAL NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE znode (
    path TEXT PRIMARY KEY, data BLOB, acl TEXT NOT NULL, kind TEXT NOT NULL, owner INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL, czxid INTEGER NOT NULL, mzxid INTEGER NOT NULL, pzxid INTEGER NOT NULL,
    ctime INTEGER NOT NULL, mtime INTEGER NOT NULL, version INTEGER NOT NULL, aversion INTEGER NOT NULL,
    creates INTEGER NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
COMMIT;
"""
_SAVE_ZNODE: Final = (
    f"INSERT OR REPLACE INTO znode ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
)


class OtherReleaseError(Exception):
    """The tables have a format that this release does not know."""


class SavedState(NamedTuple):
    """The state in a data directory."""

    zxid: int
    next_session_id: int
    sessions: list[SessionRow]
    znodes: list[ZNode]
    """The znodes, parents before their children."""


def create_tables(database: sqlite3.Connection) -> None:
    """Create empty tables."""
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(_SCHEMA)


def write_changes(database: sqlite3.Connection, changes: ChangedRows) -> None:
    """Write changes in one transaction."""
    database.execute("BEGIN IMMEDIATE")
    if changes.from_scratch:
        for table in ("znode", "session"):
            database.execute(f"DELETE FROM {table}")  # noqa: S608 - constant names
    database.executemany(_SAVE_ZNODE, changes.znodes)
    database.executemany("DELETE FROM znode WHERE path = ?", changes.removed)
    sessions = map(add_checksum, changes.sessions)
    database.executemany("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?)", sessions)
    database.executemany("DELETE FROM session WHERE id = ?", changes.ended)
    database.execute("DELETE FROM state")
    database.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?)", add_checksum(changes.state))
    database.execute("COMMIT")


def read_all(database: sqlite3.Connection) -> SavedState | None:
    """Read everything.

    Returns:
        The state; None if nothing was ever written.

    Raises:
        OtherReleaseError: the tables have another format.
        DamagedRowError: a row differs from the one that was written.
        sqlite3.Error, TypeError, ValueError, struct.error: the file or a value is malformed.
    """
    _check_format(database)
    state_row = database.execute("SELECT * FROM state").fetchone()
    if state_row is None:
        (count,) = database.execute("SELECT count(*) FROM znode").fetchone()
        _check_count("znodes", count, 0)
        return None
    state = StateRow(*remove_checksum(state_row, "the last zxid"))
    rows = database.execute(f"SELECT {', '.join(COLUMNS)} FROM znode ORDER BY path")  # noqa: S608
    znodes = [znode_of(row) for row in rows]
    session_rows = database.execute("SELECT * FROM session")
    sessions = [SessionRow(*remove_checksum(row, f"session {row[0]}")) for row in session_rows]
    _check_count("znodes", len(znodes), state.znode_count)
    _check_count("sessions", len(sessions), state.session_count)
    return SavedState(state.zxid, state.next_session_id, sessions, znodes)


def _check_format(database: sqlite3.Connection) -> None:
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (file_format,) = database.execute("PRAGMA user_version").fetchone()
    if application_id != _APPLICATION_ID:
        raise DamagedRowError("the database belongs to another application")
    if file_format != _FORMAT:
        raise OtherReleaseError(f"format {file_format}, not {_FORMAT}")


def _check_count(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise DamagedRowError(f"there are {found} {what} instead of {expected}")

"""The tables that hold a server's state: make them, write what has changed, read and check all that there is.

Which file they are in, and who may use it, is the business of `Store`.
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
    node_of,
    sealed,
    unsealed,
)

__all__ = ["OtherReleaseError", "SavedState", "make_tables", "read_all", "write_changes"]

# "zkrd", so that `file` and we can tell the database from others; and the form of its tables.
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
    """The tables have a form that this release does not know."""


class SavedState(NamedTuple):
    """What a data directory holds."""

    zxid: int
    next_session_id: int
    sessions: list[SessionRow]
    znodes: list[ZNode]
    """Each after its parent."""


def make_tables(database: sqlite3.Connection) -> None:
    """Make them, with nothing in them."""
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(_SCHEMA)


def write_changes(database: sqlite3.Connection, changes: ChangedRows) -> None:
    """Write changes in one transaction."""
    database.execute("BEGIN IMMEDIATE")
    if changes.from_scratch:
        for table in ("znode", "session"):
            database.execute(f"DELETE FROM {table}")  # noqa: S608 - two names of our own
    database.executemany(_SAVE_ZNODE, changes.znodes)
    database.executemany("DELETE FROM znode WHERE path = ?", changes.removed)
    sessions = map(sealed, changes.sessions)
    database.executemany("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?)", sessions)
    database.executemany("DELETE FROM session WHERE id = ?", changes.ended)
    database.execute("DELETE FROM state")
    database.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?)", sealed(changes.state))
    database.execute("COMMIT")


def read_all(database: sqlite3.Connection) -> SavedState | None:
    """All that there is; None where nothing was ever written.

    Raises:
        OtherReleaseError: it has another form.
        DamagedRowError: it is not what was written.
        sqlite3.Error, TypeError, ValueError, struct.error: it is not even of the right form.
    """
    _check_form(database)
    kept = database.execute("SELECT * FROM state").fetchone()
    if kept is None:
        (count,) = database.execute("SELECT count(*) FROM znode").fetchone()
        _check_count("znodes", count, 0)
        return None
    state = StateRow(*unsealed(kept, "the last zxid"))
    rows = database.execute(f"SELECT {', '.join(COLUMNS)} FROM znode ORDER BY path")  # noqa: S608
    znodes = [node_of(row) for row in rows]
    kept_sessions = database.execute("SELECT * FROM session")
    sessions = [SessionRow(*unsealed(row, f"session {row[0]}")) for row in kept_sessions]
    _check_count("znodes", len(znodes), state.znode_count)
    _check_count("sessions", len(sessions), state.session_count)
    return SavedState(state.zxid, state.next_session_id, sessions, znodes)


def _check_form(database: sqlite3.Connection) -> None:
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (form,) = database.execute("PRAGMA user_version").fetchone()
    if application_id != _APPLICATION_ID:
        raise DamagedRowError("it is a database of something else")
    if form != _FORMAT:
        raise OtherReleaseError(f"form {form}, not {_FORMAT}")


def _check_count(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise DamagedRowError(f"there are {found} {what} in place of {expected}")

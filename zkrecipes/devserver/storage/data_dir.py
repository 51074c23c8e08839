"""A data directory: the state of a durable server in a database of SQLite, which Python brings along.

Changes are appended to a log (`-wal`) and the disk is waited for, once a commit; SQLite moves them to the
table from time to time, which bounds the log. After a crash the end of the log that was not written whole is
left out, and with it nothing that anybody was told of. Nothing here knows an event loop: whoever calls it
does so in one thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from zkrecipes.devserver.storage.rows import ChangedRows, DamagedRowError
from zkrecipes.devserver.storage.tables import (
    OtherReleaseError,
    SavedState,
    make_tables,
    read_all,
    write_changes,
)
from zkrecipes.devserver.storage.write_ahead_log import is_damaged

__all__ = ["FILE_NAME", "DataDir", "DataDirError"]

FILE_NAME: Final = "zkrecipes-devserver.sqlite3"
_LOCK_NAME: Final = "zkrecipes-devserver.lock"

# `SQLITE_ERROR` is a statement that makes no sense, as ours do where the names of tables have gone bad.
_DAMAGED: Final = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DataDirError(Exception):
    """A data directory cannot be used, or no longer; the message is one line that says why.

    Attributes:
        directory: which.
    """

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(f"data directory {directory} {why}")
        self.directory = directory


@final
class DataDir:
    """A data directory that is open, and locked for all others.

    Args:
        directory: where; made where it is not there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / FILE_NAME
        self._lock: sqlite3.Connection | None = None
        self._database: sqlite3.Connection | None = None

    def open(self) -> SavedState | None:
        """Lock the directory and read what it holds. Until all of it has been read nothing is written.

        Returns:
            None where the directory holds nothing of ours yet.

        Raises:
            DataDirError: it cannot be used: not readable or writable, in use by another server, or damaged.
                Then nothing in it was changed.
        """
        try:
            return self._open()
        except BaseException:
            self.close()
            raise

    def save(self, changes: ChangedRows) -> None:
        """Write changes, and return when they are on disk: all of them or, if this raises, maybe nothing.

        Raises:
            DataDirError: the disk is full or fails. Nothing more can be saved.
        """
        assert self._database is not None, "not open"
        with self._named_errors("cannot be written"):
            write_changes(self._database, changes)

    def size(self) -> int:
        """How many bytes its files have."""
        files = (self._file, self._log())
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Let go of the directory. Closing twice is fine."""
        for connection in (self._database, self._lock):
            if connection is not None:
                connection.close()
        self._database = self._lock = None

    def _open(self) -> SavedState | None:
        with self._named_errors("cannot be used"):
            # Others need not read the passwords of sessions in it.
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._locked()
            if not self._file.exists():
                self._make()
            self._check_log()
            saved = self._read()
            self._database = self._connect(self._file)
            # One process only, so no shared memory is needed; and the disk is waited for at each commit.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA synchronous = FULL")
            # Nothing that a crash has left over may stand behind what comes now.
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return saved

    def _locked(self) -> sqlite3.Connection:
        """A lock that goes when its process goes, however it does, on every system that SQLite knows."""
        lock = self._connect(self._directory / _LOCK_NAME)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except BaseException as error:
            lock.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise DamagedRowError(f"{_LOCK_NAME} is no lock of ours; no data is in it") from error
            raise
        return lock

    def _make(self) -> None:
        """An empty database appears under its name when it is whole, so an empty file is a damaged one."""
        if self._log().exists():
            raise DataDirError(self._directory, f"is damaged: {FILE_NAME} is missing, its log is there")
        unfinished = self._file.with_suffix(".new")
        for left_over in self._directory.glob(f"{unfinished.name}*"):
            left_over.unlink()
        database = self._connect(unfinished)
        try:
            make_tables(database)
        finally:
            database.close()
        unfinished.rename(self._file)
        _sync_directory(self._directory)

    def _check_log(self) -> None:
        log = self._log()
        if log.exists() and is_damaged(log.read_bytes()):
            raise DamagedRowError(f"{log.name} is damaged, and not by a crash")

    def _read(self) -> SavedState | None:
        """All that there is; only read, so that a damaged file stays as it is, and its log beside it."""
        if self._file.stat().st_size == 0:
            raise DamagedRowError(f"{FILE_NAME} is empty")
        database = self._connect(f"{self._file.absolute().as_uri()}?mode=ro")
        try:
            return read_all(database)
        finally:
            database.close()

    def _log(self) -> Path:
        return self._file.with_name(f"{FILE_NAME}-wal")

    @staticmethod
    def _connect(file: Path | str) -> sqlite3.Connection:
        # Used by one thread at a time, but not always by the same.
        return sqlite3.connect(
            file, isolation_level=None, check_same_thread=False, timeout=0, uri=isinstance(file, str)
        )

    @contextmanager
    def _named_errors(self, otherwise: str) -> Iterator[None]:
        """What goes wrong becomes a `DataDirError`."""
        try:
            yield
        except OtherReleaseError as error:
            raise DataDirError(self._directory, f"was written by another release ({error})") from error
        except DamagedRowError as error:
            raise DataDirError(self._directory, f"is damaged: {error}") from error
        except sqlite3.Error as error:
            # Without a code it is Python's own, over text that is none.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise DataDirError(self._directory, "is in use by another server") from error
            if code in _DAMAGED:
                raise DataDirError(self._directory, f"is damaged: {FILE_NAME}: {error}") from error
            raise DataDirError(self._directory, f"{otherwise}: {error}") from error
        except (ValueError, TypeError, struct.error) as error:  # no row that we have ever written
            raise DataDirError(self._directory, f"is damaged: {FILE_NAME}: {error}") from error
        except OSError as error:
            raise DataDirError(self._directory, f"{otherwise}: {error.strerror or error}") from error


def _sync_directory(directory: Path) -> None:
    """Wait until a name in it is on disk. Windows has no means for that, and keeps names by itself."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

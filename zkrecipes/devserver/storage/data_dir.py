"""A data directory: the state of a durable server in a SQLite database.

A commit appends changes to a log (`-wal`) and waits for the disk. SQLite moves them to the tables from time
to time, which limits the log. After a crash, SQLite ignores an incomplete end of the log; no client has
learnt of a change in it. Nothing here knows an event loop; only one thread at a time may call it.
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
from zkrecipes.devserver.storage.sqlite_wal import is_damaged
from zkrecipes.devserver.storage.tables import (
    OtherReleaseError,
    SavedState,
    create_tables,
    read_all,
    write_changes,
)

__all__ = ["FILE_NAME", "DataDir", "DataDirError"]

FILE_NAME: Final = "zkrecipes-devserver.sqlite3"
_LOCK_NAME: Final = "zkrecipes-devserver.lock"

# Our SQL statements are valid, so `SQLITE_ERROR` means that the names of tables are damaged.
_DAMAGED: Final = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DataDirError(Exception):
    """A data directory cannot be used, or has become unusable. The message is one line with the reason.

    Attributes:
        directory: the data directory.
    """

    def __init__(self, directory: Path, problem: str) -> None:
        super().__init__(f"data directory {directory} {problem}")
        self.directory = directory


@final
class DataDir:
    """A data directory, locked against other servers while it is open.

    Args:
        directory: the directory; `open` creates it if necessary.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / FILE_NAME
        self._lock: sqlite3.Connection | None = None
        self._database: sqlite3.Connection | None = None

    def open(self) -> SavedState | None:
        """Lock the directory and read its state. Nothing is written before everything has been read.

        Returns:
            The state; None if nothing was ever saved.

        Raises:
            DataDirError: the directory cannot be used: not readable or writable, in use by another server, or
                damaged. In that case, nothing in it was changed.
        """
        try:
            return self._open()
        except BaseException:
            self.close()
            raise

    def save(self, changes: ChangedRows) -> None:
        """Write changes, and return when all of them are on disk.

        Raises:
            DataDirError: the disk is full or fails. Perhaps no change is on disk; later saves fail.
        """
        assert self._database is not None, "the data directory is not open"
        with self._convert_errors("cannot be written"):
            write_changes(self._database, changes)

    def size(self) -> int:
        """Return the size of the files in bytes."""
        files = (self._file, self._log_file())
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Unlock the directory. A second call does nothing."""
        for connection in (self._database, self._lock):
            if connection is not None:
                connection.close()
        self._database = self._lock = None

    def _open(self) -> SavedState | None:
        with self._convert_errors("cannot be used"):
            # It contains the passwords of sessions, so other users may not read it.
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._acquire_lock()
            if not self._file.exists():
                self._create_database()
            self._check_log()
            saved = self._read_state()
            self._database = self._connect(self._file)
            # With a single process, SQLite needs no shared memory. FULL waits for the disk at each commit.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA synchronous = FULL")
            # Frames that a crash left in the log must not follow the new commits.
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return saved

    def _acquire_lock(self) -> sqlite3.Connection:
        """Lock the directory. The lock ends with its process, even in a crash, on every platform."""
        lock = self._connect(self._directory / _LOCK_NAME)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except BaseException as error:
            lock.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise DamagedRowError(
                    f"{_LOCK_NAME} is not a lock file of a dev server; it contains no data, so delete it"
                ) from error
            raise
        return lock

    def _create_database(self) -> None:
        """Create an empty database. It gets its name when it is complete, so an empty file is damaged."""
        if self._log_file().exists():
            raise DataDirError(self._directory, f"is damaged: {FILE_NAME} is missing, but its log exists")
        unfinished = self._file.with_suffix(".new")
        for leftover in self._directory.glob(f"{unfinished.name}*"):
            leftover.unlink()
        database = self._connect(unfinished)
        try:
            create_tables(database)
        finally:
            database.close()
        unfinished.rename(self._file)
        _sync_directory(self._directory)

    def _check_log(self) -> None:
        log = self._log_file()
        if log.exists() and is_damaged(log.read_bytes()):
            raise DamagedRowError(f"{log.name} is damaged, but not by a crash")

    def _read_state(self) -> SavedState | None:
        """Read everything. The connection is read-only, so that a damaged file and its log stay unchanged."""
        if self._file.stat().st_size == 0:
            raise DamagedRowError(f"{FILE_NAME} is empty")
        database = self._connect(f"{self._file.absolute().as_uri()}?mode=ro")
        try:
            return read_all(database)
        finally:
            database.close()

    def _log_file(self) -> Path:
        return self._file.with_name(f"{FILE_NAME}-wal")

    @staticmethod
    def _connect(file: Path | str) -> sqlite3.Connection:
        # Only one thread uses it at a time, but not always the same one.
        return sqlite3.connect(
            file, isolation_level=None, check_same_thread=False, timeout=0, uri=isinstance(file, str)
        )

    @contextmanager
    def _convert_errors(self, problem: str) -> Iterator[None]:
        """Convert errors to `DataDirError`.

        Args:
            problem: the message for an error that is not damage.
        """
        try:
            yield
        except OtherReleaseError as error:
            raise DataDirError(self._directory, f"was written by another release ({error})") from error
        except DamagedRowError as error:
            raise DataDirError(self._directory, f"is damaged: {error}") from error
        except sqlite3.Error as error:
            # An error without a code is from Python: some bytes are not valid text.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise DataDirError(self._directory, "is in use by another server") from error
            if code in _DAMAGED:
                raise DataDirError(self._directory, f"is damaged: {FILE_NAME}: {error}") from error
            raise DataDirError(self._directory, f"{problem}: {error}") from error
        except (ValueError, TypeError, struct.error) as error:  # a dev server never wrote this row
            raise DataDirError(self._directory, f"is damaged: {FILE_NAME}: {error}") from error
        except OSError as error:
            raise DataDirError(self._directory, f"{problem}: {error.strerror or error}") from error


def _sync_directory(directory: Path) -> None:
    """Wait until a new name in a directory is on disk. Windows needs no call for it."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

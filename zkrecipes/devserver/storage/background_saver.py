"""Saves a server's state to disk in the background; before a server sends a reply or an event, it waits here.

A worker thread saves all changes up to then at once, while the event loop continues. The next round saves
the changes made in that time together, so a hundred writers share one wait for the disk. Each reply or event
waits until the zxid that the server had when it was queued is on disk. This includes the reply to a read,
which may have seen a change that another client has just written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import final

import anyio
import anyio.to_thread

from zkrecipes.devserver.processor import Processor
from zkrecipes.devserver.session_tracker import Session
from zkrecipes.devserver.storage.data_dir import DataDir, DataDirError
from zkrecipes.devserver.storage.rows import ChangedRows, SessionRow, StateRow, row_of
from zkrecipes.devserver.storage.tables import SavedState

__all__ = ["BackgroundSaver", "open_background_saver"]


@asynccontextmanager
async def open_background_saver(
    directory: Path, restore: Callable[[SavedState | None], Processor]
) -> AsyncIterator[BackgroundSaver]:
    """Open a data directory, and save in it until the block ends.

    Args:
        directory: the directory; created if necessary.
        restore: restores a processor from the saved state, or creates a new one for None. It is called in a
            worker thread.

    Raises:
        DataDirError: the directory cannot be used, and nothing in it was changed. At the end of the block:
            the disk fails.
    """
    data_dir = DataDir(directory)

    def load() -> tuple[Processor, bool]:
        saved = data_dir.open()
        try:
            return restore(saved), saved is None
        except KeyError as error:
            raise DataDirError(directory, f"is damaged: the parent of a znode is missing: {error}") from error

    try:
        processor, is_new = await anyio.to_thread.run_sync(load)
        saver = BackgroundSaver(data_dir, processor, is_new=is_new)
        try:
            yield saver
        finally:
            saver.save_now()
    finally:
        data_dir.close()


@final
class BackgroundSaver:
    """Saves the state of a processor in a data directory.

    Args:
        data_dir: an open data directory.
        processor: the processor.
        is_new: whether the directory contains nothing of this processor yet.
    """

    def __init__(self, data_dir: DataDir, processor: Processor, *, is_new: bool) -> None:
        self._data_dir = data_dir
        self._save_requested = anyio.Event()
        self._saved = anyio.Event()
        # A separate limiter, so that other threads of this program cannot delay a save.
        self._limiter = anyio.CapacityLimiter(1)
        self._saved_zxid = -1
        self._can_save = True
        self.follow(processor, is_new=is_new)

    def follow(self, processor: Processor, *, is_new: bool) -> None:
        """Save the changes of this processor from now on. A new one replaces the saved state."""
        self.processor = processor
        """The processor whose changes are saved."""
        self._is_new = is_new
        processor.tree.changed_paths = {}
        processor.sessions.changed_ids = {}
        if is_new:
            processor.tree.changed_paths.update(dict.fromkeys(processor.tree.paths()))
            processor.sessions.changed_ids.update(dict.fromkeys(session.id for session in processor.sessions))
        else:
            self._saved_zxid = processor.zxid

    async def wait_saved(self) -> None:
        """Wait until the current state is on disk. Not a checkpoint if it is on disk already."""
        zxid = self.processor.zxid
        while self._saved_zxid < zxid:
            self._save_requested.set()
            await self._saved.wait()

    async def run(self) -> None:
        """Save whenever a task waits in `wait_saved`.

        Raises:
            DataDirError: the disk is full or fails. The server sends nothing from then on.

        Cancellation: a save in progress completes.
        """
        while True:
            await self._save_requested.wait()
            self._save_requested = anyio.Event()
            changes = self._take_changes()
            self._can_save = False
            await anyio.to_thread.run_sync(self._data_dir.save, changes, limiter=self._limiter)
            self._can_save = True
            self._saved_zxid = changes.state.zxid
            self._saved.set()
            self._saved = anyio.Event()

    def save_now(self) -> None:
        """Save the last changes, which no task waited for. This blocks; `run` must have ended.

        Raises:
            DataDirError: the disk is full or fails.
        """
        if self._can_save:  # after a failed save, earlier changes would be missing
            self._data_dir.save(self._take_changes())

    def size(self) -> int:
        """Return the size of the data directory in bytes."""
        return self._data_dir.size()

    def _take_changes(self) -> ChangedRows:
        """Take the changes that are not saved yet. The caller must save them."""
        processor = self.processor
        tree, sessions = processor.tree, processor.sessions
        assert tree.changed_paths is not None, "the tree records no changes"
        assert sessions.changed_ids is not None, "the tracker records no changes"
        paths, tree.changed_paths = tree.changed_paths, {}
        session_ids, sessions.changed_ids = sessions.changed_ids, {}
        from_scratch, self._is_new = self._is_new, False
        nodes = {path: tree.find(path) for path in paths}
        found_sessions = {session_id: sessions.find(session_id) for session_id in session_ids}
        return ChangedRows(
            state=StateRow(processor.zxid, sessions.next_id, len(tree), len(sessions)),
            znodes=[row_of(node) for node in nodes.values() if node is not None],
            removed=[(path,) for path, node in nodes.items() if node is None],
            sessions=[_session_row(each) for each in found_sessions.values() if each is not None],
            ended=[(session_id,) for session_id, each in found_sessions.items() if each is None],
            from_scratch=from_scratch,
        )


def _session_row(session: Session) -> SessionRow:
    # SQLite returns a float, and the checksums of 4 and 4.0 differ.
    return SessionRow(session.id, session.password, float(session.timeout))

"""Keeps a server's state on disk: whoever is about to tell of a change waits here until it is there.

All that has changed up to then is saved at once, by a worker thread, so the event loop goes on meanwhile;
what changes in that time is saved together in the next round. So a hundred writers share one wait for the
disk. What is told, a reply or an event, waits until the zxid that the server had when it was told is on disk:
also the reply to a read, which may have seen what somebody else has just written.
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

__all__ = ["Journal", "open_journal"]


@asynccontextmanager
async def open_journal(
    directory: Path, restore: Callable[[SavedState | None], Processor]
) -> AsyncIterator[Journal]:
    """Open a data directory, and save in it until the block ends; then it is free for others.

    Args:
        directory: where; made where it is not there.
        restore: makes a processor of what was saved, or a new one; called in a worker thread.

    Raises:
        DataDirError: the directory cannot be used; nothing in it was changed. At the end: the disk fails.
    """
    store = DataDir(directory)

    def load() -> tuple[Processor, bool]:
        saved = store.open()
        try:
            return restore(saved), saved is None
        except KeyError as error:
            raise DataDirError(directory, f"is damaged: the parent of a znode is missing: {error}") from error

    try:
        processor, is_new = await anyio.to_thread.run_sync(load)
        journal = Journal(store, processor, is_new=is_new)
        try:
            yield journal
        finally:
            journal.save_now()
    finally:
        store.close()


@final
class Journal:
    """The state of one processor, saved in one store.

    Args:
        store: an open one.
        processor: whose changes are saved.
        is_new: whether the store holds nothing of this processor yet.
    """

    def __init__(self, store: DataDir, processor: Processor, *, is_new: bool) -> None:
        self._store = store
        self._wanted = anyio.Event()
        self._saved = anyio.Event()
        # A thread of its own, so to speak: the host's other work cannot keep it waiting.
        self._limiter = anyio.CapacityLimiter(1)
        self._saved_zxid = -1
        self._is_sound = True
        self.follow(processor, is_new=is_new)

    def follow(self, processor: Processor, *, is_new: bool) -> None:
        """From now on save this processor's changes; a new one replaces all that was saved."""
        self.processor = processor
        """Whose changes are saved."""
        self._is_new = is_new
        processor.tree.touched = {}
        processor.sessions.touched = {}
        if is_new:
            processor.tree.touched.update(dict.fromkeys(processor.tree.paths()))
            processor.sessions.touched.update(dict.fromkeys(session.id for session in processor.sessions))
        else:
            self._saved_zxid = processor.zxid

    async def settled(self) -> None:
        """Wait until the state as it is now is on disk. No checkpoint where it is."""
        zxid = self.processor.zxid
        while self._saved_zxid < zxid:
            self._wanted.set()
            await self._saved.wait()

    async def run(self) -> None:
        """Save whenever somebody waits.

        Raises:
            DataDirError: the disk does not take it. Nothing is told from then on.

        Cancellation: what is being saved is saved whole.
        """
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            changes = self._changes()
            self._is_sound = False
            await anyio.to_thread.run_sync(self._store.save, changes, limiter=self._limiter)
            self._is_sound = True
            self._saved_zxid = changes.state.zxid
            self._saved.set()
            self._saved = anyio.Event()

    def save_now(self) -> None:
        """Save what nobody waited for, at the end. It blocks; `run` must have ended.

        Raises:
            DataDirError: as `run` does.
        """
        if self._is_sound:  # or a change would be missing before them
            self._store.save(self._changes())

    def size(self) -> int:
        """How many bytes there are on disk."""
        return self._store.size()

    def _changes(self) -> ChangedRows:
        """What is to be saved, as it is at this moment; from now on it counts as saved."""
        processor = self.processor
        tree, sessions = processor.tree, processor.sessions
        assert tree.touched is not None, "nobody follows them"
        assert sessions.touched is not None, "nobody follows them"
        paths, tree.touched = tree.touched, {}
        session_ids, sessions.touched = sessions.touched, {}
        from_scratch, self._is_new = self._is_new, False
        nodes = {path: tree.find(path) for path in paths}
        found = {session_id: sessions.find(session_id) for session_id in session_ids}
        return ChangedRows(
            state=StateRow(processor.zxid, sessions.next_id, len(tree), len(sessions)),
            znodes=[row_of(node) for node in nodes.values() if node is not None],
            removed=[(path,) for path, node in nodes.items() if node is None],
            sessions=[_session_row(each) for each in found.values() if each is not None],
            ended=[(session_id,) for session_id, each in found.items() if each is None],
            from_scratch=from_scratch,
        )


def _session_row(session: Session) -> SessionRow:
    # A float, as it comes back from the disk as one: the checksum tells 4 from 4.0.
    return SessionRow(session.id, session.password, float(session.timeout))

"""delete(recursive=True): a znode and all znodes below it, while other clients may change the tree.

Each znode is deleted by a separate request. A transaction over a large tree would not fit into a packet, and
would fail as a whole if another client deleted one of its znodes. So the deletion is not atomic.

Most znodes are leaves, and listing a znode only to learn that it is a leaf would waste a request. So the
deletion sends deletes for many children at a time without listing them, and the server's refusals show which
of them have children. It works down level by level and up again. The number of round trips depends on the
depth of the tree and on the number of its znodes divided by the window, not on the number of znodes with
children.
"""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from typing import Final, NamedTuple, final

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operations
from zkrecipes.client.stream import Replies, SyncSource
from zkrecipes.errors import ConnectionLossError, NoNodeError, NotEmptyError
from zkrecipes.paths import join

__all__ = ["delete_tree"]

_WINDOW: Final = 256
_LISTS: Final = 64
"""Lists of children in flight at the same time: each may be as large as a packet."""
_LIST_SIZE_MAX: Final = 128 * 1024 * 1024
"""The largest list of children to accept beyond `max_packet_size`, in bytes: more than a million names of
locks.

A server sends a list of any size (`jute.maxbuffer` limits what it reads, not what it writes; 3.8), and a
znode with such a list could not be deleted otherwise.
"""
_BATCH: Final = 4096
"""Children, of several znodes, that are deleted together."""
# The number of times that other clients may create children of a znode while it is being deleted.
_ROUNDS_MAX: Final = 10


async def delete_tree(calls: Dispatcher, path: str) -> None:
    """Delete the znode at `path` and all below it.

    Memory: the paths of the znodes that have children, the names of some thousand children, and the lists of
    children that have arrived together.

    Raises:
        ValueError: `path` is the root.
        NoNodeError: the znode at `path` does not exist. A missing znode below it causes no error.
        NotEmptyError: other clients created children again and again.
        PacketTooLargeError: a list of children is larger than 128 MiB.
    """
    if path == "/":
        raise ValueError(
            "path must not be the root, not even the root of a chroot: delete its children by name"
        )
    calls.view.full(path)  # checks the path
    deletion = _TreeDeletion(calls)
    if await deletion.delete(path, must_exist=True):
        return
    left = [path]
    for _ in range(_ROUNDS_MAX):
        left = await deletion.empty_and_delete(path)
        if not left:
            return
    raise NotEmptyError(calls.view.full(left[0]), detail="other clients keep creating children")


class _NotDeleted(NamedTuple):
    has_children: list[str]
    unknown: list[str]
    """Znodes whose deletion was not answered."""


@final
class _TreeDeletion:
    def __init__(self, calls: Dispatcher) -> None:
        self._calls = calls
        self._operations = Operations(calls.view.for_listed())

    async def delete(self, path: str, *, must_exist: bool = False) -> bool:
        """Delete one znode, and return whether it is deleted; False if it has children."""
        while True:
            try:
                await self._calls.run(self._operations.delete(path))
            except NoNodeError:
                if must_exist:
                    raise
            except NotEmptyError:
                return False
            except ConnectionLossError:
                must_exist = False  # it may have been deleted
                continue
            return True

    async def empty_and_delete(self, path: str) -> list[str]:
        """Delete level by level, down and up again; return the znodes with new children, deepest first."""
        levels = [[path]]
        while levels[-1]:
            levels.append(await self._delete_children(levels[-1]))
        left: list[str] = []
        for level in reversed(levels):
            has_children, unknown = await self._delete_each(level)
            left += has_children
            left += [each for each in unknown if not await self.delete(each)]
        return left

    async def _delete_children(self, parents: list[str]) -> list[str]:
        """Delete the children of these znodes; return the children that may still exist."""
        left: list[str] = []
        batch: list[str] = []
        requests = (
            self._operations.get_children(parent)._replace(reply_size_max=_LIST_SIZE_MAX)
            for parent in parents
        )
        with closing(SyncSource(requests, self._calls, _LISTS)) as source:
            in_order = iter(parents)
            async for reply in Replies(source, self._calls):
                parent = next(in_order)
                try:
                    batch += [join(parent, name) for name in reply.result()]
                except NoNodeError:
                    continue
                if len(batch) >= _BATCH:
                    left += chain.from_iterable(await self._delete_each(batch))
                    batch = []
        left += chain.from_iterable(await self._delete_each(batch))
        return left

    async def _delete_each(self, paths: list[str]) -> _NotDeleted:
        left = _NotDeleted([], [])
        requests = (self._operations.delete(path) for path in paths)
        with closing(SyncSource(requests, self._calls, _WINDOW)) as source:
            in_order = iter(paths)
            async for reply in Replies(source, self._calls):
                path = next(in_order)
                try:
                    reply.result()
                except NoNodeError:
                    pass
                except NotEmptyError:
                    left.has_children.append(path)
                except ConnectionLossError:
                    left.unknown.append(path)
        return left

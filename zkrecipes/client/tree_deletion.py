"""delete(recursive=True): a znode and all below it, while others may add to it and take from it.

Each znode is deleted by a request of its own: a transaction over a large tree would not fit into a packet,
and one child that somebody else deletes would undo all of it. So a tree is not deleted at one moment.

To list a znode only to learn that it is a leaf would be a request wasted for most: children are deleted at a
venture, many at a time, and the server's refusal tells which of them have children of their own. The deletion
goes down level by level and up again, so that the round trips depend on the depth of the tree and the number
of its znodes divided by the window, not on the number of znodes with children.
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
"""Lists of children that may be on their way at once: each may be as large as a packet."""
_BATCH: Final = 4096
"""Children of several znodes that are deleted together."""
# So often may others make children of a znode between the deletion of those that it had and its own.
_ROUNDS_MAX: Final = 10


async def delete_tree(calls: Dispatcher, operations: Operations, path: str) -> None:
    """Delete the znode at `path` and all below it.

    Memory: the paths of the znodes that have children, and the names of some thousand children.

    Raises:
        ValueError: it is the root.
        NoNodeError: there is no znode at `path`. What vanishes below it meanwhile is no error.
        NotEmptyError: others made children again and again.
        PacketTooLargeError: a list of children is larger than the client accepts (`max_packet_size`).
    """
    if path == "/":
        raise ValueError("the root is not deleted, not even that of a chroot: delete its children by name")
    operations.full(path)  # checks it
    deletion = _TreeDeletion(calls, operations.for_listed())
    if await deletion.delete(path, must_exist=True):
        return
    left = [path]
    for _ in range(_ROUNDS_MAX):
        left = await deletion.empty_and_delete(path)
        if not left:
            return
    raise NotEmptyError(operations.full(left[0]), detail="others keep making children")


class _NotDeleted(NamedTuple):
    has_children: list[str]
    unknown: list[str]
    """The reply was lost."""


@final
class _TreeDeletion:
    def __init__(self, calls: Dispatcher, operations: Operations) -> None:
        self._calls = calls
        self._operations = operations

    async def delete(self, path: str, *, must_exist: bool = False) -> bool:
        """Delete one znode; False if it has children."""
        while True:
            try:
                await self._calls.run(self._operations.delete(path))
            except NoNodeError:
                if must_exist:
                    raise
            except NotEmptyError:
                return False
            except ConnectionLossError:
                must_exist = False  # perhaps it was deleted
                continue
            return True

    async def empty_and_delete(self, path: str) -> list[str]:
        """Go down level by level and up again; return those to which others have added, deepest first."""
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
        """Delete the children of these znodes; return those that are perhaps still there."""
        left: list[str] = []
        batch: list[str] = []
        requests = (self._operations.get_children(parent) for parent in parents)
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

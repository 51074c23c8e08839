"""delete(recursive=True): a znode and all below it, while others may add to it and take from it.

Each znode is deleted by a request of its own: a transaction over a large tree would not fit into a packet,
and one child that somebody else deletes would undo all of it. So a tree is not deleted at one moment.

To list a znode only to learn that it is a leaf would be a request wasted for most: children are deleted at a
venture, many at a time, and the server's refusal tells which of them have children of their own.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final, final

from zkrecipes.client.calls import Calls
from zkrecipes.client.operations import Operations
from zkrecipes.client.stream import Replies, SyncSource
from zkrecipes.errors import ConnectionLossError, NoNodeError, NotEmptyError
from zkrecipes.paths import join

__all__ = ["delete_tree"]

_WINDOW: Final = 256
# So often may others make children of a znode between the deletion of those that it had and its own.
_ROUNDS_MAX: Final = 10


async def delete_tree(calls: Calls, operations: Operations, path: str) -> None:
    """Delete the znode at `path` and all below it. Memory: the children's names, of one znode a level.

    Raises:
        ValueError: it is the root.
        NoNodeError: there is no znode at `path`. What vanishes below it meanwhile is no error.
        NotEmptyError: others made children again and again.
    """
    if path == "/":
        raise ValueError("the root is not deleted, not even that of a chroot: delete its children by name")
    deletion = _TreeDeletion(calls, operations)
    if not await deletion.delete(path, must_exist=True):
        await deletion.descend(path)


@final
class _Level:
    """A znode with children, on the way down.

    Attributes:
        parents: the names of those children that have children, and were not yet visited.
        rounds: how often its children were listed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.parents: list[str] = []
        self.rounds = 0


@final
class _TreeDeletion:
    def __init__(self, calls: Calls, operations: Operations) -> None:
        self._calls = calls
        self._operations = operations

    async def delete(self, path: str, *, must_exist: bool = False) -> bool:
        """Whether the znode is gone; it is not if it has children."""
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

    async def descend(self, path: str) -> None:
        # Not recursive: a tree may be deeper than Python's stack.
        levels = [_Level(path)]
        while levels:
            level = levels[-1]
            if level.parents:
                levels.append(_Level(join(level.path, level.parents.pop())))
            elif level.rounds > 0 and await self.delete(level.path):
                levels.pop()
            else:
                await self._delete_children(level)

    async def _delete_children(self, level: _Level) -> None:
        if level.rounds == _ROUNDS_MAX:
            raise NotEmptyError(self._operations.full(level.path), detail="others keep making children")
        level.rounds += 1
        try:
            names = await self._calls.run(self._operations.get_children(level.path))
        except NoNodeError:
            return
        requests = (self._operations.delete(join(level.path, name)) for name in names)
        with closing(SyncSource(requests, self._calls, _WINDOW)) as source:
            in_order = iter(names)
            async for reply in Replies(source, self._calls):
                name = next(in_order)
                try:
                    reply.result()
                except NoNodeError:
                    pass
                except (NotEmptyError, ConnectionLossError):
                    level.parents.append(name)

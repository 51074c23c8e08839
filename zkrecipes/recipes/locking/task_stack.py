"""The locks that each task of a client has entered or waits for, so that no task waits for itself.

All recipe objects and views of one client share one stack, because each use of a lock may create a new recipe
object. A lock is identified by its full path on the server and by the task that asks for it.
"""

from __future__ import annotations

import weakref
from typing import Final, Protocol, final
from weakref import WeakKeyDictionary

from zkrecipes.client.recipe_api import CallingTask, RecipeApi

__all__ = ["StackEntry", "TaskStack", "task_stack"]


class _Use(Protocol):
    """A use of a recipe object; messages name the object with `what`."""

    what: str


@final
class StackEntry:
    """One use of a path by one task, from the task's request until it has left.

    Attributes:
        path: the full path on the server.
        task: the task that asked.
        what: the name of the recipe object in messages.
    """

    __slots__ = ("_use", "path", "task", "what")

    def __init__(self, path: str, task: CallingTask, use: _Use) -> None:
        self.path: str = path
        self.task: CallingTask = task
        self.what: str = use.what
        self._use = weakref.ref(use)

    @property
    def use(self) -> _Use | None:
        """The use itself, or None if it was garbage-collected."""
        return self._use()


@final
class TaskStack:
    """The uses that the tasks of one client have entered, innermost last."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], list[StackEntry]] = {}

    def innermost(self, path: str, task: CallingTask) -> StackEntry | None:
        """Return the last entry of `task`, the calling task, at this full path, or None.

        A child task counts as another task.
        """
        found = self._entries.get((path, task.number), ())
        # A task that ended without leaving has left its entry behind, and a later task may have the same id.
        return next((each for each in reversed(found) if each.task.is_current), None)

    def push(self, entry: StackEntry) -> None:
        """Add an entry. Call it when the calling task requests the lock."""
        self._entries.setdefault((entry.path, entry.task.number), []).append(entry)

    def remove(self, entry: StackEntry) -> None:
        """Remove an entry, in any task. Call it when the lock has been left."""
        key = (entry.path, entry.task.number)
        rest = self._entries.get(key, [])
        if entry in rest:
            rest.remove(entry)
        if not rest:
            self._entries.pop(key, None)


_stacks: Final[WeakKeyDictionary[object, TaskStack]] = WeakKeyDictionary()


def task_stack(api: RecipeApi) -> TaskStack:
    """Return the stack that all views of the client share."""
    stack = _stacks.get(api.root)
    if stack is None:
        stack = _stacks[api.root] = TaskStack()
    return stack

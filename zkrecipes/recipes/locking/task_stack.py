"""Which locks each task of a client has entered, or waits to enter: so that no task waits for itself.

There is one stack for each client, whatever objects and views of it are used, because each use may make a
recipe object of its own. What counts is the full path on the server and the task that asks.
"""

from __future__ import annotations

import weakref
from typing import Final, Protocol, final
from weakref import WeakKeyDictionary

from zkrecipes.client.recipe_api import CallingTask, RecipeApi

__all__ = ["Entered", "TaskStack", "task_stack"]


class Use(Protocol):
    """What is entered; messages name it `what`."""

    what: str


@final
class Entered:
    """One use of a path by one task, from the moment at which the task asks until it has left.

    Attributes:
        path: the full path on the server.
        task: the task that asked.
        what: how messages name what is entered.
    """

    __slots__ = ("_use", "path", "task", "what")

    def __init__(self, path: str, task: CallingTask, use: Use) -> None:
        self.path: str = path
        self.task: CallingTask = task
        self.what: str = use.what
        self._use = weakref.ref(use)

    @property
    def use(self) -> Use | None:
        """What is entered, or None if it was forgotten."""
        return self._use()


@final
class TaskStack:
    """What the tasks of one client have entered, innermost last."""

    def __init__(self) -> None:
        self._entered: dict[tuple[str, int], list[Entered]] = {}

    def innermost(self, path: str, task: CallingTask) -> Entered | None:
        """Return what the calling task, which is `task`, has entered last at this full path, or None.

        A child task is another task.
        """
        found = self._entered.get((path, task.number), ())
        # A task that has ended inside leaves its entry behind, under an id that a later task may have.
        return next((each for each in reversed(found) if each.task.is_current), None)

    def push(self, entered: Entered) -> None:
        """Add what the calling task begins to enter."""
        self._entered.setdefault((entered.path, entered.task.number), []).append(entered)

    def remove(self, entered: Entered) -> None:
        """Forget what has been left, by whichever task."""
        key = (entered.path, entered.task.number)
        rest = self._entered.get(key, [])
        if entered in rest:
            rest.remove(entered)
        if not rest:
            self._entered.pop(key, None)


_stacks: Final[WeakKeyDictionary[object, TaskStack]] = WeakKeyDictionary()


def task_stack(api: RecipeApi) -> TaskStack:
    """The stack that all views of the client have in common."""
    stack = _stacks.get(api.root)
    if stack is None:
        stack = _stacks[api.root] = TaskStack()
    return stack

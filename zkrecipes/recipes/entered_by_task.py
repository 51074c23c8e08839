"""What a task has entered through a lock object itself: `async with semaphore as hold`.

Leaving such a block says only which object is left. Tasks share the object, and one task may be in several of
its blocks, one within the other: each leaves the one that it entered last.
"""

from __future__ import annotations

from typing import Generic, TypeVar, final

from zkrecipes.recipes.acquisition import task_id

__all__ = ["EnteredByTask"]

A = TypeVar("A")


@final
class EnteredByTask(Generic[A]):
    """The acquisitions that tasks are in, innermost last."""

    def __init__(self) -> None:
        self._by_task: dict[int, list[A]] = {}

    def push(self, acquisition: A) -> None:
        """The calling task has entered it."""
        self._by_task.setdefault(task_id(), []).append(acquisition)

    def pop(self, what: object) -> A:
        """What the calling task leaves now.

        Args:
            what: the object that is left, for the message.

        Raises:
            RuntimeError: the task has entered nothing.
        """
        task = task_id()
        if task not in self._by_task:
            raise RuntimeError(f"{what!r} is left by another task than the one that entered it")
        acquisition = self._by_task[task].pop()
        if not self._by_task[task]:
            del self._by_task[task]
        return acquisition

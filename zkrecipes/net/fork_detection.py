"""Ends a client in each child of its process: a client belongs to the process that opened it.

Parent and child share the socket after `fork`, so requests of the child would mix with those of the parent.
"""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet

__all__ = ["notify_in_child"]


class _Inherited(Protocol):
    def forked(self, parent: int) -> None:
        """End the object in this child of the process `parent`, before anything else runs in the child."""


_inherited: Final[WeakSet[_Inherited]] = WeakSet()


def notify_in_child(inherited: _Inherited) -> None:
    """Call `inherited.forked` in every child that this process forks while the object lives."""
    _inherited.add(inherited)


def _notify_all() -> None:
    parent = os.getppid()
    for inherited in list(_inherited):
        inherited.forked(parent)


# The hook costs nothing until there is a child; a look at the process id would cost time in each request.
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_notify_all)

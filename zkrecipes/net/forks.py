"""A client is of the process that opened it. A child that has inherited one is told, and hurts nobody.

Parent and child share the socket after `fork`: what the child sends would mix with what the parent sends.
"""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet

__all__ = ["tell_when_forked"]


class _Inherited(Protocol):
    def forked(self, parent: int) -> None:
        """This is a child of the process `parent`, where it was opened; called before anything else runs."""


_inherited: Final[WeakSet[_Inherited]] = WeakSet()


def tell_when_forked(inherited: _Inherited) -> None:
    """Call its `forked` in every child that this process has while it lives."""
    _inherited.add(inherited)


def _tell() -> None:
    parent = os.getppid()
    for inherited in list(_inherited):
        inherited.forked(parent)


# A hook costs nothing until there is a child; to ask for the process id would cost something in each request.
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_tell)

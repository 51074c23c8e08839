"""Secrets that no report of an error shows.

Crash reporters (rich, pytest, Sentry) show the local variables of each frame that an error has passed. So a
secret must be hidden by its own `repr`, or the frames that had it in the clear must be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar, final

__all__ = ["SecretBytes", "hides_arguments", "hides_arguments_of_init"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)


@final
class SecretBytes(bytes):
    """Bytes whose `repr` shows only how many they are, and so do their slices. `bytes(secret)` are plain."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"

    __str__ = __repr__

    def __getitem__(self, key: Any) -> Any:
        # A reporter cuts long values before it shows them.
        found = super().__getitem__(key)
        return SecretBytes(found) if isinstance(key, slice) else found

    def __rich_repr__(self) -> Iterator[object]:
        yield len(self)


def hides_arguments(func: Callable[P, R]) -> Callable[P, R]:
    """Make a function whose errors have no frame, cause or context in which its arguments could be seen."""

    @wraps(func)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return func(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - it is raised again
            bare = error.with_traceback(None)
            bare.__cause__ = bare.__context__ = None
        finally:
            del args, kwargs
        try:
            raise bare
        finally:
            del bare  # or it and this frame would keep each other

    return call


def hides_arguments_of_init(cls: C) -> C:
    """Do the same for the errors of making an object of this class."""
    setattr(cls, "__init__", hides_arguments(getattr(cls, "__init__")))  # noqa: B009, B010 - checkers forbid `.`
    return cls

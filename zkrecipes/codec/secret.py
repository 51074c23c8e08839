"""Keeps secrets out of error reports.

Crash reporters (rich, pytest, Sentry) show the local variables of each frame in a traceback. So either the
secret's own `repr` must hide it, or the traceback must not contain the frames that had it in the clear.
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
    """Bytes whose `repr` shows only their number; slices are secret as well. `bytes(secret)` is plain."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"

    __str__ = __repr__

    def __getitem__(self, key: Any) -> Any:
        # A crash reporter slices long values before it shows them.
        found = super().__getitem__(key)
        return SecretBytes(found) if isinstance(key, slice) else found

    def __rich_repr__(self) -> Iterator[object]:
        yield len(self)


def hides_arguments(func: Callable[P, R]) -> Callable[P, R]:
    """Remove from the function's errors all frames, causes and contexts that could show its arguments."""

    @wraps(func)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return func(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised again below
            bare = error.with_traceback(None)
            bare.__cause__ = bare.__context__ = None
        finally:
            del args, kwargs
        try:
            raise bare
        finally:
            del bare  # otherwise the error and this frame would keep each other alive

    return call


def hides_arguments_of_init(cls: C) -> C:
    """Apply `hides_arguments` to the constructor of a class."""
    setattr(cls, "__init__", hides_arguments(getattr(cls, "__init__")))  # noqa: B009, B010 - checkers forbid `.`
    return cls

"""The result of `connect`, `watch`, `walk` and similar calls: a block to be entered with `async with`.

A separate class gives type checkers a name, and reports the usual mistakes as such: awaiting the call, using
its result without entering it, and ignoring the result.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, ParamSpec, TypeVar, final

__all__ = ["AsyncBlock", "async_block"]

P = ParamSpec("P")
T = TypeVar("T")


@final
class AsyncBlock(AbstractAsyncContextManager[T], Generic[T]):
    """The result of a call such as `connect(…)` or `client.watch(…)`: enter it with `async with`.

    Nothing happens before it is entered, and leaving the block ends it. It can be entered once.
    """

    __slots__ = ("_call", "_context", "_is_reported", "_name")

    def __init__(self, context: AbstractAsyncContextManager[T], call: str, name: str) -> None:
        self._context = context
        self._call = call
        self._name = name
        self._is_reported = False

    async def __aenter__(self) -> T:
        self._is_reported = True
        return await self._context.__aenter__()

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._context.__aexit__(error_type, error, traceback)

    def __repr__(self) -> str:
        return f"<{self._call}, to be entered with async with>"

    if not TYPE_CHECKING:  # a type checker reports each of these anyway

        def __await__(self) -> NoReturn:
            raise self._mistake(TypeError, "entered with `async with`, not awaited")

        def __aiter__(self) -> NoReturn:
            raise self._mistake(TypeError, "entered before it is iterated over")

        def __enter__(self) -> NoReturn:
            raise self._mistake(TypeError, "entered with `async with`, not `with`")

        def __exit__(self, *_: object) -> None: ...

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):  # a tool looks it up, not the user
                raise AttributeError(name)
            raise self._mistake(AttributeError, f"entered before .{name} can be used")

        def __del__(self) -> None:
            if not getattr(self, "_is_reported", True):
                message = f"{self._call} was never entered, so it had no effect: {self._remedy}"
                warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)

    @property
    def _remedy(self) -> str:
        return f"`async with {self._call} as {self._name}:`"

    def _mistake(self, kind: type[Exception], what: str) -> Exception:
        self._is_reported = True
        return kind(f"{self._call} must be {what}: {self._remedy}")


def async_block(
    call: str, name: str
) -> Callable[[Callable[P, AsyncIterator[T]]], Callable[P, AsyncBlock[T]]]:
    """Turn an async generator function that yields once into a function that returns an `AsyncBlock`.

    Args:
        call: the call as messages show it, `client.watch(…)`.
        name: the variable name that messages use after `as`.
    """

    def decorate(func: Callable[P, AsyncIterator[T]]) -> Callable[P, AsyncBlock[T]]:
        @wraps(func)
        def make(*args: P.args, **kwargs: P.kwargs) -> AsyncBlock[T]:
            try:
                generator = func(*args, **kwargs)
            finally:
                # An error about one argument passes through here, and another argument may be a secret.
                del args, kwargs
            return AsyncBlock(_run(generator), call, name)

        return make

    return decorate


@asynccontextmanager
def _run(generator: AsyncIterator[T]) -> AsyncIterator[T]:
    return generator

"""What an acquisition is to Python: entered once with `async with`, not awaited, not dropped unentered."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import NoReturn

__all__ = ["EnteredOnce"]


class EnteredOnce:
    """Tells who misuses an acquisition, so that nobody gets a silent non-lock.

    Args:
        what: how messages name the recipe object.
    """

    _is_entered = False

    def __init__(self, what: str) -> None:
        self.what = what

    def enter_once(self) -> None:
        """It is entered now.

        Raises:
            RuntimeError: it was entered before.
        """
        if self._is_entered:
            raise RuntimeError(f"an acquisition of {self.what} is entered once; ask for another one")
        self._is_entered = True

    def __await__(self) -> Generator[None, None, NoReturn]:
        self._is_entered = True  # told here, so `__del__` need not
        raise TypeError(f"{self.what} is entered, not awaited: `async with … as hold:`")

    def __del__(self) -> None:
        if not self._is_entered:
            message = f"an acquisition of {self.what} was never entered: nothing is held"
            warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)

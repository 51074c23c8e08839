"""Finds the key that another key was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["one_slip_away"]

_SEPARATORS = str.maketrans("", "", "-_.")


def one_slip_away(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that differs from `key` by one slip, or None.

    A slip is one character that is missing, additional or different, two neighbours that changed places, or
    any difference in case, dashes, underscores and dots.
    """
    plain = _plain(key)
    for each in known:
        if each != key and _is_close(plain, _plain(each)):
            return each
    return None


def _plain(key: str) -> str:
    return key.lower().translate(_SEPARATORS)


def _is_close(left: str, right: str) -> bool:
    if abs(len(left) - len(right)) > 1:
        return False
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    left, right = left[start:], right[start:]
    return (
        left[1:] == right[1:]  # a different character, or none
        or left[1:] == right
        or left == right[1:]
        or (left[:2] == right[1::-1] and left[2:] == right[2:])
    )

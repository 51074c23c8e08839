"""GivenSettings: the values of the keys that a file or the environment has, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, final

from zkrecipes.settings.entries import Entry, shown_key
from zkrecipes.settings.keys import Key

__all__ = ["GivenSettings", "GivenValue"]

_NUMBER_AT_END: Final = re.compile(r"[._](\d{1,4})$", re.ASCII)
_NO_NUMBER: Final = -1


@final
@dataclass(frozen=True, slots=True)
class GivenValue:
    """The value of one key; of a list, the values of its items in their order."""

    key: Key
    entries: tuple[Entry, ...]
    values: tuple[object, ...] = field(repr=False)
    """They may be secrets."""


@final
class GivenSettings:
    """The given values, by the names of their keys."""

    def __init__(self, values: Mapping[str, GivenValue]) -> None:
        self._values = dict(values)

    @classmethod
    def collect(cls, found: Iterable[tuple[Key, Entry]]) -> GivenSettings:
        """Read the value of each entry.

        Raises:
            SettingsError: a value is not valid, or a key is given twice.
        """
        entries: dict[str, list[tuple[Key, Entry]]] = {}
        for key, entry in found:
            entries.setdefault(key.name, []).append((key, entry))
        return cls({name: _read(pairs) for name, pairs in entries.items()})

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[GivenValue]:
        return iter(self._values.values())

    def value(self, name: str) -> object:
        """Return the value of a key, or None. Of a list, the first item."""
        given = self._values.get(name)
        return None if given is None else given.values[0]

    def text(self, name: str) -> str | None:
        """Return the value of a key whose values are text, or None."""
        value = self.value(name)
        assert value is None or isinstance(value, str)
        return value

    def items(self, name: str) -> list[tuple[Entry, object]]:
        """Return the items of a list with their places; an empty list if it is not given."""
        given = self._values.get(name)
        return [] if given is None else list(zip(given.entries, given.values, strict=True))

    def entry(self, name: str) -> Entry:
        """Return the entry of a key that is given."""
        return self._values[name].entries[0]

    def names(self, option: str) -> list[str]:
        """Return the names of the given keys that set an option of `connect`."""
        return [name for name, given in self._values.items() if given.key.option == option]

    def replaced_by(self, other: GivenSettings) -> GivenSettings:
        """Return these settings, with values replaced by those of other settings."""
        return GivenSettings(self._values | other._values)


def _read(pairs: list[tuple[Key, Entry]]) -> GivenValue:
    """Read the entries of one key. It may be given once; a list may be given once for each number."""
    key = pairs[0][0]
    read: dict[int, tuple[Entry, object]] = {}
    for each, entry in pairs:
        value = each.value_of(entry)
        number = _number(entry.key) if key.is_list else _NO_NUMBER
        first, earlier = read.setdefault(number, (entry, value))
        if first is not entry:
            _check_repetition(first, entry, is_equal=earlier == value)
    in_order = [read[number] for number in sorted(read)]
    return GivenValue(key, tuple(entry for entry, _ in in_order), tuple(value for _, value in in_order))


def _check_repetition(first: Entry, entry: Entry, *, is_equal: bool) -> None:
    """Raise an error, except for two names of one key that have the same value."""
    place = "" if first.line is None else f" in line {first.line}"
    if first.key == entry.key:
        raise entry.error(f"must be given once; it is also given{place or ' earlier'}")
    if not is_equal:
        raise entry.error(f"must have the same value as {shown_key(first.key)}{place}, or be removed")


def _number(key: str) -> int:
    match = _NUMBER_AT_END.search(key)
    return _NO_NUMBER if match is None else int(match[1])

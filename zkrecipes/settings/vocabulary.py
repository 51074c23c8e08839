"""Vocabulary: the keys that one file or the environment may have, and the treatment of unknown ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, final

from zkrecipes.settings.entries import Entry
from zkrecipes.settings.errors import SettingsError
from zkrecipes.settings.flink import FLINK_KEYS, FLINK_PREFIX, IGNORED_KEYS
from zkrecipes.settings.keys import KEYS, Key
from zkrecipes.settings.spelling import one_slip_away

__all__ = ["Vocabulary", "check_prefix", "environment_name", "environment_vocabulary", "file_vocabulary"]

_NUMBER: Final = re.compile(r"\d{1,4}", re.ASCII)
_NOTHING: Final = re.compile(r"(?!)")
# Other programs set these: installations of ZooKeeper, `zkrecipes dev`, and Kubernetes for a service that is
# named `zookeeper`.
_FOREIGN_VARIABLES: Final = re.compile(
    r"ZOOKEEPER_(?:HOME|VERSION|PREFIX|SERVICE_(?:HOST|PORT).*|PORT(?:_\d+_.*)?)"
)


@final
class Vocabulary:
    """Finds the `Key` of an entry.

    Args:
        keys: the keys as the source spells them.
        prefixes: unknown keys that begin with one of these are logged.
        ignored: matches the keys of other programs, which are not logged.
        separator: stands before the number of an item of a list.
    """

    def __init__(
        self, keys: Mapping[str, Key], prefixes: tuple[str, ...], ignored: re.Pattern[str], separator: str
    ) -> None:
        self._keys = keys
        self._prefixes = prefixes
        self._ignored = ignored
        self._separator = separator

    def find(self, entry: Entry) -> Key | None:
        """Return the key of an entry, or None if it is unknown.

        Raises:
            SettingsError: it is one slip away from one of ours, or is below one that has a single value.
        """
        found = self._keys.get(entry.key) or self._find_list(entry.key)
        if found is not None or self._is_ignored(entry.key):
            return found
        parent = self._parent_without_parts(entry.key)
        if parent is not None:  # the rest of the key may be a secret: `password = {secret = 1}` in TOML
            one = "must be a single value, not a list or a table"
            reason = "must be a value or a list of values, not a table" if self._keys[parent].is_list else one
            raise SettingsError(reason, source=entry.source, line=entry.line, key=parent)
        near = one_slip_away(entry.key, self._keys)
        if near is not None:
            raise entry.error(f"is not a key; the nearest one is {near}")
        return None

    def concerns(self, entry: Entry) -> bool:
        """Whether an unknown key is probably meant for us, so that it must be logged."""
        return entry.key.startswith(self._prefixes) and not self._is_ignored(entry.key)

    def _find_list(self, key: str) -> Key | None:
        name, _, number = key.rpartition(self._separator)
        found = self._keys.get(name) if _NUMBER.fullmatch(number) else None
        return found if found is not None and found.is_list else None

    def _parent_without_parts(self, key: str) -> str | None:
        """Return the key of ours that `key` is below, if no key of ours is below that one."""
        if self._separator != ".":  # variables of the environment have no tables
            return None
        ours = [each for each in self._keys if each.startswith(self._prefixes[0])]
        above = (each for each in ours if key.startswith(f"{each}."))
        return next((each for each in above if not any(k.startswith(f"{each}.") for k in ours)), None)

    def _is_ignored(self, key: str) -> bool:
        return self._ignored.fullmatch(key) is not None


def file_vocabulary(prefix: str, *, with_flink: bool) -> Vocabulary:
    """Return the keys of files: ours below the prefix and, on request, Flink's."""
    keys = {prefix + name: key for key in KEYS for name in (key.name, *key.aliases)}
    if not with_flink:
        return Vocabulary(keys, (prefix,), _NOTHING, ".")
    return Vocabulary(keys | FLINK_KEYS, (prefix, FLINK_PREFIX), IGNORED_KEYS, ".")


def environment_vocabulary(prefix: str) -> Vocabulary:
    """Return the names of variables for the keys below the prefix."""
    keys = {environment_name(prefix + name): key for key in KEYS for name in (key.name, *key.aliases)}
    return Vocabulary(keys, (environment_name(prefix),), _FOREIGN_VARIABLES, "_")


def environment_name(key: str) -> str:
    """Return the variable of a key: `ZOOKEEPER_CONNECTION_STRING` for `zookeeper.connection-string`."""
    return key.upper().replace(".", "_").replace("-", "_")


def check_prefix(prefix: str) -> str:
    """Return the prefix with a dot at its end; the empty prefix stays empty."""
    return f"{prefix.rstrip('.')}." if prefix else prefix

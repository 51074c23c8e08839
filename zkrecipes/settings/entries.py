"""Entry: one key with its value, as a file or the environment has it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, final

from zkrecipes.settings.errors import SettingsError

__all__ = ["Entry", "shown_key"]

_KEY: Final = re.compile(r"[\w.\-\[\]]*")


def shown_key(key: str) -> str:
    """Return a key for a message, cut at the first character that no key has: a secret may follow."""
    match = _KEY.match(key)
    start = "" if match is None else match[0]
    return start if start == key else f"{start}…"


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One key with its value and its place. The value may be a secret."""

    key: str
    value: str = field(repr=False)
    source: str
    line: int | None = None
    raw: str | None = field(default=None, repr=False)
    """In properties, the value before its escapes were replaced; None elsewhere."""
    mistake: str | None = None
    """The reason why the value cannot be read; None if it can. It is an error only in a key of ours."""
    hash_mistake: str | None = None
    """As `mistake`, for a secret only: the format ends every value at a `#`, and there was one."""

    @property
    def place(self) -> str:
        """The file, the line and the key."""
        return f"{self.source}:{self.line}: {shown_key(self.key)}"

    def error(self, reason: str) -> SettingsError:
        """Return an error about this entry."""
        return SettingsError(reason, source=self.source, line=self.line, key=shown_key(self.key))

"""SettingsError: what is wrong in a file or a variable of the environment, and where."""

from __future__ import annotations

from typing import final

__all__ = ["SettingsError"]


@final
class SettingsError(ValueError):
    """A setting is missing or not valid: `app.properties:3: zookeeper.session-timeout: must be …`.

    No message shows a password or another credential.

    Attributes:
        reason: the requirement, and the given value if it is not a secret.
        source: the path of the file, or `environment`.
        line: the line, from 1; None for the environment, or if the error is about the whole file.
        key: the key as it is written there; None if the error is not about one key.
    """

    def __init__(self, reason: str, *, source: str, line: int | None = None, key: str | None = None) -> None:
        place = source if line is None else f"{source}:{line}"
        super().__init__(": ".join(part for part in (place, key, reason) if part is not None))
        self.reason = reason
        self.source = source
        self.line = line
        self.key = key

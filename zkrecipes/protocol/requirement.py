"""What an operation requires of a server."""

from __future__ import annotations

from typing import NamedTuple

from zkrecipes.enums import ServerVersion
from zkrecipes.errors import UnimplementedError

__all__ = ["Requirement"]


class Requirement(NamedTuple):
    """What an operation is called, and the first release that has it."""

    name: str
    version: ServerVersion

    def refusal(self, path: str | None) -> UnimplementedError:
        """The error of the operation on an older server; it names the operation and the release."""
        major, minor = divmod(self.version, 100)
        return UnimplementedError(path, detail=f"{self.name} needs ZooKeeper {major}.{minor}")

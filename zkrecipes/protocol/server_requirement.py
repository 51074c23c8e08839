"""The server version that an operation requires."""

from __future__ import annotations

from typing import NamedTuple

from zkrecipes.enums import ServerVersion
from zkrecipes.errors import UnimplementedError

__all__ = ["Requirement"]


class Requirement(NamedTuple):
    """The name of an operation, and the first release that has it."""

    name: str
    version: ServerVersion

    def refusal(self, path: str | None) -> UnimplementedError:
        """Return the error of the operation on an older server; it names the operation and the release."""
        major, minor = divmod(self.version, 100)
        return UnimplementedError(path, detail=f"{self.name} needs ZooKeeper {major}.{minor}")

"""The errors of finding and starting a real server."""

from __future__ import annotations

from typing import final

from zkrecipes.errors import ZooKeeperError

__all__ = ["ServerNotFoundError", "ServerStartError"]


@final
class ServerNotFoundError(ZooKeeperError):
    """No Apache ZooKeeper, or no Java to run it with, is installed here.

    Attributes:
        missing: the missing thing, and the place where it was expected.
        remedy: a command to run, or a setting to change.
    """

    def __init__(self, missing: str, remedy: str) -> None:
        super().__init__(f"{missing}; {remedy}")
        self.missing = missing
        self.remedy = remedy


@final
class ServerStartError(ZooKeeperError):
    """A server was launched and does not serve.

    Attributes:
        reason: the server's exit status, or the time without an answer.
        log_tail: the last lines of the server's log.
    """

    def __init__(self, reason: str, log_tail: str) -> None:
        super().__init__(f"{reason}; the end of its log:\n{log_tail}")
        self.reason = reason
        self.log_tail = log_tail

"""What can go wrong before a real server serves."""

from __future__ import annotations

from typing import final

from zkrecipes.errors import ZooKeeperError

__all__ = ["ServerNotFoundError", "ServerStartError"]


@final
class ServerNotFoundError(ZooKeeperError):
    """No Apache ZooKeeper, or no Java to run it with, is installed here.

    Attributes:
        missing: what was looked for, and where.
        remedy: one line to type, or one setting to make.
    """

    def __init__(self, missing: str, remedy: str) -> None:
        super().__init__(f"{missing}; {remedy}")
        self.missing = missing
        self.remedy = remedy


@final
class ServerStartError(ZooKeeperError):
    """A server was launched and did not come to serve.

    Attributes:
        reason: what was seen from outside: its exit status, or for how long it did not answer.
        log_tail: the last lines of the server's own log.
    """

    def __init__(self, reason: str, log_tail: str) -> None:
        super().__init__(f"{reason}; the end of its log:\n{log_tail}")
        self.reason = reason
        self.log_tail = log_tail

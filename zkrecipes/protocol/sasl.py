"""Challenge in, response out: what every SASL mechanism has in common, whoever drives it. Sans-I/O.

A mechanism (`DigestMD5`, `Kerberos`) says who the client is, for every connection; what it begins is one
exchange of tokens with one server. `net/connection.py` drives exchanges, `ClientSide` carries their tokens.

A ZooKeeper server has one mechanism, decided by its JAAS file, and never says which: a client has to know,
and one that is wrong about it is refused (`ZooKeeperServer.processSasl`, read at 3.8).
"""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

__all__ = ["SaslExchange", "SaslMechanism"]


class SaslExchange(Protocol):
    """One authentication, from the client's end. What ends it early is an `AuthFailedError`."""

    blocks: ClassVar[bool]
    """Whether a step may take long, because it asks somebody else: it belongs into a thread then."""
    suspects: ClassVar[str]
    """What to look at when the server refuses, for it gives no reason: the end of a sentence."""

    def begin(self) -> bytes:
        """The first token; empty where it is the server who begins.

        Raises:
            AuthFailedError: the client has nothing to begin with.
        """

    def respond(self, challenge: bytes | None) -> bytes | None:
        """The token that answers the server's; None when the exchange is over and has succeeded.

        Args:
            challenge: the server's token; None where it sent none.

        Raises:
            AuthFailedError: the server is not who it should be, or speaks another mechanism or none.
        """


@runtime_checkable
class SaslMechanism(Protocol):
    """How the client proves who it is: what `connect(sasl=…)` takes."""

    def exchange(self, host: str, nonce: bytes) -> SaslExchange:
        """An exchange with one server.

        Args:
            host: the server, as the connect string names it.
            nonce: random bytes, fresh for each exchange.
        """

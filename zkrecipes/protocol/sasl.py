"""The interface of SASL mechanisms: a challenge in, a response out. Sans-I/O.

A mechanism (`DigestMD5`, `Kerberos`) identifies the client on every connection; `exchange` creates one
exchange of tokens with one server. `net/connection.py` runs exchanges, `ClientSide` carries their tokens.

The JAAS file of a ZooKeeper server decides its only mechanism, and the server never names it. A client must
know it; the server refuses a client that uses another one (`ZooKeeperServer.processSasl`, read at 3.8).
"""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

__all__ = ["SaslExchange", "SaslMechanism"]


class SaslExchange(Protocol):
    """One authentication, from the client's end. An `AuthFailedError` ends it early."""

    blocks: ClassVar[bool]
    """Whether a step may take long because it asks another service; such a step must run in a thread."""
    suspects: ClassVar[str]
    """The things to check if the server refuses, because it gives no reason: the end of a sentence."""

    def begin(self) -> bytes:
        """Return the first token; it is empty if the server begins.

        Raises:
            AuthFailedError: the client cannot make its first token.
        """

    def respond(self, challenge: bytes | None) -> bytes | None:
        """Return the token that answers the server's; None if the exchange has succeeded.

        Args:
            challenge: the server's token; None if it sent none.

        Raises:
            AuthFailedError: the server failed to prove its identity, or uses another mechanism or none.
        """


@runtime_checkable
class SaslMechanism(Protocol):
    """A way to prove the client's identity: the argument of `connect(sasl=…)`."""

    def exchange(self, host: str, nonce: bytes) -> SaslExchange:
        """Return a new exchange with one server.

        Args:
            host: the server's name in the connect string.
            nonce: random bytes, fresh for each exchange.
        """

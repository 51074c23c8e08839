"""The steps between the answer to the greeting and the first request. Sans-I/O.

SASL tokens go first, then credentials, because a server may refuse everything else to a client that has not
authenticated; then the watches of the previous connection. Persistent watches may be restored only on a
server from 3.6: if no guess says so, a question comes before them.
"""

from __future__ import annotations

from typing import final

from zkrecipes.enums import ServerVersion
from zkrecipes.errors import ConnectionLossError, SessionError, ZooKeeperError, error_from_code
from zkrecipes.protocol.authentication import Authentication
from zkrecipes.protocol.capabilities import CapabilityProbe
from zkrecipes.protocol.events import Greeting
from zkrecipes.protocol.request_exchange import RequestExchange
from zkrecipes.protocol.watch_restore import WatchRestore

__all__ = ["ConnectionSetup"]


@final
class ConnectionSetup:
    """The set-up of one connection.

    Args:
        greeting: has the credentials.
        authentication: tokens and credentials.
        exchange: sends the questions.
        probe: the known capabilities of the server.
        restore: the watches of the previous connection.
        control: receives the frames to send.

    Attributes:
        is_probing: whether a question must be answered before the watches are restored.
    """

    __slots__ = ("_authentication", "_control", "_exchange", "_greeting", "_probe", "_restore", "is_probing")

    def __init__(
        self,
        greeting: Greeting,
        *,
        authentication: Authentication,
        exchange: RequestExchange,
        probe: CapabilityProbe,
        restore: WatchRestore,
        control: list[bytes],
    ) -> None:
        self._greeting = greeting
        self._authentication = authentication
        self._exchange = exchange
        self._probe = probe
        self._restore = restore
        self._control = control
        self.is_probing: bool = False

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to send, and the server has answered everything."""
        is_waiting = self.is_probing or self._authentication.credentials_unanswered
        return not is_waiting and self._restore.is_done

    def respond(self, token: bytes | None) -> None:
        """Send a token; None means that the SASL exchange is over, or not needed."""
        if token is not None:
            self._control.append(self._authentication.encode_token(token))
            return
        for scheme, credential in self._greeting.credentials:
            self._control.append(self._authentication.encode_credential(scheme, credential))
        is_known = self._probe.assumes_persistent or self._probe.known.has(ServerVersion.V3_6) is not None
        if self._restore.needs_persistent() and not is_known:
            self.is_probing = True
            self._exchange.ask(ServerVersion.V3_6)
        else:
            self._restore_watches()

    def continue_if_known(self) -> None:
        """Restore the watches if the last answer has settled the question before them."""
        if self.is_probing and self._probe.known.has(ServerVersion.V3_6) is not None:
            self.is_probing = False
            self._restore_watches()

    def _restore_watches(self) -> None:
        self._restore.begin(self._exchange.last_zxid, self._probe.version_to_restore())
        self._control.extend(self._restore.encode_next())

    def receive_restored(self, code: int) -> ZooKeeperError | None:
        """Process the reply to a batch of watches; return the error that ends the connection, if any."""
        if code != 0:
            error = error_from_code(code)
            if isinstance(error, SessionError):
                return error
            # The server may be overloaded (ThrottledOp), for example, and the next one may accept them.
            return ConnectionLossError(reason=f"the server did not restore the watches: {error}")
        self._restore.unanswered -= 1
        if self._restore.names_persistent and self._restore.is_done:
            self._probe.learn(ServerVersion.V3_6, has_it=True)
        return None

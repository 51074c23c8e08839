"""The SASL tokens and the credentials of one connection, and the server's answers to them. Sans-I/O.

`ClientSide` sends the frames and passes the replies. Tokens are exchanged one at a time, before credentials
and before any request, so one xid is enough for all of them. A later credential (`Client.add_auth`) is sent
in the same way on a live connection.
"""

from __future__ import annotations

from typing import Final, final

from zkrecipes.codec.messages import AuthRequest, SASLReply, SASLRequest
from zkrecipes.enums import SpecialXid
from zkrecipes.errors import AuthFailedError, SessionError, ZooKeeperError, error_from_code
from zkrecipes.protocol.events import Challenged

__all__ = ["SASL_XID", "Authentication"]

SASL_XID: Final = 1
"""The xid of every token."""


@final
class Authentication:
    """The authentication of one connection.

    Args:
        first_token: the first token of a SASL exchange, or None if there is no exchange.
        suspects: the things to check if the server refuses the exchange, because it gives no reason.

    Attributes:
        session_id: the session that the connection has attached, for errors.
        is_token_unanswered: whether the server has not answered the newest token.
        credentials_unanswered: the number of credentials that the server has not answered.
    """

    __slots__ = ("_suspects", "credentials_unanswered", "first_token", "is_token_unanswered", "session_id")

    def __init__(self, first_token: bytes | None, suspects: str) -> None:
        self.first_token: bytes | None = first_token
        self.session_id: int = 0
        self.is_token_unanswered: bool = False
        self.credentials_unanswered: int = 0
        self._suspects = suspects

    def encode_token(self, token: bytes) -> bytes:
        """Return the frame of a token; the server must answer it."""
        self.is_token_unanswered = True
        return SASLRequest(token).encode_frame(SASL_XID)

    def encode_credential(self, scheme: str, credential: bytes) -> bytes:
        """Return the frame of a credential; the server must answer it."""
        self.credentials_unanswered += 1
        return AuthRequest(0, scheme, credential).encode_frame(SpecialXid.AUTH)

    def receive_token_reply(
        self, code: int, buffer: bytes, start: int, end: int
    ) -> Challenged | ZooKeeperError:
        """Process the reply to a token; return the server's token, or the error that ends the connection."""
        self.is_token_unanswered = False
        if code == 0:
            return Challenged(SASLReply.read(buffer, start, end)[0].token)
        error = error_from_code(code)
        if isinstance(error, AuthFailedError):
            return self.refuse(f"the server refused the SASL authentication{self._hint()}")
        if isinstance(error, SessionError):
            return error
        return self.refuse(f"the SASL authentication failed on the server: {error}")

    def receive_credential_reply(self, code: int) -> AuthFailedError | None:
        """Process the reply to a credential; return the error that ends the connection, if any."""
        self.credentials_unanswered -= 1
        return None if code == 0 else self.refuse("the server refused the credentials")

    def refuse(self, reason: str) -> AuthFailedError:
        """Return the error of an authentication that has failed on either side."""
        return AuthFailedError(self.session_id, reason=reason)

    def explain_close(self) -> str:
        """Return why the server may have closed the connection without answering a token."""
        return (
            f"closed by the server during the SASL authentication, as older servers refuse it{self._hint()}"
        )

    def _hint(self) -> str:
        return f"; look at {self._suspects}; its log says why" if self._suspects else ""

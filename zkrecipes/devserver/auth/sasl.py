"""The server's side of SASL DIGEST-MD5 (RFC 2831): the users, and one authentication. Pure.

It behaves like Apache's server with a `Server` section in its JAAS file (`ZooKeeperServer.processSasl`,
`SaslServerCallbackHandler`, 3.9), so that tests see the answers of a secured ensemble.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final, final

from zkrecipes.errors import AuthFailedError
from zkrecipes.protocol.digest_md5 import Challenge, DigestMD5, digest_proof, read_directives

__all__ = ["SaslExchange", "SaslUsers"]

_REALM: Final = "zk-sasl-md5"


@final
class SaslUsers:
    """The users who may authenticate, and whether every client must.

    Args:
        passwords: the passwords, by user name.
        is_required: whether a client must authenticate before other requests
            (`sessionRequireClientSASLAuth`).
    """

    def __init__(self, passwords: Mapping[str, str], *, is_required: bool) -> None:
        self.is_required = is_required
        self._users = {name: DigestMD5(name, password) for name, password in passwords.items()}

    def find(self, name: str) -> DigestMD5:
        """Return the user with this name.

        Raises:
            AuthFailedError: no user has this name.
        """
        user = self._users.get(name)
        if user is None:
            raise AuthFailedError(reason="no such user")
        return user


@final
class SaslExchange:
    """One authentication.

    Attributes:
        username: the authenticated user; None until the client has proved its password.

    Args:
        users: the users who may authenticate.
        nonce: fresh printable characters, without quotes.
    """

    def __init__(self, users: SaslUsers, nonce: bytes) -> None:
        self.username: str | None = None
        self._users = users
        self._nonce = nonce
        self._has_challenged = False

    def answer(self, token: bytes | None) -> bytes:
        """Return the challenge for the first token, which is empty, or the server's proof for the second.

        Raises:
            AuthFailedError: the token is not a valid proof, or not expected now.
        """
        if self._has_challenged:
            return self._verify(token or b"")
        if token:
            raise AuthFailedError(reason="the first token must be empty: with DIGEST-MD5 the server starts")
        self._has_challenged = True
        return b'realm="%b",nonce="%b",charset=utf-8,algorithm=md5-sess' % (_REALM.encode(), self._nonce)

    def _verify(self, token: bytes) -> bytes:
        directives = {name: values[0] for name, values in read_directives(token).items()}
        try:
            username = directives[b"username"].decode("utf-8" if directives.get(b"charset") else "latin-1")
            client_nonce, digest_uri = directives[b"cnonce"], directives[b"digest-uri"]
            response = directives[b"response"]
        except (KeyError, UnicodeDecodeError) as error:
            raise AuthFailedError(reason=f"the response lacks a directive or is not text: {error}") from error
        if directives.get(b"nonce") != self._nonce or directives.get(b"nc", b"00000001") != b"00000001":
            raise AuthFailedError(reason="the response belongs to another challenge")
        challenge = Challenge(self._nonce, _REALM, is_utf_8=b"charset" in directives)
        secret = challenge.hashed_secret(self._users.find(username))
        expected = digest_proof(secret, self._nonce, client_nonce, digest_uri, b"AUTHENTICATE:")
        if not hmac.compare_digest(response, expected):
            raise AuthFailedError(reason="wrong password")
        self.username = username
        return b"rspauth=" + digest_proof(secret, self._nonce, client_nonce, digest_uri, b":")

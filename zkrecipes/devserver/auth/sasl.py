"""SASL DIGEST-MD5 from the server's end (RFC 2831): who may come in, and one authentication. Pure.

As Apache's server does it with a `Server` section in its JAAS file (`ZooKeeperServer.processSasl`,
`SaslServerCallbackHandler`, 3.9), for those who want to test what a secured ensemble would say.
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
    """Who may authenticate, and whether everybody has to.

    Args:
        passwords: by user name.
        required: whether a connection must authenticate before it asks for anything
            (`sessionRequireClientSASLAuth`).
    """

    def __init__(self, passwords: Mapping[str, str], *, required: bool) -> None:
        self.required = required
        self._users = {name: DigestMD5(name, password) for name, password in passwords.items()}

    def find(self, name: str) -> DigestMD5:
        """The user of that name.

        Raises:
            AuthFailedError: there is none.
        """
        user = self._users.get(name)
        if user is None:
            raise AuthFailedError(reason="no such user")
        return user


@final
class SaslExchange:
    """One authentication.

    Attributes:
        username: who it is, once that is proven; None before.

    Args:
        users: who may.
        nonce: fresh, printable and without quotes.
    """

    def __init__(self, users: SaslUsers, nonce: bytes) -> None:
        self.username: str | None = None
        self._users = users
        self._nonce = nonce
        self._has_challenged = False

    def answer(self, token: bytes | None) -> bytes:
        """The challenge for the first token, which is empty; then the server's own proof.

        Raises:
            AuthFailedError: the token is no proof, or nothing that is expected now.
        """
        if self._has_challenged:
            return self._verify(token or b"")
        if token:
            raise AuthFailedError(reason="with DIGEST-MD5 it is the server who begins")
        self._has_challenged = True
        return b'realm="%b",nonce="%b",charset=utf-8,algorithm=md5-sess' % (_REALM.encode(), self._nonce)

    def _verify(self, token: bytes) -> bytes:
        said = {name: values[0] for name, values in read_directives(token).items()}
        try:
            username = said[b"username"].decode("utf-8" if said.get(b"charset") else "latin-1")
            client_nonce, digest_uri, response = said[b"cnonce"], said[b"digest-uri"], said[b"response"]
        except (KeyError, UnicodeDecodeError) as error:
            raise AuthFailedError(reason=f"the response lacks something, or is no text: {error}") from error
        if said.get(b"nonce") != self._nonce or said.get(b"nc", b"00000001") != b"00000001":
            raise AuthFailedError(reason="the response is to another challenge")
        challenge = Challenge(self._nonce, _REALM, is_utf_8=b"charset" in said)
        secret = challenge.hashed_secret(self._users.find(username))
        expected = digest_proof(secret, self._nonce, client_nonce, digest_uri, b"AUTHENTICATE:")
        if not hmac.compare_digest(response, expected):
            raise AuthFailedError(reason="wrong password")
        self.username = username
        return b"rspauth=" + digest_proof(secret, self._nonce, client_nonce, digest_uri, b":")

"""DIGEST-MD5 (RFC 2831) for authentication only (`qop=auth`), as ZooKeeper's servers speak it.

Their realm and the host in their digest-uri are the constant `zk-sasl-md5`, whatever the server's name
(`ZooKeeperSaslServer.createSaslServer`, read at 3.8). A server sends the realm; a client must know the
digest-uri.

Both sides prove that they know the password, and neither sends it. But an eavesdropper can try passwords
offline, and later messages are not protected: RFC 6331 has retired the mechanism; use TLS with it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import ClassVar, Final, final

from zkrecipes.codec.secret import hides_arguments, hides_arguments_of_init
from zkrecipes.errors import AuthFailedError
from zkrecipes.protocol.sasl import SaslExchange

__all__ = ["Challenge", "DigestExchange", "DigestMD5", "digest_proof", "read_directives"]

_DIGEST_URI: Final = b"zookeeper/zk-sasl-md5"
# Bytes; RFC 2831, 2.1.1 for the challenge.
_CHALLENGE_SIZE_MAX: Final = 2048
# The number of uses of the server's nonce; each connection gets a new one.
_USES: Final = b"00000001"

# RFC 2831, 7.1: `name=token` or `name="a \" quoted string"`, separated by commas, with blanks anywhere.
_SEPARATOR: Final = re.compile(rb"[\s,]*")
_DIRECTIVE: Final = re.compile(
    rb'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|\Z)', re.ASCII | re.DOTALL
)


@final
@hides_arguments_of_init
@dataclass(frozen=True)
class DigestMD5:
    """SASL with a user name and a password: `zk.connect(…, sasl=zk.DigestMD5("bob", "secret"))`.

    The user must be in the `Server` section of the servers' JAAS file. In ACLs the client is then
    `zk.Id("sasl", "bob")`, on every connection and before any other message. The scheme `digest` of
    `connect(auth=…)` is a different mechanism.

    The server must also prove that it knows the password; without that proof the client disconnects.

    Raises:
        TypeError: the user name or the password is not a str. No message shows the password.
        ValueError: the user name is empty, or one of them contains a lone surrogate.
    """

    username: str
    """The client's user name: `bob` if the server's JAAS file has `user_bob`."""
    password: str = field(repr=False)
    """The password, which is never sent and never shown."""

    def __post_init__(self) -> None:
        for name, value in (("username", self.username), ("password", self.password)):
            if not isinstance(value, str):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError(f"{name} must not contain a lone surrogate (half a character)")
        if not self.username:
            raise ValueError("username must not be empty")

    def exchange(self, host: str, nonce: bytes) -> SaslExchange:  # noqa: ARG002 - the same for every host
        """Return a new exchange with one server; the server's name does not matter."""
        return DigestExchange(self, b64encode(nonce), _DIGEST_URI)


@final
class DigestExchange:
    """One authentication with DIGEST-MD5.

    Args:
        user: the client's user.
        nonce: the client's nonce, fresh.
        digest_uri: the service and its host.
    """

    blocks: ClassVar[bool] = False
    suspects: ClassVar[str] = "user and password, and whether its mechanism is DIGEST-MD5"

    def __init__(self, user: DigestMD5, nonce: bytes, digest_uri: bytes) -> None:
        self._user = user
        self._nonce = nonce
        self._digest_uri = digest_uri
        self._proof_due: bytes | None = None

    def begin(self) -> bytes:
        """Return an empty token: the server challenges first."""
        return b""

    def respond(self, challenge: bytes | None) -> bytes | None:
        """Return the response to the challenge; then None, after checking the server's proof."""
        if self._proof_due is None:
            return self._answer(Challenge.read(challenge))
        self._verify(challenge, self._proof_due)
        return None

    @hides_arguments
    def _answer(self, challenge: Challenge) -> bytes:
        secret = challenge.hashed_secret(self._user)
        agreed = (secret, challenge.nonce, self._nonce, self._digest_uri)
        response = digest_proof(*agreed, b"AUTHENTICATE:")
        self._proof_due = digest_proof(*agreed, b":")
        directives = [
            b"username=" + _quote(challenge.encode(self._user.username)),
            b"nonce=" + _quote(challenge.nonce),
            b"nc=" + _USES,
            b"cnonce=" + _quote(self._nonce),
            b"digest-uri=" + _quote(self._digest_uri),
            b"response=" + response,
            b"qop=auth",
        ]
        if challenge.realm is not None:
            directives.insert(1, b"realm=" + _quote(challenge.encode(challenge.realm)))
        if challenge.is_utf_8:
            directives.insert(0, b"charset=utf-8")
        return b",".join(directives)

    def _verify(self, final: bytes | None, proof_due: bytes) -> None:
        if not final:
            # With `zookeeper.allowSaslFailedClients` a server also sends this to clients that it refuses.
            raise AuthFailedError(reason="the server gave no proof that it accepts and knows the password")
        proofs = read_directives(final).get(b"rspauth", [])
        if len(proofs) != 1 or not hmac.compare_digest(proofs[0], proof_due):
            raise AuthFailedError(reason="the server's proof is wrong: it does not know the password")


def digest_proof(secret: bytes, nonce: bytes, client_nonce: bytes, digest_uri: bytes, verb: bytes) -> bytes:
    """Compute the response of RFC 2831, 2.1.2.1 (verb `AUTHENTICATE:`), or the server's, 2.1.3 (verb `:`)."""
    key = _hex(b":".join([secret, nonce, client_nonce]))
    return _hex(b":".join([key, nonce, _USES, client_nonce, b"auth", _hex(verb + digest_uri)]))


@final
@dataclass(frozen=True, slots=True)
class Challenge:
    """The relevant parts of the server's first token."""

    nonce: bytes
    realm: str | None
    is_utf_8: bool

    @classmethod
    def read(cls, token: bytes | None) -> Challenge:
        """Parse a token.

        Raises:
            AuthFailedError: it is not a challenge, or not one that this module can answer.
        """
        if not token:
            raise AuthFailedError(reason="the server sent no challenge: SASL is not configured there")
        directives = read_directives(token)
        nonces = directives.get(b"nonce", [])
        if len(nonces) != 1 or directives.get(b"algorithm") != [b"md5-sess"]:
            raise _not_digest_md5()
        qop = b",".join(directives.get(b"qop", [b"auth"]))
        if b"auth" not in re.split(rb"[\s,]+", qop):
            raise AuthFailedError(
                reason="the server requires protection by SASL, which is not supported: use TLS instead"
            )
        is_utf_8 = directives.get(b"charset") == [b"utf-8"]
        # Java's client also takes the first of several realms.
        realm = next(iter(directives.get(b"realm", [])), None)
        return cls(nonces[0], None if realm is None else _decode(realm, is_utf_8), is_utf_8)

    def encode(self, text: str) -> bytes:
        """Encode a text for the wire."""
        if self.is_utf_8:
            return text.encode()
        if not _is_latin_1(text):
            raise AuthFailedError(
                reason="the server requires Latin-1, but user or password has other characters"
            )
        return text.encode("latin-1")

    def hashed_secret(self, user: DigestMD5) -> bytes:
        """Compute H({ username ":" realm ":" password }) of RFC 2831, 2.1.2.1."""
        parts = (user.username, self.realm or "", user.password)
        # "If all the characters are in ISO 8859-1, it must be converted to ISO 8859-1 before being hashed."
        encoded = [part.encode("latin-1") if _is_latin_1(part) else self.encode(part) for part in parts]
        return _md5(b":".join(encoded))


def read_directives(token: bytes) -> dict[bytes, list[bytes]]:
    """Return the values of each directive, known or not, in their order and without quotes.

    Raises:
        AuthFailedError: the token does not consist of directives.
    """
    if len(token) > _CHALLENGE_SIZE_MAX:
        raise _not_digest_md5()
    found: dict[bytes, list[bytes]] = {}
    position = _end(_SEPARATOR.match(token))
    while position < len(token):
        directive = _DIRECTIVE.match(token, position)
        if directive is None:
            raise _not_digest_md5()
        name, quoted, bare = directive.groups()
        found.setdefault(name.lower(), []).append(bare if quoted is None else _unquote(quoted))
        position = _end(_SEPARATOR.match(token, directive.end()))
    return found


def _end(separator: re.Match[bytes] | None) -> int:
    assert separator is not None, "the separator matches the empty string"
    return separator.end()


def _quote(value: bytes) -> bytes:
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'


def _unquote(value: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", value, flags=re.DOTALL)


def _decode(realm: bytes, is_utf_8: bool) -> str:
    try:
        return realm.decode("utf-8" if is_utf_8 else "latin-1")
    except UnicodeDecodeError as error:
        raise _not_digest_md5() from error


def _is_latin_1(text: str) -> bool:
    return all(character <= "\xff" for character in text)


def _md5(data: bytes) -> bytes:
    # Without the flag a system in FIPS mode refuses MD5, which the mechanism requires.
    return hashlib.md5(data, usedforsecurity=False).digest()


def _hex(data: bytes) -> bytes:
    return _md5(data).hex().encode()


def _not_digest_md5() -> AuthFailedError:
    return AuthFailedError(reason="the server did not answer in DIGEST-MD5: does it use another mechanism?")

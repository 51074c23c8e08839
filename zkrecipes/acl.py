"""Ready access control lists, and the identities that `digest` entries name.

await client.create("/secret", b"", acl=CREATOR_ALL_ACL)
await client.create("/mine", b"", acl=[ACL(Perms.ALL, digest_id("user", "password"))])
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Final

from zkrecipes.codec.records import ACL, Id
from zkrecipes.codec.secret import hides_arguments
from zkrecipes.enums import Perms

__all__ = [
    "ACL",
    "ANYONE_ID",
    "AUTHENTICATED_ID",
    "CREATOR_ALL_ACL",
    "OPEN_ACL",
    "READ_ACL",
    "Id",
    "digest_id",
]

ANYONE_ID: Final = Id("world", "anyone")
"""All clients."""
AUTHENTICATED_ID: Final = Id("auth", "")
"""Every identity that the session has when the ACL is set, from `auth`, SASL or a certificate. The server
replaces this entry with entries for these identities."""

OPEN_ACL: Final = (ACL(Perms.ALL, ANYONE_ID),)
"""An ACL that permits every operation to all clients: the default of `connect(default_acl=…)`."""
READ_ACL: Final = (ACL(Perms.READ, ANYONE_ID),)
"""An ACL that permits all clients to read, and no client to write."""
CREATOR_ALL_ACL: Final = (ACL(Perms.ALL, AUTHENTICATED_ID),)
"""An ACL that permits every operation to the creator of the znode, and nothing to other clients. A session
without an identity gets `InvalidACLError`."""


@hides_arguments
def digest_id(user: str, password: str, *, algorithm: str = "SHA-1") -> Id:
    """Return the identity, for ACLs, of clients that connect with `auth=[("digest", "user:password")]`.

    The server keeps and compares base64(digest("user:password")) (`DigestAuthenticationProvider`, read at
    3.8). SHA-1 is its default, and the only algorithm of older servers. A server whose scheme is disabled
    (`DigestAuthenticationProvider.enabled=false`) refuses such a credential.

    Args:
        user: the user's name; it must not contain a colon.
        password: the password; the identity contains only its digest.
        algorithm: the servers' `DigestAuthenticationProvider.digestAlg`, spelled as there: `SHA-256`,
            `SHA-512`, `SHA3-256` and so on. All servers of an ensemble must use the same algorithm.

    Raises:
        ValueError: the user's name contains a colon, or Python has no such algorithm.
        TypeError: the user or the password is not a str. No message shows the password.
    """
    for name, value in (("user", user), ("password", password)):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a str, not {type(value).__name__}")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"{name} must be text that UTF-8 can encode; the given one contains a surrogate")
    if ":" in user:
        raise ValueError(f"user must not contain ':', got {user!r}")
    digest = hashlib.new(
        _python_name(algorithm), f"{user}:{password}".encode(), usedforsecurity=False
    ).digest()
    return Id("digest", f"{user}:{b64encode(digest).decode()}")


def _python_name(algorithm: str) -> str:
    """Return Python's name of a Java algorithm: `SHA-256` is `sha256`, `SHA3-256` is `sha3_256`."""
    name = algorithm.lower()
    name = name.replace("-", "_") if name.startswith("sha3") else name.replace("-", "")
    # SHAKE is excluded: its digests have no fixed length.
    if name not in hashlib.algorithms_guaranteed or name.startswith("shake"):
        raise ValueError(
            f"algorithm must be a digest that Python knows, such as 'SHA-256', not {algorithm!r}"
        )
    return name

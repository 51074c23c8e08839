"""Ready access control lists, and the identities that `digest` entries name.

await client.create("/secret", b"", acl=CREATOR_ALL)
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
"""Everybody."""
AUTHENTICATED_ID: Final = Id("auth", "")
"""Every identity that the session has when the ACL is set, from `auth`, SASL or a certificate; the server
writes them in its place."""

OPEN_ACL: Final = (ACL(Perms.ALL, ANYONE_ID),)
"""Everybody may do everything: what a client gives its znodes unless it is told otherwise."""
READ_ACL: Final = (ACL(Perms.READ, ANYONE_ID),)
"""Everybody may read, nobody may write."""
CREATOR_ALL_ACL: Final = (ACL(Perms.ALL, AUTHENTICATED_ID),)
"""Whoever made the znode may do everything, nobody else anything. A session without an identity gets
`InvalidACLError`."""


@hides_arguments
def digest_id(user: str, password: str, *, algorithm: str = "SHA-1") -> Id:
    """The identity of who connects with `auth=[("digest", "user:password")]`, as ACLs have it.

    The server keeps and compares base64(digest("user:password")) (`DigestAuthenticationProvider`, read at
    3.8); SHA-1 is its default, and older servers know no other. Where servers have the scheme switched off
    (`DigestAuthenticationProvider.enabled=false`), such a credential is refused.

    Args:
        user: may not hold a colon.
        password: only its digest is kept.
        algorithm: the servers' `DigestAuthenticationProvider.digestAlg`, as it stands there: `SHA-256`,
            `SHA-512`, `SHA3-256` and so on. All servers of an ensemble must have the same.

    Raises:
        ValueError: there is a colon in the user's name, or Python has no such algorithm.
        TypeError: the user or the password is not a str. No message shows the password.
    """
    for name, value in (("user", user), ("password", password)):
        if not isinstance(value, str):
            raise TypeError(f"a digest {name} must be a str, not {type(value).__name__}")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(
                f"a digest {name} must be text that UTF-8 can encode; this one holds a surrogate"
            )
    if ":" in user:
        raise ValueError(f"a digest user must not contain ':', got {user!r}")
    digest = hashlib.new(
        _python_name(algorithm), f"{user}:{password}".encode(), usedforsecurity=False
    ).digest()
    return Id("digest", f"{user}:{b64encode(digest).decode()}")


def _python_name(algorithm: str) -> str:
    """What Python calls an algorithm of Java's: `SHA-256` is `sha256`, `SHA3-256` is `sha3_256`."""
    name = algorithm.lower()
    name = name.replace("-", "_") if name.startswith("sha3") else name.replace("-", "")
    # Those whose digests have no length of their own (SHAKE) are none.
    if name not in hashlib.algorithms_guaranteed or name.startswith("shake"):
        raise ValueError(f"there is no digest {algorithm!r}")
    return name

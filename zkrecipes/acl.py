"""Ready access control lists, and the identities that `digest` entries name.

await client.create("/secret", b"", acl=CREATOR_ALL)
await client.create("/mine", b"", acl=[ACL(Perms.ALL, digest_id("user", "password"))])
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import Final

from zkrecipes.codec.records import ACL, Id
from zkrecipes.enums import Perms

__all__ = ["ACL", "ANYONE", "AUTHENTICATED", "CREATOR_ALL", "OPEN", "READ_ONLY", "Id", "digest_id"]

ANYONE: Final = Id("world", "anyone")
"""Everybody."""
AUTHENTICATED: Final = Id("auth", "")
"""Every identity that the session has when the ACL is set; the server writes them in its place."""

OPEN: Final = (ACL(Perms.ALL, ANYONE),)
"""Everybody may do everything: what a client gives its znodes unless it is told otherwise."""
READ_ONLY: Final = (ACL(Perms.READ, ANYONE),)
"""Everybody may read, nobody may write."""
CREATOR_ALL: Final = (ACL(Perms.ALL, AUTHENTICATED),)
"""Whoever made the znode may do everything, nobody else anything; needs `add_auth` first."""


def digest_id(user: str, password: str) -> Id:
    """The identity of a user of the `digest` scheme.

    The server keeps and compares base64(sha1("user:password")) (`DigestAuthenticationProvider.java`); SHA-1
    is its default and not our choice.

    Args:
        user: may not hold a colon.
        password: only its digest is kept.

    Raises:
        ValueError: there is a colon in the user's name.
    """
    if ":" in user:
        raise ValueError(f"a digest user has no colon: {user!r}")
    digest = sha1(f"{user}:{password}".encode(), usedforsecurity=False).digest()
    return Id("digest", f"{user}:{b64encode(digest).decode()}")

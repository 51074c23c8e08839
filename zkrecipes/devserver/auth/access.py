"""Who may do what: identities, and what access control lists permit to them. Pure.

The schemes `world`, `auth`, `digest`, `ip` and the `super` user (`ZooKeeperServer.checkACL`,
`PrepRequestProcessor.fixupACL`, `DigestAuthenticationProvider`, `IPAuthenticationProvider`, 3.9).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Sequence

from zkrecipes.codec.records import ACL, ClientInfo, Id
from zkrecipes.devserver.auth.acl_ids import is_valid_id, lets_in_address
from zkrecipes.errors import InvalidACLError, NoAuthError

__all__ = ["authenticate", "check_permission", "client_infos", "digest_id", "expand_acl", "masked"]

_ANYONE = Id("world", "anyone")
_SUPER = Id("super", "")


def check_permission(acl: Sequence[ACL], permission: int, ids: Sequence[Id], path: str | None = None) -> None:
    """Return if one of `ids` has one of the bits of `permission`.

    Raises:
        NoAuthError: none has.
    """
    if not is_permitted(acl, permission, ids):
        raise NoAuthError(path)


def is_permitted(acl: Sequence[ACL], permission: int, ids: Sequence[Id]) -> bool:
    """Whether one of `ids` has one of the bits of `permission`; an empty ACL permits all."""
    if not acl:
        return True
    for perms, entry in acl:
        if perms & permission and (entry == _ANYONE or any(_matches(entry, own) for own in ids)):
            return True
    return _SUPER in ids


def expand_acl(
    acl: Sequence[ACL] | None, ids: Sequence[Id], path: str, schemes: Collection[str] = ()
) -> tuple[ACL, ...]:
    """The ACL that is stored when a session with `ids` sends `acl`: without repetitions, `auth` spelled out.

    Args:
        acl: what was sent.
        ids: who sent it.
        path: of the znode.
        schemes: those that are configured besides the ones that every server has.

    Raises:
        InvalidACLError: it is empty, a scheme or an id is invalid, or it says `auth` in a session that has
            no identity but its address.
    """
    expanded: list[ACL] = []
    for entry in dict.fromkeys(acl or ()):
        if entry.id.scheme == "auth":
            own = [identity for identity in ids if identity.scheme in ("digest", "sasl", "x509")]
            if not own:
                raise InvalidACLError(path)
            expanded += [ACL(entry.perms, identity) for identity in own]
        elif entry.id == _ANYONE or _is_taken(entry.id, schemes):
            expanded.append(entry)
        else:
            raise InvalidACLError(path)
    if not expanded:
        raise InvalidACLError(path)
    return tuple(expanded)


def authenticate(
    scheme: str, auth: bytes | None, *, address: str, super_digest: str | None
) -> list[Id] | None:
    """The identities that a client gains by an auth packet, or None where it is refused.

    Args:
        scheme: `digest` or `ip`.
        auth: for digest, `user:password`.
        address: the client's own address.
        super_digest: the digest id of the super user, `super:` and a hash; None: there is none.
    """
    if scheme == "ip":
        return [Id("ip", address)]
    if scheme != "digest" or auth is None:
        return None
    identity = digest_id(auth.decode("utf-8", "replace"))
    if identity == super_digest:
        return [_SUPER, Id("digest", identity)]
    return [Id("digest", identity)]


def digest_id(user_and_password: str) -> str:
    """`user:base64(sha1(user:password))`, the id that stands in ACLs."""
    user = user_and_password.partition(":")[0]
    # ZooKeeper's choice (`DigestAuthenticationProvider`), so there is none here.
    digest = hashlib.sha1(user_and_password.encode(), usedforsecurity=False).digest()
    return f"{user}:{base64.b64encode(digest).decode()}"


def masked(acl: Sequence[ACL]) -> list[ACL]:
    """The ACL as somebody may see it who has READ but not ADMIN: without the hashes of passwords."""
    return [
        ACL(entry.perms, Id("digest", re.sub(":.*", ":x", entry.id.id)))
        if entry.id.scheme == "digest"
        else entry
        for entry in acl
    ]


def client_infos(ids: Sequence[Id]) -> list[ClientInfo]:
    """The identities as whoAmI tells them."""
    return [
        ClientInfo(scheme, name.partition(":")[0] if scheme == "digest" else name) for scheme, name in ids
    ]


def _matches(entry: Id, own: Id) -> bool:
    if entry.scheme != own.scheme:
        return False
    return bool(entry.id == own.id) or (entry.scheme == "ip" and lets_in_address(entry.id, own.id))


def _is_taken(identity: Id, schemes: Collection[str]) -> bool:
    scheme, name = identity
    if scheme in schemes:
        return scheme != "x509" or is_valid_id(scheme, name)
    return scheme in ("digest", "ip") and is_valid_id(scheme, name)

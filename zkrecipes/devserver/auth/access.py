"""Access control: the identities of clients, and the permissions that ACLs grant them. Pure.

It covers the schemes `world`, `auth`, `digest`, `ip` and the `super` user (`ZooKeeperServer.checkACL`,
`PrepRequestProcessor.fixupACL`, `DigestAuthenticationProvider`, `IPAuthenticationProvider`, 3.9).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Sequence

from zkrecipes.codec.records import ACL, ClientInfo, Id
from zkrecipes.devserver.auth.acl_ids import admits_address, is_valid_id
from zkrecipes.errors import InvalidACLError, NoAuthError

__all__ = ["authenticate", "check_permission", "client_infos", "digest_id", "expand_acl", "mask_passwords"]

_ANYONE = Id("world", "anyone")
_SUPER = Id("super", "")


def check_permission(acl: Sequence[ACL], permission: int, ids: Sequence[Id], path: str | None = None) -> None:
    """Check that one of `ids` has one of the bits of `permission`.

    Raises:
        NoAuthError: none of `ids` has such a bit.
    """
    if not is_permitted(acl, permission, ids):
        raise NoAuthError(path)


def is_permitted(acl: Sequence[ACL], permission: int, ids: Sequence[Id]) -> bool:
    """Whether one of `ids` has one of the bits of `permission`; an empty ACL permits everything."""
    if not acl:
        return True
    for perms, entry in acl:
        if perms & permission and (entry == _ANYONE or any(_matches(entry, own) for own in ids)):
            return True
    return _SUPER in ids


def expand_acl(
    acl: Sequence[ACL] | None, ids: Sequence[Id], path: str, schemes: Collection[str] = ()
) -> tuple[ACL, ...]:
    """Return the ACL to store for the ACL that a client sent: `auth` expanded, duplicates removed.

    Args:
        acl: the ACL that the client sent.
        ids: the identities of the client.
        path: the path of the znode.
        schemes: the configured schemes besides those that every server has.

    Raises:
        InvalidACLError: the ACL is empty, a scheme or an id is invalid, or it names `auth` and the client has
            only its address as an identity.
    """
    expanded: list[ACL] = []
    for entry in dict.fromkeys(acl or ()):
        if entry.id.scheme == "auth":
            own = [identity for identity in ids if identity.scheme in ("digest", "sasl", "x509")]
            if not own:
                raise InvalidACLError(path)
            expanded += [ACL(entry.perms, identity) for identity in own]
        elif entry.id == _ANYONE or _is_valid(entry.id, schemes):
            expanded.append(entry)
        else:
            raise InvalidACLError(path)
    if not expanded:
        raise InvalidACLError(path)
    return tuple(expanded)


def authenticate(
    scheme: str, auth: bytes | None, *, address: str, super_digest: str | None
) -> list[Id] | None:
    """Return the identities that an auth packet gives a client; None if the server refuses the packet.

    Args:
        scheme: `digest` or `ip`.
        auth: for digest, `user:password`.
        address: the client's IP address.
        super_digest: the digest id of the super user, `super:` and a hash; None disables the super user.
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
    """Return `user:base64(sha1(user:password))`, the id in ACLs."""
    user = user_and_password.partition(":")[0]
    # ZooKeeper prescribes the algorithm (`DigestAuthenticationProvider`).
    digest = hashlib.sha1(user_and_password.encode(), usedforsecurity=False).digest()
    return f"{user}:{base64.b64encode(digest).decode()}"


def mask_passwords(acl: Sequence[ACL]) -> list[ACL]:
    """Return the ACL that a client with READ but without ADMIN sees: without the hashes of passwords."""
    return [
        ACL(entry.perms, Id("digest", re.sub(":.*", ":x", entry.id.id)))
        if entry.id.scheme == "digest"
        else entry
        for entry in acl
    ]


def client_infos(ids: Sequence[Id]) -> list[ClientInfo]:
    """Return the identities as whoAmI reports them."""
    return [
        ClientInfo(scheme, name.partition(":")[0] if scheme == "digest" else name) for scheme, name in ids
    ]


def _matches(entry: Id, own: Id) -> bool:
    if entry.scheme != own.scheme:
        return False
    return bool(entry.id == own.id) or (entry.scheme == "ip" and admits_address(entry.id, own.id))


def _is_valid(identity: Id, schemes: Collection[str]) -> bool:
    scheme, name = identity
    if scheme in schemes:
        return scheme != "x509" or is_valid_id(scheme, name)
    return scheme in ("digest", "ip") and is_valid_id(scheme, name)

"""The options of every `create`: declared and documented once, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypedDict, final

from zkrecipes.codec.records import ACL, Id
from zkrecipes.codec.strings import encode_string
from zkrecipes.enums import CreateMode, Perms

__all__ = ["CreateOptions", "check_acl", "check_options", "check_text", "create_mode", "ttl_ms"]

_PLAIN_MODES: Final = (
    (CreateMode.PERSISTENT, CreateMode.EPHEMERAL),
    (CreateMode.PERSISTENT_SEQUENTIAL, CreateMode.EPHEMERAL_SEQUENTIAL),
)
# The server keeps a TTL in 40 bits of the ephemeral owner (`EphemeralType.TTL`).
_TTL_MS_MAX: Final = 0x00FF_FFFF_FFFF


@final
class CreateOptions(TypedDict, total=False):
    """The options of every `create`, to be written as keyword arguments."""

    ephemeral: bool
    """Delete the znode when this session ends. An ephemeral znode cannot have children."""
    sequential: bool
    """Append a growing number of ten digits to the path. The path may then end in a slash."""
    container: bool
    """Let the server delete the znode some time after its last child was deleted (servers from 3.5)."""
    ttl: float | None
    """Let the server delete the znode after this many seconds without a change and without children (servers
    from 3.5 with `extendedTypesEnabled`). None: no such limit."""
    acl: Sequence[ACL] | None
    """The znode's permissions. None: the `default_acl` of `connect()`."""


_NAMES: Final = CreateOptions.__annotations__.keys()


def check_options(options: CreateOptions) -> None:
    """Check that every option is one of `CreateOptions`.

    Raises:
        TypeError: an option is unknown; the message names it and lists the known options.
    """
    if options.keys() <= _NAMES:
        return
    unexpected = next(name for name in options if name not in _NAMES)
    raise TypeError(
        f"create() got an unexpected keyword argument {unexpected!r}; its options are {', '.join(_NAMES)}, "
        "and make_parents for a client"
    )


def create_mode(options: CreateOptions) -> CreateMode:
    """Return the kind of the znode that the options describe.

    Raises:
        ValueError: no kind of znode has all these options.
    """
    get = options.get
    ephemeral, sequential, container, ttl = get("ephemeral"), get("sequential"), get("container"), get("ttl")
    if container and (ephemeral or sequential or ttl is not None):
        raise ValueError("container=True must be given without ephemeral, sequential and ttl")
    if ephemeral and ttl is not None:
        raise ValueError("ephemeral=True must be given without ttl: the znode is deleted with its session")
    if container:
        return CreateMode.CONTAINER
    if ttl is not None:
        return CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL if sequential else CreateMode.PERSISTENT_WITH_TTL
    return _PLAIN_MODES[bool(sequential)][bool(ephemeral)]


def ttl_ms(ttl: float) -> int:
    """Return a ttl in milliseconds, as requests contain it.

    Raises:
        TypeError: `ttl` is not a number.
        ValueError: `ttl` is outside the limits of the servers.
    """
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
        raise TypeError(f"ttl must be a number of seconds, not {ttl!r}")
    if not 0.001 <= ttl <= _TTL_MS_MAX / 1000:
        raise ValueError(f"ttl must be between 0.001 and {_TTL_MS_MAX / 1000:.0f} seconds, not {ttl!r}")
    return round(ttl * 1000)


def check_acl(acl: Any) -> list[ACL]:
    """Return the entries of an `acl`.

    Raises:
        TypeError: it is not a list of ACL entries.
        ValueError: it is empty, or an entry cannot be sent.
    """
    if isinstance(acl, ACL):
        raise TypeError(f"acl must be a list of ACL entries, not one entry: write [{acl!r}]")
    if isinstance(acl, Id):
        raise TypeError(f"acl must be a list of ACL entries, not an Id: write [ACL(Perms.ALL, {acl!r})]")
    if not isinstance(acl, Iterable):
        raise TypeError(f"acl must be a list of ACL entries, not {acl!r}")
    entries = list(acl)
    if not entries:
        raise ValueError("acl must have at least one entry")
    for entry in entries:
        _check_acl_entry(entry)
    return entries


def _check_acl_entry(entry: object) -> None:
    if not isinstance(entry, ACL):
        raise TypeError(f"acl must be a list of ACL entries, not of {entry!r}")
    perms: object = entry.perms
    identity: object = entry.id
    if not isinstance(identity, Id) or not all(isinstance(part, str) for part in identity):
        raise TypeError(f"the id of an ACL entry must be an Id of two strings, not {identity!r}")
    for part in identity:
        check_text("the id of an ACL entry", part)
    if not isinstance(perms, int):
        raise TypeError(f"the perms of an ACL entry must be Perms, not {perms!r}")
    if not 0 <= perms <= Perms.ALL:
        raise ValueError(
            f"the perms of an ACL entry must be from 0 to {Perms.ALL:d}, a sum of Perms: {entry!r}"
        )


def check_text(what: str, text: str) -> None:
    """Return if UTF-8 can encode `text`, which the error describes as `what`.

    Raises:
        ValueError: UTF-8 cannot encode it.
    """
    try:
        encode_string(text)
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be text that UTF-8 can encode, not {text!r}") from None

"""Reads the values of settings. Each function returns the value, or raises a `ValueError`.

The error states the requirement. The text that the functions receive is stripped and not empty. Messages
quote it, so none of these functions may read a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

from zkrecipes.acl import ACL, CREATOR_ALL_ACL, OPEN_ACL, READ_ACL, Id
from zkrecipes.enums import Perms
from zkrecipes.net.connect_string import parse_connect_string
from zkrecipes.paths import check_path

__all__ = [
    "SECONDS_MAX", "acl", "boolean", "bytes_count", "chroot", "cut_comment", "cut_comment_after_hosts",
    "duration", "duration_or_none", "hosts", "mechanism", "text", "word",
]  # fmt: skip

SECONDS_MAX: Final = 1000.0
"""The limit of `connect(session_timeout=…)`. A larger number without a unit must be meant in milliseconds."""

_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_DURATION: Final = re.compile(r"(\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})\s*([A-Za-z]*)", re.ASCII)
_UNITS: Final = {
    unit: seconds
    for units, seconds in (
        ("ms milli millis millisecond milliseconds", 0.001),
        ("s sec secs second seconds", 1.0),
        ("m min mins minute minutes", 60.0),
        ("h hour hours", 3600.0),
    )
    for unit in units.split()
}
_READY_ACLS: Final = {"open": OPEN_ACL, "read": READ_ACL, "creator": CREATOR_ALL_ACL}
_PERMISSIONS: Final = {
    "c": Perms.CREATE, "d": Perms.DELETE, "r": Perms.READ, "w": Perms.WRITE, "a": Perms.ADMIN,
}  # fmt: skip
_ACL_FORM: Final = "must be open, read, creator, or entries such as 'world:anyone:r,auth::cdrwa'"
_MECHANISMS: Final = ("digest-md5", "kerberos")


def cut_comment(value: str) -> str:
    """Return the value without a trailing comment. The value itself cannot contain `#`."""
    return value.partition("#")[0].strip()


def cut_comment_after_hosts(value: str) -> str:
    """Return hosts, a chroot or both without a trailing comment.

    It begins with a `#` among the hosts, or with one after a blank. A path may contain any other `#`.
    """
    match = re.match(r"[^#/]*(?:/(?:(?!\s#).)*)?", value, re.DOTALL)
    assert match is not None  # both parts may be empty
    return match[0].strip()


def text(value: str) -> str:
    """Return the value unchanged."""
    return value


def word(value: str) -> str:
    """Return a value without white space, so that no comment becomes a part of it."""
    if any(each.isspace() for each in value):
        raise ValueError(
            f"must not contain white space, not {value!r} (a comment must be on a separate line)"
        )
    return value


def boolean(value: str) -> bool:
    """Return True or False."""
    found = _BOOLEANS.get(value.lower())
    if found is None:
        raise ValueError(f"must be true or false, not {value!r}")
    return found


def bytes_count(value: str) -> int:
    """Return a number of bytes."""
    if re.fullmatch(r"\d{1,10}", value, re.ASCII) is None:
        raise ValueError(f"must be a number of bytes, such as 4194304, not {value!r}")
    if int(value) <= 1024:  # as `connect` requires
        raise ValueError(f"must be above 1024 bytes, not {value}")
    return int(value)


def duration(unit: str = "s", *, limit: float = math.inf) -> Callable[[str], float]:
    """Return a reader of seconds.

    Args:
        unit: the unit of a number without one.
        limit: the largest permitted time, in seconds.
    """

    def read(value: str) -> float:
        match = _DURATION.fullmatch(value)
        factor = None if match is None else _UNITS.get(match[2].lower() or unit)
        if match is None or factor is None:
            raise ValueError(f"must be a time, such as 10, '2.5 s' or '500 ms', not {value!r}")
        number = float(match[1])
        if not match[2] and unit == "s" and number > SECONDS_MAX:
            other = "" if number > limit else f", or '{value} s' if you mean seconds"
            raise ValueError(f"must be in seconds, not in milliseconds: write '{value} ms'{other}")
        # Dividing is exact where multiplying by 0.001 is not: 2300 ms are 2.3 s.
        seconds = number / 1000 if factor == 0.001 else number * factor
        if not 0 < seconds <= limit:
            upper = "" if limit == math.inf else f" and at most {limit:g} s"
            raise ValueError(f"must be above 0{upper}, not {value!r}")
        return seconds

    return read


def duration_or_none(unit: str = "s") -> Callable[[str], float | None]:
    """Return a reader of seconds, or of `none` for no limit."""
    read = duration(unit)
    return lambda value: None if value.lower() == "none" else read(value)


def hosts(value: str) -> str:
    """Return a connect string that is valid."""
    parse_connect_string(value)
    return value


def chroot(value: str) -> str:
    """Return a path that may follow the hosts, or the empty string for `/`."""
    if "," in value:  # `parse_connect_string` would see another host
        raise ValueError(f"must not contain ',', not {value!r}")
    return "" if value == "/" else check_path(value)


def mechanism(value: str) -> str:
    """Return the name of a SASL mechanism."""
    if value.lower() not in _MECHANISMS:
        raise ValueError(f"must be {' or '.join(_MECHANISMS)}, not {value!r}")
    return value.lower()


def acl(value: str) -> tuple[ACL, ...]:
    """Return an ACL: the name of a ready one, or entries `scheme:id:permissions` as `zkCli.sh` reads them.

    The scheme ends at the first colon, and the permissions begin after the last (`ZooKeeperMain.parseACLs`).
    """
    ready = _READY_ACLS.get(value.lower())
    return tuple(map(_acl_entry, value.split(","))) if ready is None else ready


def _acl_entry(entry: str) -> ACL:
    scheme, _, rest = entry.strip().partition(":")
    identity, colon, letters = rest.rpartition(":")
    if not scheme or not colon or not letters or not set(letters) <= _PERMISSIONS.keys():
        raise ValueError(_ACL_FORM)  # an identity may contain a digest, so the entry is not shown
    perms = Perms(0)
    for letter in letters:
        perms |= _PERMISSIONS[letter]
    return ACL(perms, Id(scheme, identity))

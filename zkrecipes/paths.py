"""Znode paths: checking them, taking them apart, and moving them under a chroot and back.

The rules are those of ZooKeeper's `PathUtils.validatePath` (read at 3.9); they are applied before anything
is sent, so that a wrong path is a `ValueError` that names it and never a round trip.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = [
    "check_name",
    "check_path",
    "chroot_off",
    "chroot_on",
    "join",
    "name_of",
    "parent_of",
    "sequence_number",
]

# Java's validatePath works on UTF-16 units and refuses \ud800-\uf8ff, so surrogates too: no character beyond
# the basic plane can be in a path, hence the last range.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")
_SEQUENCE_NUMBER = re.compile("-?[0-9]{1,20}")
_BAD_COMPONENT = re.compile(r"/(?:/|\.{1,2}(?:/|\Z))")


@lru_cache(maxsize=4096)
def check_path(path: str, *, sequential: bool = False) -> str:
    """Return `path` if a znode can have it.

    Args:
        path: an absolute path; `/` is the root.
        sequential: the server will append digits, so the last component may be empty.

    Raises:
        ValueError: the path breaks one of ZooKeeper's rules; the message names path and rule.
        TypeError: the path is not a string.
    """
    if not isinstance(path, str):
        raise TypeError(f"a znode path is a str, not {type(path).__name__}: {path!r}")
    checked = path + "1" if sequential else path
    if not checked.startswith("/"):
        raise ValueError(f"znode path {path!r} does not start with a slash")
    if len(checked) > 1 and checked.endswith("/"):
        raise ValueError(f"znode path {path!r} ends in a slash")
    if "/." in checked or "//" in checked:
        bad = _BAD_COMPONENT.search(checked)
        if bad is not None:
            what = "an empty" if bad.group() == "//" else "a relative"
            raise ValueError(f"znode path {path!r} has {what} component at position {bad.start() + 1}")
    forbidden = _FORBIDDEN.search(checked)
    if forbidden is not None:
        raise ValueError(
            f"znode path {path!r} has a character that ZooKeeper forbids, {forbidden.group()!r}, "
            f"at position {forbidden.start()}"
        )
    return path


def check_name(name: str) -> str:
    """Return `name` if one component of a path can have it.

    Raises:
        ValueError: it is empty, holds a slash, or breaks a rule of `check_path`.
        TypeError: it is not a string.
    """
    if not isinstance(name, str):
        raise TypeError(f"a znode name is a str, not {type(name).__name__}: {name!r}")
    if not name or "/" in name:
        raise ValueError(f"a znode name is not empty and has no slash: {name!r}")
    check_path("/" + name)
    return name


def join(parent: str, name: str) -> str:
    """The path of the child `name` of `parent`."""
    return f"/{name}" if parent == "/" else f"{parent}/{name}"


def parent_of(path: str) -> str:
    """The path above; the root's parent is the root."""
    return path[: path.rfind("/")] or "/"


def name_of(path: str) -> str:
    """The last component; empty for the root."""
    return path[path.rfind("/") + 1 :]


def chroot_on(chroot: str, path: str) -> str:
    """The full path on the server of `path` as seen under `chroot` (empty: no chroot)."""
    if not chroot:
        return path
    return chroot if path == "/" else chroot + path


def chroot_off(chroot: str, path: str) -> str:
    """The path as seen under `chroot` of the full path `path`; a path outside comes back unchanged."""
    if not chroot:
        return path
    if path == chroot:
        return "/"
    return path[len(chroot) :] if path.startswith(chroot + "/") else path


def sequence_number(name: str, *, after: str) -> int | None:
    """The number that the server appended to a sequential znode's name, or None where there is none.

    Args:
        name: one component of a path, as `get_children` lists it.
        after: the text that stands directly before the number, e.g. `__lock__`. It must be named: in
            `lock-0000000005` the dash belongs to the name, in `__lock__-2147483648` it is a sign.

    Ten digits are the rule (`PrepRequestProcessor.java`, format `%010d`), but the counter is a signed 32-bit
    integer that wraps, so the number may be negative and eleven characters long, and longer ones are
    announced (ZOOKEEPER-4706): any number of 64 bits is taken.
    """
    tag = name.rfind(after)
    digits = name[tag + len(after) :]
    if tag < 0 or not _SEQUENCE_NUMBER.fullmatch(digits):
        return None
    return int(digits)

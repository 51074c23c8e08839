"""Znode paths: check them, split them, and add or remove a chroot.

The rules are those of ZooKeeper's `PathUtils.validatePath` (read at 3.9). They are applied before anything is
sent, so a wrong path costs no round trip: it is a `ValueError` that names the path.
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

# Java's validatePath checks UTF-16 units and refuses \ud800-\uf8ff, which includes surrogates. So a path
# cannot contain a character beyond the basic plane, hence the last range.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")
_SEQUENCE_NUMBER = re.compile("-?[0-9]{1,20}")
_BAD_COMPONENT = re.compile(r"/(?:/|\.{1,2}(?:/|\Z))")


@lru_cache(maxsize=4096)
def check_path(path: str, *, sequential: bool = False) -> str:
    """Return `path` if it is valid.

    Args:
        path: an absolute path; `/` is the root.
        sequential: whether the last component may be empty, because the server will append digits.

    Raises:
        ValueError: the path breaks one of ZooKeeper's rules; the message names the path and the rule.
        TypeError: the path is not a string.
    """
    if not isinstance(path, str):
        raise TypeError(f"a znode path must be a str, not {type(path).__name__}: {path!r}")
    checked = path + "1" if sequential else path
    if not checked.startswith("/"):
        raise ValueError(f"znode path {path!r} must start with a slash")
    if len(checked) > 1 and checked.endswith("/"):
        raise ValueError(f"znode path {path!r} must not end in a slash")
    if "/." in checked or "//" in checked:
        bad = _BAD_COMPONENT.search(checked)
        if bad is not None:
            kind = "an empty" if bad.group() == "//" else "a relative"
            raise ValueError(
                f"znode path {path!r} must not contain {kind} component at position {bad.start() + 1}"
            )
    forbidden = _FORBIDDEN.search(checked)
    if forbidden is not None:
        raise ValueError(
            f"znode path {path!r} must not contain {forbidden.group()!r}, at position {forbidden.start()}: "
            "ZooKeeper forbids this character"
        )
    return path


def check_name(name: str) -> str:
    """Return `name` if it is valid as one component of a path.

    Raises:
        ValueError: the name is empty, contains a slash, or breaks a rule of `check_path`.
        TypeError: the name is not a string.
    """
    if not isinstance(name, str):
        raise TypeError(f"a znode name must be a str, not {type(name).__name__}: {name!r}")
    if not name or "/" in name:
        raise ValueError(f"a znode name must be non-empty and must not contain '/': {name!r}")
    check_path("/" + name)
    return name


def join(parent: str, name: str) -> str:
    """Return the path of the child `name` of `parent`."""
    return f"/{name}" if parent == "/" else f"{parent}/{name}"


def parent_of(path: str) -> str:
    """Return the path of the parent; the root's parent is the root."""
    return path[: path.rfind("/")] or "/"


def name_of(path: str) -> str:
    """Return the last component; it is empty for the root."""
    return path[path.rfind("/") + 1 :]


def chroot_on(chroot: str, path: str) -> str:
    """Return the full path on the server of `path` as seen under `chroot` (empty: no chroot)."""
    if not chroot:
        return path
    return chroot if path == "/" else chroot + path


def chroot_off(chroot: str, path: str) -> str:
    """Return the full path `path` as seen under `chroot`; a path outside the chroot stays unchanged."""
    if not chroot:
        return path
    if path == chroot:
        return "/"
    return path[len(chroot) :] if path.startswith(chroot + "/") else path


def sequence_number(name: str, *, after: str) -> int | None:
    """Return the number that the server appended to a sequential znode's name, or None if there is no number.

    Args:
        name: one component of a path, as `get_children` lists it.
        after: the text directly before the number, such as `__lock__`. It is required because a dash is
            ambiguous: in `lock-0000000005` it belongs to the name, in `__lock__-2147483648` it is a sign.

    The number usually has ten digits (`PrepRequestProcessor.java`, format `%010d`). But the counter is a
    signed 32-bit integer that wraps, so the number may be negative and eleven characters long. Longer numbers
    are announced (ZOOKEEPER-4706), so any number of 64 bits is accepted.
    """
    tag = name.rfind(after)
    digits = name[tag + len(after) :]
    if tag < 0 or not _SEQUENCE_NUMBER.fullmatch(digits):
        return None
    return int(digits)

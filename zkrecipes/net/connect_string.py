"""The connect string: `host:port,host:port/chroot`.

It is checked as a whole, because a wrong one often still looks like a host name: the client would look up
`h1:2181;h2:2181` in vain until connecting times out. A message names the mistake and the right form. It never
shows the text before an `@`, which may be a user's password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, NamedTuple, final

from zkrecipes.codec.secret import hides_arguments
from zkrecipes.paths import check_path

__all__ = ["DEFAULT_PORT", "ConnectString", "Host", "parse_connect_string"]

DEFAULT_PORT: Final = 2181
_RIGHT_FORM: Final = "'host:port,host:port/chroot'"
_SCHEME: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_SEPARATORS: Final = {";": "';'", "|": "'|'"}
_FORBIDDEN: Final = re.compile(r"""["'`=?#&<>(){}\\*!$^~]""")


class Host(NamedTuple):
    """One entry of a connect string: a name or an address, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@final
@dataclass(frozen=True, slots=True)
class ConnectString:
    """The parts of a connect string.

    Attributes:
        hosts: the hosts in the given order, without repetitions.
        chroot: the path that all paths of the client are below; empty for none.
    """

    hosts: tuple[Host, ...]
    chroot: str


class _MistakeError(Exception):
    """A mistake in the string, and the part that shows it."""

    def __init__(self, requirement: str, part: str = "") -> None:
        super().__init__(requirement)
        self.requirement = requirement
        self.part = part


@hides_arguments
def parse_connect_string(text: str) -> ConnectString:
    """Read `host:port,host:port/chroot`.

    Ports may be left out (2181). An IPv6 address with a port must be in brackets. White space around the
    string and around its commas is ignored, and so is a comma at the end.

    Raises:
        ValueError: the string is invalid; the message names the mistake and the right form, and no password.
        TypeError: `text` is not a string.
    """
    if not isinstance(text, str):
        raise _type_error(text)
    try:
        return _parse(text)
    except _MistakeError as mistake:
        error = ValueError(_describe(text, mistake))
    raise error  # not in the handler: the context would show the part


def _type_error(value: object) -> TypeError:
    hint = ": join the hosts with commas" if isinstance(value, (list, tuple, set, frozenset)) else ""
    return TypeError(f"a connect string must be a str, not {type(value).__name__}{hint}")


def _describe(text: str, mistake: _MistakeError) -> str:
    is_secret = "@" in text
    shown = f"***@{text.rpartition('@')[2]}" if is_secret else text
    part = f", got {mistake.part!r}" if mistake.part and not is_secret and mistake.part != text else ""
    return f"connect string {shown!r}: {mistake.requirement}{part}; the right form is {_right_form(shown)}"


def _right_form(shown: str) -> str:
    """Return the string without its scheme and credentials if it is valid then, else the general form."""
    rest = shown.removeprefix("***@")
    rest = _SCHEME.sub("", rest, count=1)
    try:
        _parse(rest)
    except _MistakeError:
        return _RIGHT_FORM
    return repr(rest)


def _parse(text: str) -> ConnectString:
    if _SCHEME.match(text):
        credentials = ", nor name a user or a password (see auth= and sasl=)" if "@" in text else ""
        raise _MistakeError(f"it must not begin with a scheme{credentials}")
    whole = text.strip()
    hosts_text, slash, rest = whole.partition("/")
    if "@" in hosts_text or ("@" in rest and _looks_like_hosts(rest)):
        raise _MistakeError("it must not name a user or a password, which belong in auth= or sasl=")
    chroot = _check_chroot(slash + rest)
    parts = [part.strip() for part in hosts_text.split(",")]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    return ConnectString(tuple(dict.fromkeys(map(_parse_host, parts))), chroot)


def _looks_like_hosts(text: str) -> bool:
    return re.search(r"@[^/,]*:\d+(/|,|$)", text) is not None


def _check_chroot(chroot: str) -> str:
    if chroot in {"", "/"}:
        return ""
    if "," in chroot:
        raise _MistakeError("the chroot must be given once, after the last host, without ','", chroot)
    try:
        check_path(chroot)
    except ValueError as error:
        reason = str(error) if "@" not in chroot else "it is not a path"
    else:
        return chroot
    raise _MistakeError(f"the chroot is invalid: {reason}")


def _parse_host(text: str) -> Host:
    if not text:
        raise _MistakeError("a host must not be empty")
    if any(each.isspace() for each in text):
        raise _MistakeError("hosts must be separated by ',' and must not contain white space", text)
    if not text.isprintable():
        raise _MistakeError("a host must not contain invisible characters", text)
    for separator, name in _SEPARATORS.items():
        if separator in text:
            raise _MistakeError(f"hosts must be separated by ',', not by {name}", text)
    if _FORBIDDEN.search(text):
        raise _MistakeError(
            "a host must be a name or an address, without quotes or other special characters", text
        )
    if "[" in text or "]" in text:
        return _parse_bracketed(text)
    if text.count(":") > 1:
        return _parse_bare_ipv6(text)
    name, colon, port = text.partition(":")
    if not name:
        raise _MistakeError("a host must not be empty", text)
    return Host(name, _parse_port(port) if colon else DEFAULT_PORT)


def _parse_bracketed(text: str) -> Host:
    name, bracket, rest = text[1:].partition("]")
    if not text.startswith("[") or not bracket or (rest and not rest.startswith(":")):
        raise _MistakeError("an IPv6 address with a port must be written as '[address]:port'", text)
    if not _is_ipv6(name):
        raise _MistakeError("brackets must contain an IPv6 address", text)
    return Host(name, _parse_port(rest[1:]) if rest else DEFAULT_PORT)


def _parse_bare_ipv6(text: str) -> Host:
    if not _is_ipv6(text):
        raise _MistakeError("a host must have one port, and hosts must be separated by ','", text)
    return Host(text, DEFAULT_PORT)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise _MistakeError("a port must be a number from 1 to 65535", text or ":")
    return int(text)

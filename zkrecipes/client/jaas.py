"""Reads a JAAS file, in which Java programs find their credentials, so that Python programs can share it.

The grammar is that of Java's `javax.security.auth.login.Configuration`:

    Client {
        org.apache.zookeeper.server.auth.DigestLoginModule required
        username="bob"
        password="open-sesame";
    };

The file contains secrets, so messages name places in the file and never quote it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, final

from zkrecipes.codec.secret import hides_arguments
from zkrecipes.net.kerberos import Kerberos
from zkrecipes.protocol.digest_md5 import DigestMD5

__all__ = ["read_jaas"]

_TOKEN: Final = re.compile(
    r"""
    (?P<blank>     \s+ | //[^\n]* | /\*.*?\*/ )
  | " (?P<quoted>  (?:[^"\\\n]|\\.)* ) "
  | (?P<single>    ' )
  | (?P<mark>      [{}=;] )
  | (?P<word>      [^\s{}=;"'/]+ )
    """,
    re.DOTALL | re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(?:(?P<octal>[0-3][0-7]{0,2}|[4-7][0-7]?)|(?P<letter>.))", re.DOTALL)
# The meaning of a backslash before these; any other character means itself (Java's `StreamTokenizer`).
_ESCAPED: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_FLAGS: Final = frozenset({"required", "requisite", "sufficient", "optional"})

_Options = dict[str, str]


def read_jaas(
    path: str | os.PathLike[str], section: str = "Client", *, service: str = "zookeeper"
) -> DigestMD5 | Kerberos:
    """Return the mechanism that a JAAS file describes: `zk.connect(…, sasl=zk.read_jaas("/etc/jaas.conf"))`.

    Two login modules are supported: ZooKeeper's `DigestLoginModule` (`username`, `password`), and Java's
    `Krb5LoginModule` (`principal`, `useKeyTab` with `keyTab`, or `useTicketCache` with `ticketCache`). Their
    other options are for Java and are ignored. If a section has several modules, the first one counts.

    Args:
        path: the file, in UTF-8.
        section: the login context. Java's clients of ZooKeeper use `Client` unless
            `zookeeper.sasl.clientconfig` names another one. Other programs call it `sasl.login-context-name`.
        service: for Kerberos, the first part of the servers' principals. Java calls it
            `zookeeper.sasl.client.username`; other programs call it `sasl.service-name`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a JAAS file, it has no such section, or the section is not supported. The
            message names the line or the option, and shows no secret. Or `service` is not valid.
        ModuleNotFoundError: the file requires Kerberos, and the package `gssapi` is missing.
    """
    if "{" in os.fspath(path) or "\n" in os.fspath(path):
        del path  # which may hold a password
        raise ValueError("path must be the path of a file, not its content")
    # A decoding error would contain the whole text.
    text = Path(path).read_bytes().decode("utf-8", errors="replace")
    try:
        return _mechanism(text, section, service)
    except ValueError as error:
        reason = str(error)
    finally:
        # No local variable may hold a secret when the error is raised: some tracebacks show local variables.
        del text
    raise ValueError(f"{os.fspath(path)}: {reason}")


# --- mechanisms ------------------------------------------------------------------------------------------


@hides_arguments
def _mechanism(text: str, section: str, service: str) -> DigestMD5 | Kerberos:
    if "\ufffd" in text:
        raise ValueError("the file must be encoded in UTF-8")
    modules = dict(_sections(_Tokens(text)))
    if section not in modules:
        found = ", ".join(sorted(modules)) or "none"
        raise ValueError(f"the file must have a section {section}; its sections: {found}")
    name, options = modules[section]
    match name.rpartition(".")[2]:
        case "DigestLoginModule":
            return _digest(options)
        case "Krb5LoginModule":
            return _kerberos(options, service)
    raise ValueError(f"the login module must be DigestLoginModule or Krb5LoginModule, not {name}")


def _digest(options: _Options) -> DigestMD5:
    for name in ("username", "password"):
        if name not in options:
            raise ValueError(f"DigestLoginModule must have the option {name}")
    return DigestMD5(options["username"], options["password"])


def _kerberos(options: _Options, service: str) -> Kerberos:
    principal = options.get("principal")
    if _is_on(options, "useKeyTab"):
        if "keyTab" not in options:
            raise ValueError("Krb5LoginModule must have keyTab if it has useKeyTab")
        return Kerberos(principal=principal, keytab=_without_scheme(options["keyTab"]), service=service)
    if _is_on(options, "useTicketCache"):
        cache = options.get("ticketCache")
        cache_file = None if cache is None else _without_scheme(cache)
        return Kerberos(principal=principal, cache_file=cache_file, service=service)
    raise ValueError(
        "Krb5LoginModule must have useKeyTab or useTicketCache: without them it asks for a password"
    )


def _is_on(options: _Options, name: str) -> bool:
    return options.get(name, "false").lower() == "true"


def _without_scheme(path: str) -> str:
    return path.removeprefix("FILE:").removeprefix("file:")


# --- reading ---------------------------------------------------------------------------------------------


class _Module(NamedTuple):
    name: str
    options: _Options


@final
class _Tokens:
    """The tokens of a file: words, strings and marks; `next` is the next token, and `line` is its line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self.line = 1
        self.next: str | None = None
        self._is_mark = False
        self._advance()

    def take(self, *marks: str) -> str:
        """Return the next token and advance: one of the marks or, without marks, a word or a string."""
        token = self.next
        is_expected = self._is_mark and token in marks if marks else not self._is_mark
        if token is None or not is_expected:
            expected = " or ".join(marks) or "a name or a value"
            raise ValueError(f"line {self.line}: expected {expected}")
        self._advance()
        return token

    def _advance(self) -> None:
        self.next = None
        while self._position < len(self._text):
            found = _TOKEN.match(self._text, self._position)
            if found is None:
                raise ValueError(f"line {self.line}: syntax error")
            if found.lastgroup == "single":
                raise ValueError(f"line {self.line}: a value must be in double quotes, not in single quotes")
            self.line += self._text.count("\n", self._position, found.end())
            self._position = found.end()
            if found.lastgroup != "blank":
                self._is_mark = found.lastgroup == "mark"
                is_quoted = found.lastgroup == "quoted"
                self.next = _unescape(found["quoted"]) if is_quoted else found[0]
                return


def _sections(tokens: _Tokens) -> Iterator[tuple[str, _Module]]:
    """Yield each section with the first of its modules."""
    while tokens.next is not None:
        name = tokens.take()
        tokens.take("{")
        first = _read_module(tokens)
        while tokens.next != "}":
            _read_module(tokens)
        tokens.take("}")
        tokens.take(";")
        yield name, first


def _read_module(tokens: _Tokens) -> _Module:
    name = tokens.take()
    if (tokens.next or "").lower() not in _FLAGS:
        raise ValueError(f"line {tokens.line}: expected one of {', '.join(sorted(_FLAGS))}")
    tokens.take()
    options: _Options = {}
    while tokens.next != ";":
        option = tokens.take()
        tokens.take("=")
        options[option] = tokens.take()
        if "${" in options[option]:
            raise ValueError(f"{option} must not refer to a system property of Java (${{…}})")
    tokens.take(";")
    return _Module(name, options)


def _unescape(quoted: str) -> str:
    return _ESCAPE.sub(_meaning, quoted)


def _meaning(escape: re.Match[str]) -> str:
    octal, letter = escape["octal"], escape["letter"]
    return chr(int(octal, 8)) if octal else _ESCAPED.get(letter, letter)

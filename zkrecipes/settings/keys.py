"""The table of our keys: the option of `connect` that each one sets, and the form of its value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

from zkrecipes.settings import values
from zkrecipes.settings.entries import Entry
from zkrecipes.settings.properties import is_unescaped_path

__all__ = ["KEYS", "OPTIONS_WITHOUT_KEY", "Key"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, without its prefix."""

    name: str
    option: str
    """The option of `connect` that it sets, alone or with others; `enabled` for `Settings.enabled`."""
    form: str
    """The form of the value, for the documentation."""
    read: Callable[[str], object] = values.text
    """Returns the value, or raises a `ValueError` with the requirement."""
    cut: Callable[[str], str] | None = None
    """Cuts a trailing comment; None if the value may contain `#`."""
    aliases: tuple[str, ...] = ()
    is_secret: bool = False
    is_path: bool = False
    is_shown: bool = True
    """Whether `repr` shows the value. An ACL may contain the digest of a password."""
    is_list: bool = False
    """Whether the value is a list in TOML and YAML, and elsewhere may have the keys `name.1`, `name.2` …"""

    def value_of(self, entry: Entry) -> object:
        """Return the value of an entry.

        Raises:
            SettingsError: it is not valid; the error shows no secret.
        """
        written = self._text_of(entry)
        if not written.strip():
            raise entry.error("must not be empty; remove the key if you need the default")
        if any("\ud800" <= each <= "\udfff" for each in written):
            raise entry.error("must not contain a lone surrogate (half a character)")
        try:
            return self.read(written)
        except ValueError as error:
            reason = str(error)
        raise entry.error(reason)

    def _text_of(self, entry: Entry) -> str:
        if self.is_path and entry.raw is not None and is_unescaped_path(entry.raw):
            return entry.raw.strip()
        if entry.mistake is not None:
            raise entry.error(entry.mistake)
        if self.is_secret and entry.hash_mistake is not None:
            raise entry.error(entry.hash_mistake)
        if self.is_secret:
            return entry.value
        return entry.value.strip() if self.cut is None else self.cut(entry.value)


def _boolean(name: str, option: str) -> Key:
    return Key(name=name, option=option, form="true or false", read=values.boolean, cut=values.cut_comment)


def _path(name: str, option: str, form: str) -> Key:
    return Key(name=name, option=option, form=form, is_path=True)


def _word(name: str, option: str, form: str) -> Key:
    return Key(name=name, option=option, form=form, read=values.word)


KEYS: Final = (
    _boolean("enabled", "enabled"),
    Key(
        name="connection-string",
        option="hosts",
        form="`host:port,host:port`, with a chroot if you like",
        read=values.hosts,
        cut=values.cut_comment_after_hosts,
        aliases=("connect-string", "hosts"),
        is_list=True,
    ),
    Key(
        name="chroot",
        option="hosts",
        form="a path; only if the connection string has no chroot",
        read=values.chroot,
        cut=values.cut_comment_after_hosts,
    ),
    Key(
        name="session-timeout",
        option="session_timeout",
        form="a time, at most 1000 s",
        read=values.duration(limit=values.SECONDS_MAX),
        cut=values.cut_comment,
    ),
    Key(
        name="connect-timeout",
        option="connect_timeout",
        form="a time, or `none` for no limit",
        read=values.duration_or_none(),
        cut=values.cut_comment,
    ),
    Key(
        name="tick-time",
        option="tick_time",
        form="a time",
        read=values.duration(limit=math.inf),
        cut=values.cut_comment,
    ),
    Key(
        name="max-packet-size",
        option="max_packet_size",
        form="a number of bytes",
        read=values.bytes_count,
        cut=values.cut_comment,
    ),
    _boolean("create-chroot", "create_chroot"),
    _boolean("follow-config", "follow_config"),
    _boolean("keep-session", "keep_session"),
    _boolean("read-only", "read_only"),
    _boolean("renew", "renew"),
    Key(
        name="default-acl",
        option="default_acl",
        form="`open`, `read`, `creator`, or entries `scheme:id:permissions` with commas between them",
        read=values.acl,
        is_shown=False,
    ),
    Key(
        name="auth",
        option="auth",
        form="`scheme:credential`, such as `digest:user:password`",
        is_secret=True,
        is_shown=False,
        is_list=True,
    ),
    _boolean("tls.enabled", "tls"),
    _path("tls.ca-file", "tls", "a path"),
    _path("tls.cert-file", "tls", "a path"),
    _path("tls.key-file", "tls", "a path"),
    Key(name="tls.key-password", option="tls", form="text", is_secret=True, is_shown=False),
    _boolean("tls.verify-host-name", "tls"),
    Key(
        name="sasl.mechanism",
        option="sasl",
        form="`digest-md5` or `kerberos`; may be left out if other keys of `sasl` show it",
        read=values.mechanism,
        cut=values.cut_comment,
    ),
    Key(name="sasl.username", option="sasl", form="text (DIGEST-MD5)"),
    Key(name="sasl.password", option="sasl", form="text (DIGEST-MD5)", is_secret=True, is_shown=False),
    _word("sasl.principal", "sasl", "the client's principal (Kerberos)"),
    _path("sasl.keytab", "sasl", "a path (Kerberos)"),
    _path("sasl.cache-file", "sasl", "a path (Kerberos)"),
    _word("sasl.service-name", "sasl", "the first part of the servers' principals (Kerberos)"),
    _word("sasl.server-realm", "sasl", "a realm (Kerberos)"),
    _word("sasl.server-principal", "sasl", "a principal (Kerberos)"),
    _path("sasl.jaas-file", "sasl", "the path of a Java client's JAAS file, instead of the keys above"),
    _word("sasl.login-context-name", "sasl", "the section of the JAAS file"),
)
"""All keys."""

OPTIONS_WITHOUT_KEY: Final[Mapping[str, str]] = {
    "resume": "the key of a session is made while a program runs, and is as secret as a password",
    "instrument": "a Python object",
    "network": "a Python object",
}
"""The options of `connect` that no file can set, and the reason."""

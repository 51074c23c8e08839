"""Flink's configuration: its flat file `flink-conf.yaml`, and its keys for ZooKeeper.

The keys are those of `HighAvailabilityOptions` and `SecurityOptions`, the flat format that of
`GlobalConfiguration.loadYAMLResource` up to 1.18: a line is cut at its first `#`, then split at its first
colon that a blank follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from zkrecipes.settings import values
from zkrecipes.settings.entries import Entry
from zkrecipes.settings.keys import KEYS, Key
from zkrecipes.settings.properties import natural_lines

__all__ = ["FLINK_KEYS", "FLINK_PREFIX", "IGNORED_KEYS", "KERBEROS_CONTEXTS", "SASL_DISABLE", "read_flat"]

FLINK_PREFIX: Final = "high-availability.zookeeper.client."
"""Unknown keys below it are logged, as those below our prefix are."""

_OURS: Final = {key.name: key for key in KEYS}
_KEY_AT_START: Final = re.compile(r"[\w.\-]+")
_HAS_HASH: Final = (
    "must not contain '#': Flink cuts a line of this file there (move the key to config.yaml, "
    "or to the environment)"
)


def _is_zookeeper(value: str) -> bool:
    return value.lower() == "zookeeper"


def _without_blanks(value: str) -> str:
    return values.hosts("".join(value.split()))


def _named(name: str, key: Key) -> Key:
    return replace(key, name=name, aliases=())


_SWITCH: Final = replace(_OURS["enabled"], read=_is_zookeeper)
_MILLISECONDS: Final = replace(_OURS["session-timeout"], read=values.duration("ms", limit=values.SECONDS_MAX))
KERBEROS_CONTEXTS: Final = Key(name="flink.kerberos-contexts", option="sasl", form="a list", is_list=True)
"""The JAAS sections for which Flink uses its Kerberos credentials; ZooKeeper's is `Client` by default."""
SASL_DISABLE: Final = replace(_OURS["tls.enabled"], name="flink.sasl-disable", option="sasl")
"""Whether Flink uses no SASL with ZooKeeper."""

FLINK_KEYS: Final = {
    "high-availability.type": _SWITCH,
    "high-availability": _SWITCH,
    "recovery.mode": _SWITCH,
    "high-availability.zookeeper.quorum": replace(_OURS["connection-string"], read=_without_blanks),
    "high-availability.zookeeper.client.session-timeout": _MILLISECONDS,
    "high-availability.zookeeper.client.connection-timeout": replace(
        _OURS["connect-timeout"], read=values.duration("ms")
    ),
    "high-availability.zookeeper.client.acl": _OURS["default-acl"],
    "high-availability.zookeeper.client.ensemble-tracker": _OURS["follow-config"],
    "zookeeper.sasl.disable": SASL_DISABLE,
    "zookeeper.sasl.service-name": _OURS["sasl.service-name"],
    "zookeeper.sasl.login-context-name": _OURS["sasl.login-context-name"],
    "security.kerberos.login.contexts": KERBEROS_CONTEXTS,
    "security.kerberos.login.keytab": _named("flink.keytab", _OURS["sasl.keytab"]),
    "security.kerberos.login.principal": _named("flink.principal", _OURS["sasl.principal"]),
}
"""Flink's key for each of our settings. The last four only have an effect together (`sasl.py`)."""

IGNORED_KEYS: Final = re.compile(
    r"zookeeper\.heap\.mb|high-availability\.zookeeper\.client\."
    r"(?:retry-wait|max-retry-attempts|tolerate-suspended-connections|max-close-wait"
    r"|simulated-session-expiration-percent)"
)
"""Matches Flink's keys that have no counterpart here. They are not logged."""


def read_flat(text: str, source: str) -> Iterator[Entry]:
    """Yield the entries of a `flink-conf.yaml`. A line that Flink skips is a mistake."""
    for number, line in enumerate(natural_lines(text), start=1):
        content, has_hash, _ = line.partition("#")
        key, separator, value = content.strip().partition(": ")
        if separator:
            mistake = _HAS_HASH if has_hash else None
            yield Entry(key.strip(), value.strip(), source, number, hash_mistake=mistake)
            continue
        match = _KEY_AT_START.match(key)
        if match is not None:
            yield Entry(
                match[0], "", source, number, mistake="must be followed by a colon, a blank and a value"
            )

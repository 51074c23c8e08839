"""The SASL mechanism that the given settings stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from zkrecipes.client.jaas import read_jaas
from zkrecipes.codec.secret import hides_arguments
from zkrecipes.net.kerberos import Kerberos
from zkrecipes.protocol.digest_md5 import DigestMD5
from zkrecipes.protocol.sasl import SaslMechanism
from zkrecipes.settings.given import GivenSettings
from zkrecipes.settings.options import construct

__all__ = ["SaslSource", "sasl_source"]

SaslSource = Callable[[], SaslMechanism]
"""Makes the mechanism when a client connects, because it may need a file (JAAS) or a package (Kerberos)."""

_DIGEST_FIELDS: Final = {"username": "sasl.username", "password": "sasl.password"}
_KERBEROS_FIELDS: Final = {
    "principal": "sasl.principal",
    "keytab": "sasl.keytab",
    "cache_file": "sasl.cache-file",
    "service": "sasl.service-name",
    "server_realm": "sasl.server-realm",
    "server_principal": "sasl.server-principal",
}
_FLINK_FIELDS: Final = {
    "principal": "flink.principal",
    "keytab": "flink.keytab",
    "service": "sasl.service-name",
}
_SECTION: Final = "sasl.login-context-name"
# The keys that only refine what another key selects. Flink has these two for every mechanism.
_REFINING: Final = ("sasl.service-name", _SECTION)


@hides_arguments
def sasl_source(given: GivenSettings, *, with_flink: bool) -> SaslSource | None:
    """Return the source of the mechanism, or None for no SASL. The values are checked now.

    Raises:
        SettingsError: keys of different mechanisms are given, or one is missing.
    """
    names = [name for name in given.names("sasl") if name.startswith("sasl.")]
    if with_flink and not set(names) - set(_REFINING):
        return _flink(given)
    if "sasl.jaas-file" in names:
        return _jaas(given, names)
    mechanism = given.text("sasl.mechanism") or _implied_mechanism(names)
    if mechanism is None:
        _refuse(given, names, "requires sasl.mechanism, or sasl.jaas-file")
        return None
    is_digest = mechanism == "digest-md5"
    own = _DIGEST_FIELDS if is_digest else _KERBEROS_FIELDS
    foreign = set(names) - set(own.values()) - {"sasl.mechanism"}
    _refuse(given, [name for name in names if name in foreign], f"must be removed for {mechanism}")
    for name in own.values():
        if is_digest and name not in names:
            raise given.entry(names[0]).error(f"requires {name}, if the mechanism is {mechanism}")
    return _digest(given) if is_digest else _kerberos(given, _KERBEROS_FIELDS)


def _implied_mechanism(names: Iterable[str]) -> str | None:
    if any(name in _DIGEST_FIELDS.values() for name in names):
        return "digest-md5"
    kerberos = set(_KERBEROS_FIELDS.values()) - set(_REFINING)
    return "kerberos" if any(name in kerberos for name in names) else None


def _digest(given: GivenSettings) -> SaslSource:
    source = partial(construct, DigestMD5, _DIGEST_FIELDS, given)
    source()
    return source


def _kerberos(given: GivenSettings, fields: dict[str, str]) -> SaslSource:
    present = {field: name for field, name in fields.items() if name in given}
    source: SaslSource = partial(construct, Kerberos, present, given) if present else Kerberos
    with suppress(ModuleNotFoundError):  # its values were checked before; connecting reports the package
        source()
    return source


def _jaas(given: GivenSettings, names: Iterable[str]) -> SaslSource:
    allowed = {"sasl.jaas-file", *_REFINING}
    _refuse(
        given, [name for name in names if name not in allowed], "must be removed, or sasl.jaas-file must be"
    )
    path = given.text("sasl.jaas-file")
    assert path is not None
    section, service = given.text(_SECTION) or "Client", given.text("sasl.service-name") or "zookeeper"
    return partial(read_jaas, path, section, service=service)


def _flink(given: GivenSettings) -> SaslSource | None:
    """Return Kerberos if Flink uses it for ZooKeeper, as its list of login contexts shows."""
    listed = ",".join(str(value) for _, value in given.items("flink.kerberos-contexts"))
    contexts = [each.strip() for each in listed.split(",")]
    section = given.text(_SECTION) or "Client"
    if given.value("flink.sasl-disable") is True or section not in contexts:
        return None
    return _kerberos(given, _FLINK_FIELDS)


def _refuse(given: GivenSettings, names: Iterable[str], reason: str) -> None:
    """Raise an error for the first of the keys, if there is one."""
    for name in names:
        raise given.entry(name).error(reason)

"""The options of `connect` that the given settings stand for, except for SASL."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict, TypeVar, cast, final

from zkrecipes.acl import ACL
from zkrecipes.client.instrument import Instrument
from zkrecipes.codec.secret import hides_arguments
from zkrecipes.net.connect_string import parse_connect_string
from zkrecipes.net.session import SessionKey
from zkrecipes.net.transport.network import Network
from zkrecipes.net.transport.tls import TLS
from zkrecipes.protocol.sasl import SaslMechanism
from zkrecipes.settings.given import GivenSettings

__all__ = ["ConnectOptions", "connect_options", "connect_string", "construct"]

_SIMPLE: Final = (
    "session-timeout", "connect-timeout", "tick-time", "max-packet-size", "create-chroot", "follow-config",
    "keep-session", "read-only", "renew", "default-acl",
)  # fmt: skip

T = TypeVar("T")


@final
class ConnectOptions(TypedDict, total=False):
    """The options of `connect`, except for `hosts`, as a dictionary: `zk.connect(hosts, **options)`."""

    session_timeout: float
    connect_timeout: float | None
    auth: Sequence[tuple[str, str | bytes]]
    sasl: SaslMechanism | None
    default_acl: Sequence[ACL] | None
    read_only: bool
    renew: bool
    resume: SessionKey | None
    keep_session: bool
    create_chroot: bool
    tick_time: float | None
    max_packet_size: int
    tls: TLS | ssl.SSLContext | None
    follow_config: bool
    instrument: Instrument | None
    network: Network | None


def connect_string(given: GivenSettings) -> str | None:
    """Return the hosts with the chroot, or None if no hosts are given.

    Raises:
        SettingsError: there are two chroots, or the items of a list do not make a connect string.
    """
    items = given.items("connection-string")
    chroot = given.text("chroot")
    if not items:
        return None
    hosts = ",".join(str(value).strip().removesuffix(",") for _, value in items)
    try:
        parsed = parse_connect_string(hosts)
        if chroot is None or not parsed.chroot:
            return ",".join(map(str, parsed.hosts)) + (parsed.chroot or chroot or "")
        error = given.entry("chroot").error("must be removed, because the connection string has a chroot")
    except ValueError as mistake:
        error = items[-1][0].error(str(mistake))
    raise error


@hides_arguments
def connect_options(given: GivenSettings) -> ConnectOptions:
    """Return the options that are given, without `sasl`. They may contain secrets.

    Raises:
        SettingsError: values contradict each other, or a credential is not valid.
    """
    options: dict[str, Any] = {name.replace("-", "_"): given.value(name) for name in _SIMPLE if name in given}
    if "auth" in given:
        options["auth"] = _auth(given)
    tls = _tls(given)
    if tls is not None:
        options["tls"] = tls
        if options.get("follow_config"):
            raise given.entry("follow-config").error(
                "must be false with TLS: the ensemble's configuration names no secure ports"
            )
    return cast("ConnectOptions", options)


def _auth(given: GivenSettings) -> list[tuple[str, str]]:
    pairs = []
    for entry, value in given.items("auth"):
        scheme, colon, credential = str(value).partition(":")
        if not (scheme and colon) or (scheme == "digest" and ":" not in credential):
            raise entry.error("must be 'scheme:credential', for example 'digest:user:password'")
        pairs.append((scheme, credential))
    return pairs


def _tls(given: GivenSettings) -> TLS | None:
    names = given.names("tls")
    if not names or given.value("tls.enabled") is False:
        return None
    fields = {_field(name): name for name in names if name != "tls.enabled"}
    return construct(TLS, fields, given)


def _field(name: str) -> str:
    return name.removeprefix("tls.").replace("-", "_")


# --- shared with sasl.py -----------------------------------------------------------------------------------


@hides_arguments
def construct(make: Callable[..., T], fields: Mapping[str, str], given: GivenSettings) -> T:
    """Return `make(field=value, …)` with the values of keys.

    Args:
        make: a class of ours. Its errors begin with the name of a field.
        fields: the key of each field.
        given: the values.

    Raises:
        SettingsError: the class refused a value. The error has the place of its key.
    """
    try:
        return make(**{field: given.value(name) for field, name in fields.items()})
    except ValueError as error:
        reason = str(error)
    field = next((each for each in fields if reason.startswith(f"{each} ")), next(iter(fields)))
    reason = reason.removeprefix(f"{field} ")
    raise given.entry(fields[field]).error(re.sub(r"(?<=[a-z])_(?=[a-z])", "-", reason))

"""The ids that a server accepts in an ACL, and the addresses that an `ip` id admits. Pure.

The rules are those of `DigestAuthenticationProvider`, `IPAuthenticationProvider` and
`X509AuthenticationProvider` (3.9), which leave much to Java's parsers: `Integer.parseInt` and
`X500Principal`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

__all__ = ["admits_address", "is_valid_id"]

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_ATTRIBUTE: Final = (
    r"\s*(?:(?:C|CN|DC|DNQ|DNQUALIFIER|EMAIL|EMAILADDRESS|GENERATION|GIVENNAME|INITIALS|IP|L|O|OU|S|SERIALNUMBER"
    r"|ST|STREET|SURNAME|T|UID)|(?:OID\.)?[0-2](?:\.[0-9]+)+)\s*="
    # No blank may match in two ways: matching a long value would take exponential time.
    r"(?:\s*\#(?:[0-9a-f]{2})+\s*|\s*\"(?:[^\"\\]|\\.)*\"\s*|(?!\s*\#)(?:[^,;+\"\\<>]|\\.)*)"
)
_DISTINGUISHED_NAME: Final = re.compile(f"(?:{_ATTRIBUTE}(?:[,;+]{_ATTRIBUTE})*)?", re.IGNORECASE | re.DOTALL)


def is_valid_id(scheme: str, name: str) -> bool:
    """Whether a server accepts this id of the scheme `digest`, `ip` or `x509`; False for any other scheme."""
    if scheme == "digest":
        # `id.split(":").length == 2` in Java, which ignores empty parts at the end.
        return len(name.rstrip(":").split(":")) == 2
    if scheme == "ip":
        return _network(name) is not None
    return scheme == "x509" and _DISTINGUISHED_NAME.fullmatch(name) is not None


def admits_address(name: str, address: str) -> bool:
    """Whether an `ip` id in an ACL, an address or a network, matches a client's address."""
    network, client = _network(name), _address(address)
    return network is not None and client is not None and client in network


def _network(name: str) -> IPv4Network | IPv6Network | None:
    text, slash, bits = name.partition("/")
    address = _address(text)
    if address is None:
        return None
    if not slash:
        return ip_network(address)
    if not _INTEGER.fullmatch(bits) or not 0 <= int(bits) <= address.max_prefixlen:
        return None
    return ip_network((address, int(bits)), strict=False)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        if ":" in text:
            return None if "%" in text else IPv6Address(text)
        # Java reads each part as a decimal integer, with leading zeros and a sign.
        parts = [int(part) for part in text.split(".") if _INTEGER.fullmatch(part)]
        return IPv4Address(bytes(parts)) if len(parts) == 4 == text.count(".") + 1 else None
    except ValueError:
        return None

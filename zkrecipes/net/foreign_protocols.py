"""Recognises services other than ZooKeeper by the first bytes that they send."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["FIRST_BYTES_MAX", "describe_foreign_protocol"]

FIRST_BYTES_MAX: Final = 24
"""The number of bytes that are enough to recognise each of them."""

# The answer of each to ZooKeeper's greeting, or its own greeting.
_SERVICES: Final = (
    (re.compile(rb"\x15\x03"), "it answers with a TLS alert: this is a port for TLS (`tls=`)"),
    (
        re.compile(rb"HTTP/|<(!DOCTYPE|html)"),
        "HTTP: is this the port of the AdminServer?",
    ),
    (re.compile(rb"SSH-"), "SSH"),
    (re.compile(rb"220[ -]"), "SMTP or FTP"),
    (re.compile(rb"-(ERR|NOAUTH|DENIED|LOADING)\b"), "Redis's protocol"),
    (re.compile(rb"ERROR\r\n|CLIENT_ERROR"), "memcached's protocol"),
    (re.compile(rb".\x00\x00\x00\x0a[\d.]|.\x00\x00\x00\xff", re.DOTALL), "MySQL's protocol"),
    (re.compile(rb"E\x00\x00\x00.S|EFATAL", re.DOTALL), "PostgreSQL's protocol"),
    (re.compile(rb"AMQP"), "AMQP"),
    (re.compile(rb"\* OK|\+OK"), "IMAP or POP3"),
)


def describe_foreign_protocol(first_bytes: bytes) -> str:
    """Name the service as a reason why it attaches no session; empty if it is not recognised."""
    for pattern, name in _SERVICES:
        if pattern.match(first_bytes):
            return name if name.startswith("it ") else f"it speaks {name}"
    return ""

"""Answers to four-letter words, in the form that tools parse (`server/command/*.java`, 3.9)."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["VERSION", "Status", "answer"]

# Clients look for the number (kazoo: what a server can do; aiozk: whether there is create2).
VERSION = "3.9.5-zkrecipes, built on 2025-01-01 00:00 UTC"
"""What the server says it is: the version whose behaviour it has."""


class Status(NamedTuple):
    """What the words tell of a server."""

    zxid: int
    node_count: int
    connections: int


def answer(word: str, status: Status) -> str:
    """The whole answer to a word."""
    if word == "ruok":
        return "imok"
    if word == "isro":
        return "rw"
    if word == "srvr":
        return _srvr(status)
    if word == "envi":
        return f"Environment:\nzookeeper.version={VERSION}\n"
    return f"{word} is not executed because it is not in the whitelist.\n"


def _srvr(status: Status) -> str:
    return (
        f"Zookeeper version: {VERSION}\n"
        "Latency min/avg/max: 0/0.0/0\n"
        f"Connections: {status.connections}\n"
        "Outstanding: 0\n"
        f"Zxid: 0x{status.zxid:x}\n"
        "Mode: standalone\n"
        f"Node count: {status.node_count}\n"
    )

"""ZooKeeper's four-letter words: the client sends a word, and the server answers with text and closes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

import anyio

__all__ = ["ServerStatus", "ask", "parse_mntr", "parse_srvr"]


@final
@dataclass(frozen=True)
class ServerStatus:
    """The status of a serving server, from its answer to `srvr`."""

    version: str
    """The version, such as `3.8.0`, without the build number."""
    mode: str
    """`standalone`, `leader`, `follower`, `observer` or `read-only`."""
    zxid: int
    """The zxid of the last transaction that the server has applied."""
    node_count: int
    """The number of znodes in its tree, including ZooKeeper's own."""
    connections: int
    """The number of connected clients, including the connection of this request."""


async def ask(host: str, port: int, word: str) -> str:
    """Send a four-letter word and read the whole answer.

    There is no time limit: a stopped process accepts the connection and never answers, so use
    `anyio.fail_after`.

    Args:
        host: the server's address.
        port: its client port.
        word: `ruok`, `srvr`, `mntr` … if it is in the server's `4lw.commands.whitelist`.

    Raises:
        OSError: nothing listens there, or the connection broke.
    """
    answer = bytearray()
    async with await anyio.connect_tcp(host, port) as stream:
        try:
            await stream.send(word.encode("ascii"))
            async for chunk in stream:
                answer += chunk
        except anyio.BrokenResourceError as error:
            raise ConnectionResetError(f"{host}:{port} broke the connection on {word!r}") from error
    return answer.decode("utf-8", "replace")


def parse_srvr(text: str) -> ServerStatus | None:
    """Parse the answer to `srvr`.

    Returns:
        The status; None if the server is not serving or the answer is something else.
    """
    version = re.search(r"^Zookeeper version: ([^-,\s]+)", text, re.MULTILINE)
    mode = re.search(r"^Mode: (\S+)", text, re.MULTILINE)
    zxid = re.search(r"^Zxid: (0x[0-9a-f]+)", text, re.MULTILINE)
    if version is None or mode is None or zxid is None:
        return None
    return ServerStatus(
        version=version[1],
        mode=mode[1],
        zxid=int(zxid[1], 16),
        node_count=_number("Node count", text),
        connections=_number("Connections", text),
    )


def parse_mntr(text: str) -> dict[str, str]:
    """Parse the answer to `mntr`.

    Returns:
        The unparsed values by names such as `zk_synced_followers`; empty if the server is not serving.
    """
    return dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)


def _number(title: str, text: str) -> int:
    found = re.search(rf"^{title}: (\d+)", text, re.MULTILINE)
    return 0 if found is None else int(found[1])

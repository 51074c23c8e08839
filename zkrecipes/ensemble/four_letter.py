"""ZooKeeper's four-letter words: one word is asked, text is answered, and the connection is closed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

import anyio

__all__ = ["ServerStatus", "ask", "parse_mntr", "parse_srvr"]


@final
@dataclass(frozen=True)
class ServerStatus:
    """What a serving server says of itself in answer to `srvr`."""

    version: str
    """Such as `3.8.0`, without the build that follows it."""
    mode: str
    """`standalone`, `leader`, `follower`, `observer` or `read-only`."""
    zxid: int
    """The last transaction that it has applied."""
    node_count: int
    """How many znodes its tree has, ZooKeeper's own among them."""
    connections: int
    """How many clients are connected, the one that asks among them."""


async def ask(host: str, port: int, word: str) -> str:
    """Send a four-letter word and read the whole answer.

    There is no limit in time: a stopped process accepts and does not answer, so use `anyio.fail_after`.

    Args:
        host: the server's address.
        port: its client port.
        word: `ruok`, `srvr`, `mntr` … as far as the server's `4lw.commands.whitelist` has it.

    Raises:
        OSError: nobody listens there, or the connection broke.
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
    """Read the answer to `srvr`.

    Returns:
        None where the server says that it is not serving, or answers anything else.
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
    """Read the answer to `mntr`: names such as `zk_synced_followers`, and their values as they stand.

    Returns:
        An empty dict where the server says that it is not serving.
    """
    return dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)


def _number(title: str, text: str) -> int:
    found = re.search(rf"^{title}: (\d+)", text, re.MULTILINE)
    return 0 if found is None else int(found[1])

"""Sends a four-letter word on a separate connection; the server answers with text and closes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from zkrecipes.net.transport.network import Address, Network

__all__ = ["SIZE_MAX", "ask"]

SIZE_MAX: Final = 64 * 1024
"""The largest answer, in bytes, to a word that concerns only the server and not its clients."""


async def ask(
    network: Network,
    address: Address,
    word: bytes,
    *,
    size_max: int = SIZE_MAX,
    is_enough: Callable[[bytes], object] = lambda _: False,
) -> bytes:
    """Return the answer of the server at `address`. Only the caller limits the time.

    Args:
        network: opens the connection.
        address: the server's client port.
        word: `srvr`, `isro` …
        size_max: the number of bytes after which reading stops.
        is_enough: returns whether the bytes so far are the whole answer, because a proxy may keep open the
            connection that the server closes.

    Raises:
        OSError: the connection could not be opened, or it broke.
    """
    stream = await network.connect(*address)
    answer = b""
    try:
        await stream.send(word)
        while len(answer) < size_max and not is_enough(answer) and (received := await stream.receive()):
            answer += received
    finally:
        with anyio.CancelScope(shield=True):
            await stream.aclose()
    return answer

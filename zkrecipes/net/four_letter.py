"""Four-letter words: one is asked on a connection of its own, text is answered, and the server closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from zkrecipes.net.transport.network import Address, Network

__all__ = ["SIZE_MAX", "ask"]

SIZE_MAX: Final = 64 * 1024
"""Bytes, more than any word answers that is about one server and not about all of its clients."""


async def ask(
    network: Network,
    address: Address,
    word: bytes,
    *,
    size_max: int = SIZE_MAX,
    is_enough: Callable[[bytes], object] = lambda _: False,
) -> bytes:
    """The answer of the server at `address`. There is no time limit but the caller's.

    Args:
        network: where the server is.
        address: of its client port.
        word: `srvr`, `isro` …
        size_max: no more is read once there are so many bytes.
        is_enough: whether what has come so far will do; a proxy may leave open what the server closes.

    Raises:
        OSError: nobody listens there, or the connection broke.
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

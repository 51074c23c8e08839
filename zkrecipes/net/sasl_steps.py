"""Takes the steps of SASL exchanges: those that may last in a thread, so that the loop goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio import to_thread
from anyio.lowlevel import checkpoint

from zkrecipes.protocol.sasl import SaslExchange

__all__ = ["begin", "respond"]


async def begin(exchange: SaslExchange) -> bytes:
    """The first token; see `SaslExchange.begin`.

    Cancellation: at once; a thread that asks a KDC ends by itself.
    """
    return bytes(await _take(exchange, exchange.begin))


async def respond(exchange: SaslExchange, challenge: bytes | None) -> bytes | None:
    """The next token; see `SaslExchange.respond`.

    Cancellation: as above.
    """
    token: bytes | None = await _take(exchange, exchange.respond, challenge)
    return token


async def _take(exchange: SaslExchange, step: Callable[..., Any], *arguments: Any) -> Any:
    if exchange.blocks:
        return await to_thread.run_sync(step, *arguments, abandon_on_cancel=True)
    await checkpoint()
    return step(*arguments)

"""Runs the steps of SASL exchanges, those that may block in a thread, so that the loop continues.

Kerberos' library waits a minute for a KDC that is silent, and cannot be interrupted. In anyio's threads it
would delay the caller's own work in threads and, on asyncio, the end of the process. So these steps run in a
few separate threads, and no task waits for those that were given up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import BoundedSemaphore, Thread
from typing import Any, Final, final

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from zkrecipes.codec.secret import SecretBytes
from zkrecipes.net.wakeup import callable_from_threads
from zkrecipes.protocol.sasl import SaslExchange

__all__ = ["begin", "respond"]

_THREADS_MAX: Final = 8
"""In the process. Attempts may be given up one after another while a KDC is silent."""
_threads_left: Final = BoundedSemaphore(_THREADS_MAX)


async def begin(exchange: SaslExchange) -> bytes:
    """Return the first token; see `SaslExchange.begin`.

    Raises:
        ConnectionError: too many earlier questions are still unanswered.

    Cancellation: immediate; a thread that waits for a KDC ends later.
    """
    return SecretBytes(await _run_step(exchange, exchange.begin))


async def respond(exchange: SaslExchange, challenge: bytes | None) -> bytes | None:
    """Return the next token; see `SaslExchange.respond`.

    Raises, cancellation: as above.
    """
    token: bytes | None = await _run_step(exchange, partial(exchange.respond, challenge))
    return None if token is None else SecretBytes(token)


async def _run_step(exchange: SaslExchange, step: Callable[[], Any]) -> Any:
    if not exchange.blocks:
        await checkpoint()
        return step()
    await checkpoint_if_cancelled()
    if not _threads_left.acquire(blocking=False):
        raise ConnectionAbortedError(f"the KDC has not answered {_THREADS_MAX} earlier questions yet")
    return await _StepInThread(step).outcome()


@final
class _StepInThread:
    """A step that runs to its end even if no task waits for it; its thread counts until then."""

    def __init__(self, step: Callable[[], Any]) -> None:
        self._step = step
        self._token: Any = None
        self._error: BaseException | None = None
        self._ended = anyio.Event()
        self._notify = callable_from_threads(self._ended.set)
        # A daemon, so that the end of the process does not wait for a KDC.
        Thread(target=self._run, name="zkrecipes SASL", daemon=True).start()

    async def outcome(self) -> Any:
        await self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._token

    def _run(self) -> None:
        try:
            self._token = self._step()
        except BaseException as error:  # noqa: BLE001 - raised in the waiting task
            self._error = error
        finally:
            _threads_left.release()
        self._notify()

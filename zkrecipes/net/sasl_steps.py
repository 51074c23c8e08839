"""Takes the steps of SASL exchanges: those that may last in a thread, so that the loop goes on meanwhile.

Kerberos' library asks a KDC that is silent for a minute, and cannot be told to stop. In anyio's threads it
would keep the caller's own work in threads waiting, and on asyncio the end of the process. So these are
threads of our own: few, and nobody waits for those that were given up.
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
"""In the process. One attempt after the other may be given up while a KDC is silent."""
_threads_left: Final = BoundedSemaphore(_THREADS_MAX)


async def begin(exchange: SaslExchange) -> bytes:
    """The first token; see `SaslExchange.begin`.

    Raises:
        ConnectionError: too many earlier questions are still unanswered.

    Cancellation: at once; a thread that asks a KDC ends by itself.
    """
    return SecretBytes(await _take(exchange, exchange.begin))


async def respond(exchange: SaslExchange, challenge: bytes | None) -> bytes | None:
    """The next token; see `SaslExchange.respond`.

    Raises, cancellation: as above.
    """
    token: bytes | None = await _take(exchange, partial(exchange.respond, challenge))
    return None if token is None else SecretBytes(token)


async def _take(exchange: SaslExchange, step: Callable[[], Any]) -> Any:
    if not exchange.blocks:
        await checkpoint()
        return step()
    await checkpoint_if_cancelled()
    if not _threads_left.acquire(blocking=False):
        raise ConnectionAbortedError(f"the KDC has not answered {_THREADS_MAX} earlier questions yet")
    return await _StepInThread(step).outcome()


@final
class _StepInThread:
    """A step that goes on to its end, whoever waits for it. It gives its place back then."""

    def __init__(self, step: Callable[[], Any]) -> None:
        self._step = step
        self._token: Any = None
        self._error: BaseException | None = None
        self._is_over = anyio.Event()
        self._tell = callable_from_threads(self._is_over.set)
        # A daemon: a process that has come to its end does not wait for a KDC.
        Thread(target=self._run, name="zkrecipes SASL", daemon=True).start()

    async def outcome(self) -> Any:
        await self._is_over.wait()
        if self._error is not None:
            raise self._error
        return self._token

    def _run(self) -> None:
        try:
            self._token = self._step()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self._error = error
        finally:
            _threads_left.release()
        self._tell()

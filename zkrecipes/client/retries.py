"""The recipes' rule for trying again: which errors end a step, and how long to wait before its next try."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, final

from zkrecipes.client.backoff import Backoff
from zkrecipes.errors import ConnectionLossError, SessionExpiredError, ZooKeeperError

__all__ = ["Retries"]

_logger: Final = logging.getLogger("zkrecipes.recipes")


@final
class Retries:
    """The tries of one step of a recipe. `RecipeApi.retries` makes it.

        retries = api.retries()
        while True:
            try:
                return await api.submit(request).wait()
            except ZooKeeperError as error:
                await retries.wait_after(error)

    Args:
        is_over: whether the client has ended.
        pause_after_loss: whether to pause even after a connection loss, because the request may cause it.
        failure: what failed, for the log ("could not read /leader"): logged before each pause, with the error
            and "(retrying)". Empty: nothing is logged.
        path: the znode's path, for the log.
    """

    def __init__(
        self,
        is_over: Callable[[], bool],
        *,
        pause_after_loss: bool = False,
        failure: str = "",
        path: str = "",
    ) -> None:
        self._is_over = is_over
        self._pause_after_loss = pause_after_loss
        self._failure = failure
        self._path = path
        self._pauses = Backoff()

    async def wait_after(self, error: ZooKeeperError) -> None:
        """Wait until the step may be tried again after `error`.

        | the error | before the next try |
        | --- | --- |
        | the session has expired, and the client opens another one | no pause |
        | a connection loss | no pause, unless `pause_after_loss`: the request waits for a connection anyway |
        | another transient answer | a pause, twice as long each time, up to two seconds |

        Raises:
            ZooKeeperError: `error` itself, if it is any other error: another try would be useless.
        """
        if isinstance(error, SessionExpiredError) and not self._is_over():
            return
        if not error.is_transient:
            raise error
        if isinstance(error, ConnectionLossError) and not self._pause_after_loss:
            return
        if self._failure:
            _logger.info("%s: %s (retrying)", self._failure, error, extra={"path": self._path})
        await self._pauses.wait()

    def reset(self) -> None:
        """Note a success: the next pause is the shortest again."""
        self._pauses.reset()

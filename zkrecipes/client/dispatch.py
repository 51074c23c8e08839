"""How a call travels: an operation in, its result out. One object for each view of the tree."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar, final

from zkrecipes.client.observing import Observer
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.client.requirements import requirement_of
from zkrecipes.client.tasks import ClientTasks
from zkrecipes.codec.messages import (
    Create2Request,
    CreateContainerRequest,
    CreateRequest,
    CreateTTLRequest,
    Request,
)
from zkrecipes.errors import BadVersionError, NoNodeError, ServerError, ZooKeeperError
from zkrecipes.net.pending import PendingRequest
from zkrecipes.net.session_engine import SessionEngine
from zkrecipes.net.watch_requests import WatchOwner
from zkrecipes.paths import parent_of

__all__ = ["Dispatcher"]

T = TypeVar("T")

_CREATIONS: Final = (CreateRequest, Create2Request, CreateContainerRequest, CreateTTLRequest)


@final
class Dispatcher:
    """Hands operations to the session, and explains errors whose cause the request tells.

    Args:
        engine: the engine of the client.
        operations: those of the view.
        tasks: the client's own.
        observer: who is told of each request, if anybody.
    """

    def __init__(
        self,
        engine: SessionEngine,
        operations: Operations,
        tasks: ClientTasks,
        observer: Observer | None = None,
    ) -> None:
        self._engine = engine
        self._tasks = tasks
        self._operations = operations
        self._observer = observer
        self._is_chroot_known = not operations.chroot

    def submit(
        self,
        operation: Operation[T],
        *,
        watcher: WatchOwner | None = None,
        is_idempotent: bool = False,
        proves_hold: bool = False,
        survives_cancel: bool = False,
    ) -> PendingRequest[T]:
        """Send it in its turn, if the server has it; the flags are those of `Pending`.

        Raises:
            RuntimeError: the caller runs in another loop than the client.
        """
        self._engine.check_loop()
        pending = PendingRequest(
            operation.request,
            operation.convert,
            self._engine.parking,
            recover=operation.recover,
            watcher=watcher,
            is_idempotent=is_idempotent,
            proves_hold=proves_hold,
            survives_cancel=survives_cancel,
        )
        pending.requirement = requirement_of(operation.request)
        if self._observer is not None:
            self._observer.submitted(pending)
        self._engine.submit(pending)
        return pending

    async def run(self, operation: Operation[T], *, watcher: WatchOwner | None = None) -> T:
        """Send it and wait for its result."""
        try:
            result = await self.submit(operation, watcher=watcher).wait()
        except ServerError as error:
            self.explain(error, operation.request)
            raise
        if not self._is_chroot_known and _has_found(operation.request, result, self._operations.chroot):
            self.found()
        return result

    def background(self, func: Callable[[], Awaitable[None]]) -> AbstractAsyncContextManager[None]:
        """Run `func` in a task of the client's, ended with the block; its errors are logged, never raised.

        Raises:
            ZooKeeperError: the client is over.
            RuntimeError: the caller runs in another loop than the client.
        """
        self._engine.check_loop()
        if self._engine.final_error is not None:
            raise copy.copy(self._engine.final_error)
        return self._tasks.background(func)

    def found(self) -> None:
        """Note that something below the chroot exists, and so the chroot itself."""
        self._is_chroot_known = True

    def explain(self, error: ZooKeeperError | None, request: Request[Any]) -> None:
        """Add to a server's refusal what the request tells of its cause.

        It asks no server: an explanation must neither delay nor replace the error that it explains.
        """
        if isinstance(error, BadVersionError) and error.expected is None:
            error.expected = _version_in(request)
        elif isinstance(error, NoNodeError) and not error.detail:
            error.detail = self._why_missing(request)

    def _why_missing(self, request: Request[Any]) -> str:
        chroot = self._operations.chroot
        hint = f"the chroot {chroot} itself does not exist"
        remedy = "connect(create_chroot=True) makes it"
        if isinstance(request, _CREATIONS):
            parent = parent_of(request.path)
            if parent == chroot:
                return f"{hint}; {remedy}"
            return f"its parent {parent} does not exist; client.create(…, make_parents=True) makes it, too"
        return "" if self._is_chroot_known else f"if {hint}, {remedy}"


def _has_found(request: Request[Any], result: object, chroot: str) -> bool:
    """Whether there is a znode at the request's path, and so the chroot."""
    path = request.path
    return path is not None and path.startswith(chroot) and not isinstance(result, bool | None)


def _version_in(request: Request[Any]) -> int | None:
    version = getattr(request, "version", getattr(request, "cur_config_id", None))
    return version if isinstance(version, int) else None

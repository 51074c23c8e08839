"""The path of a call: an operation in, its result out. Each view of the tree has one dispatcher."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar, final

from zkrecipes.client.background_tasks import ClientTasks
from zkrecipes.client.instrument import Observer
from zkrecipes.client.operations import Operation, TreeView
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
from zkrecipes.net.wakeup import Parking
from zkrecipes.net.watch_requests import WatchOwner
from zkrecipes.paths import parent_of

__all__ = ["Dispatcher"]

T = TypeVar("T")

_CREATIONS: Final = (CreateRequest, Create2Request, CreateContainerRequest, CreateTTLRequest)


@final
class Dispatcher:
    """A dispatcher of operations: submits them, and adds to an error the cause that the request reveals.

    Args:
        engine: the client's engine.
        view: the client's view of the tree.
        tasks: the client's tasks.
        observer: notified of each request, or None.

    Attributes:
        engine: the client's engine.
        parking: parks tasks that wait for a result.
        view: the client's view of the tree.
    """

    def __init__(
        self,
        engine: SessionEngine,
        view: TreeView,
        tasks: ClientTasks,
        observer: Observer | None = None,
    ) -> None:
        self.parking: Parking = engine.parking
        self.engine = engine
        self.view = view
        self._tasks = tasks
        self._observer = observer
        self._is_chroot_known = not view.chroot

    def submit(
        self,
        operation: Operation[T],
        *,
        watcher: WatchOwner | None = None,
        is_idempotent: bool = False,
        proves_hold: bool = False,
        survives_cancel: bool = False,
    ) -> PendingRequest[T]:
        """Queue a request for the current connection or the next one. The flags are those of `Pending`.

        If the server lacks the operation's requirement, the result is `UnimplementedError` and nothing is
        sent.

        Raises:
            RuntimeError: the caller runs in another event loop than the client.
        """
        self.engine.check_loop()
        pending = PendingRequest(
            operation.request,
            operation.convert,
            self.parking,
            recover=operation.recover,
            watcher=watcher,
            is_idempotent=is_idempotent,
            proves_hold=proves_hold,
            survives_cancel=survives_cancel,
        )
        pending.requirement = operation.requirement
        pending.reply_size_max = operation.reply_size_max
        if self._observer is not None:
            self._observer.submitted(pending)
        self.engine.submit(pending)
        return pending

    async def run(self, operation: Operation[T], *, watcher: WatchOwner | None = None) -> T:
        """Submit an operation and wait for its result."""
        try:
            result = await self.submit(operation, watcher=watcher).wait()
        except ServerError as error:
            self.explain(error, operation.request)
            raise
        if not self._is_chroot_known and _shows_chroot(operation.request, result, self.view.chroot):
            self.note_chroot()
        return result

    def background(self, func: Callable[[], Awaitable[None]]) -> AbstractAsyncContextManager[None]:
        """Run `func` in a task of the client until the block ends. Its errors are logged, never raised.

        Raises:
            ZooKeeperError: the client has ended.
            RuntimeError: the caller runs in another event loop than the client.
        """
        self.engine.check_loop()
        if self.engine.final_error is not None:
            raise copy.copy(self.engine.final_error)
        return self._tasks.background(func)

    def note_chroot(self) -> None:
        """Note that the chroot exists, because a znode below it does."""
        self._is_chroot_known = True

    def explain(self, error: ZooKeeperError | None, request: Request[Any]) -> None:
        """Add to a server's refusal the cause that the request reveals.

        This sends no request: an explanation must neither delay nor replace the error that it explains.
        """
        if isinstance(error, BadVersionError) and error.expected is None:
            error.expected = _version_in(request)
        elif isinstance(error, NoNodeError) and not error.detail:
            error.detail = self._why_missing(request)

    def _why_missing(self, request: Request[Any]) -> str:
        chroot = self.view.chroot
        hint = f"the chroot {chroot} itself does not exist"
        remedy = "connect(create_chroot=True) creates it"
        if isinstance(request, _CREATIONS):
            parent = parent_of(request.path)
            if parent == chroot:
                return f"{hint}; {remedy}"
            return f"its parent {parent} does not exist; client.create(…, make_parents=True) creates it"
        return "" if self._is_chroot_known else f"if {hint}, {remedy}"


def _shows_chroot(request: Request[Any], result: object, chroot: str) -> bool:
    """Whether the result shows that the znode at the request's path exists, and so the chroot."""
    path = request.path
    return path is not None and path.startswith(chroot) and not isinstance(result, bool | None)


def _version_in(request: Request[Any]) -> int | None:
    version = getattr(request, "version", getattr(request, "cur_config_id", None))
    return version if isinstance(version, int) else None

"""How a call travels: an operation in, its result out. One object for each view of the tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, final

from zkrecipes.client.observing import Observer
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.client.requirements import requirement_of
from zkrecipes.errors import NoNodeError
from zkrecipes.net.keeper import SessionKeeper
from zkrecipes.net.pending import Pending
from zkrecipes.net.watches import WatchOwner

__all__ = ["Calls"]

T = TypeVar("T")


@final
class Calls:
    """Hands operations to the session, and explains errors that the chroot is the cause of.

    Args:
        keeper: the engine of the client.
        operations: those of the view.
        observer: who is told of each request, if anybody.
    """

    def __init__(
        self, keeper: SessionKeeper, operations: Operations, observer: Observer | None = None
    ) -> None:
        self._keeper = keeper
        self._operations = operations
        self._observer = observer
        self._is_chroot_known = not operations.chroot

    def submit(
        self,
        operation: Operation[T],
        *,
        watcher: WatchOwner | None = None,
        is_errand: bool = False,
        is_evidence: bool = False,
        is_kept: bool = False,
    ) -> Pending[T]:
        """Send it in its turn, if the server has it; the flags are those of `Pending`."""
        pending = Pending(
            operation.request,
            operation.convert,
            self._keeper.parking,
            recover=operation.recover,
            watcher=watcher,
            is_errand=is_errand,
            is_evidence=is_evidence,
            is_kept=is_kept,
        )
        pending.requirement = requirement_of(operation.request)
        if self._observer is not None:
            self._observer.submitted(pending)
        self._keeper.submit(pending)
        return pending

    async def run(self, operation: Operation[T], *, watcher: WatchOwner | None = None) -> T:
        """Send it and wait for its result."""
        try:
            return await self.submit(operation, watcher=watcher).wait()
        except NoNodeError as error:
            await self.explain([error])
            raise

    async def explain(self, errors: Iterable[NoNodeError]) -> None:
        """Under a chroot that is missing itself every path is; say so once it is clear."""
        unexplained = [] if self._is_chroot_known else list(errors)
        if not unexplained:
            return
        chroot = self._operations.chroot
        if await self.submit(self._operations.without_chroot().exists(chroot)).wait() is not None:
            self._is_chroot_known = True
            return
        for error in unexplained:
            error.detail = f"the chroot {chroot} itself does not exist; connect(create_chroot=True) makes it"

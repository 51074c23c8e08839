"""What a recipe may use beyond `Client`: submit, guard, background, on_new_session.

Small, documented and stable, so that others can write recipes too:

    api = recipe_api(client)
    create = api.submit(api.operations.create(path, ephemeral=True, sequential=True))
    children = api.submit(api.operations.get_children(parent))      # sent together: one round trip
    made, names = await create.wait(), await children.wait()
    guard = api.guard(made)                                         # a cancel scope, and how long it is valid
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Self, TypeVar, final

import anyio

from zkrecipes.client.async_block import async_block
from zkrecipes.client.changed_paths import ChangedPaths
from zkrecipes.client.client import Client, check_client
from zkrecipes.client.follow_up import Asked, FollowUp
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.client.pauses import Pauses
from zkrecipes.client.retries import Retries
from zkrecipes.client.tasks import ClientTasks, Rest
from zkrecipes.client.transaction import as_transaction
from zkrecipes.codec.records import Node, Stat
from zkrecipes.enums import ServerVersion, SessionState
from zkrecipes.errors import NotReadOnlyError, SessionExpiredError, ZooKeeperError
from zkrecipes.net.capability_cache import has_version
from zkrecipes.net.hold_guard import Guard
from zkrecipes.net.pending import BREAKS_MAX, Pending, PendingRequest
from zkrecipes.net.session import Session
from zkrecipes.net.session_changes import SessionChange
from zkrecipes.net.session_engine import SessionEngine
from zkrecipes.net.wakeup import CallingTask, callable_from_threads_in_task

__all__ = [
    "BREAKS_MAX",
    "CallingTask",
    "ChangedPaths",
    "Guard",
    "Node",
    "Operation",
    "Operations",
    "Pauses",
    "Pending",
    "RecipeApi",
    "Retries",
    "Session",
    "Stat",
    "as_transaction",
    "async_block",
    "callable_from_threads_in_task",
    "check_client",
    "recipe_api",
]

T = TypeVar("T")


@final
class RecipeApi:
    """One client's machinery, for recipes.

    Attributes:
        operations: makes the requests, under the client's chroot.
    """

    def __init__(
        self, client: Client, engine: SessionEngine, operations: Operations, tasks: ClientTasks
    ) -> None:
        self.operations = operations
        self._client = client
        self._engine = engine
        self._tasks = tasks

    @property
    def session(self) -> Session:
        """The present session: what a recipe creates belongs to this object, and dies with it."""
        return self._engine.session

    @property
    def root(self) -> object:
        """What all views of one client have in common, for whoever remembers something of each client."""
        return self._engine

    @property
    def is_connected(self) -> bool:
        """Whether requests flow at the moment."""
        return self._engine.session.state.is_connected

    @contextmanager
    def on_disconnect(self, func: Callable[[], object]) -> Iterator[None]:
        """Call `func` in this block whenever the client has no connection any longer; it must not raise."""

        def changed(change: SessionChange) -> None:
            if not change.state.is_connected:
                func()

        with self._engine.changes.calling(changed):
            yield

    @property
    def is_over(self) -> bool:
        """Whether the client can do no more, so that trying again makes no sense."""
        return self._engine.final_error is not None

    def retries(self, *, pause_after_loss: bool = False, failure: str = "", path: str = "") -> Retries:
        """Return the rule for trying one step again; the arguments are those of `Retries`."""
        return Retries(lambda: self.is_over, pause_after_loss=pause_after_loss, failure=failure, path=path)

    def submit(
        self,
        operation: Operation[T],
        *,
        is_idempotent: bool = False,
        proves_hold: bool = False,
        survives_cancel: bool = False,
        watcher: ChangedPaths | FollowUp[Any] | None = None,
    ) -> Pending[T]:
        """Send a request now and await it later; requests reach the server in the order of these calls.

        Args:
            operation: from `operations`.
            is_idempotent: a write that may be sent again after a connection loss, because applying it twice
                is the same as once (the deletion of a znode whose name nobody else uses). It is sent until
                it is answered or its session is over, whether anybody waits for it or not.
            proves_hold: a creation whose success shall help to prove a hold: hand it to `guard` as `made`.
            survives_cancel: a task cancelled while it waits does not drop it, because others may wait for it.
            watcher: from `changed_paths` or `ask_when_changed`: whom to tell when the watch fires that a
                read sets.
        """
        pending = self._client._submit(  # noqa: SLF001
            operation,
            is_idempotent=is_idempotent,
            proves_hold=proves_hold,
            survives_cancel=survives_cancel,
            watcher=watcher,
        )
        if isinstance(watcher, ChangedPaths):
            watcher.asked(pending)
        return pending

    def catch_up(self) -> Pending[None]:
        """Submit a write that changes nothing: reads behind it see all that was committed before.

        A `sync` promises less. A leader that was cut off from its quorum answers it for some seconds, while
        the new leader commits other changes. This write needs a quorum. A read that was answered counts only
        when this has been answered, too: `await` both, and read again where this raises.

        Returns:
            The write. Its `wait` raises only if it is unknown whether a quorum has committed it.
        """
        check = as_transaction([self.operations.without_chroot().check("/")])
        return self.submit(Operation(check.request, _nothing), is_idempotent=True)

    async def read_caught_up(self, read: Operation[T]) -> T:
        """Read what is there now, with all that any client had been promised before this call.

        Raises:
            ZooKeeperError: what the server answered to the read or to the write before it (`catch_up`).
        """
        while True:
            session, caught_up, reading = self.session, self.catch_up(), self.submit(read)
            result = await reading.wait()
            await caught_up.wait()
            if session is self.session:  # or another server may have been read, which knows less
                return result

    @asynccontextmanager
    async def changed_paths(self, *, and_reconnects: bool = False) -> AsyncIterator[ChangedPaths]:
        """Own the one-shot watches that reads set; leaving the block removes those that are left.

        They are of one session: `ChangedPaths.wait` raises when it ends, and another block begins anew.

        Args:
            and_reconnects: whether `ChangedPaths.wait` also returns on each new connection of the session.
        """
        changed = ChangedPaths(self.operations.seen, and_reconnects=and_reconnects)
        try:
            yield changed
        finally:
            self._engine.unwatch(changed)

    @asynccontextmanager
    async def ask_when_changed(
        self, question: Operation[T] | Callable[[], Asked[T]]
    ) -> AsyncIterator[FollowUp[T]]:
        """Own one one-shot watch, and ask something the moment it fires; leaving the block removes it.

        Args:
            question: a read, sent ahead of all that other tasks submit when they are woken by the same bytes;
                or a function that submits one.
        """
        if isinstance(question, Operation):
            operation = question
            follow_up: FollowUp[T] = FollowUp(lambda: self.submit(operation))
        else:
            follow_up = FollowUp(question)
        try:
            yield follow_up
        finally:
            self._engine.unwatch(follow_up)

    def guard(
        self,
        path: str,
        session: Session,
        *,
        also: Sequence[str] = (),
        made: Pending[Any] | None = None,
    ) -> Guard:
        """Prove a hold: check its own znode again and again in transactions that change nothing.

        Args:
            path: the hold's znode, which belongs to this hold alone and whose name is never used again; its
                ACL must give its owner READ.
            session: the session that owns the znode.
            also: more znodes of the same hold, which is lost with the first of them.
            made: the creation of `path`, submitted as evidence: where it proves enough, the guard is proven
                at once and the round trip of a first check is saved. Only for a znode that its owner can
                surely read: otherwise the first check, later, would be refused.

        Returns:
            A cancel scope for the body, and `valid_until`. Call `release` when the body has ended.
        """
        full = self.operations.full
        evidence = made.evidence if isinstance(made, PendingRequest) else None
        return self._engine.holds.guard(full(path), session, map(full, also), evidence)

    def background(self, func: Callable[[], Awaitable[None]]) -> AbstractAsyncContextManager[None]:
        """Run `func` in a task of the client's, ended with the block; its errors are logged, never raised.

        Raises:
            ZooKeeperError: the client is over.
        """
        return self._client._calls.background(func)  # noqa: SLF001

    async def clean_up(self, func: Callable[[], Awaitable[None]]) -> None:
        """Run `func` in a task of the client's, and wait, shielded, an eighth of a timeout at most.

        It does nothing when the client is over: so is the session, and with it whatever it had made.

        Cancellation, native ones included, ends the wait and not the clean-up, which goes on until it has
        ended or the client has.
        """
        self._engine.check_loop()
        if not self.is_over:
            await self._tasks.clean_up(func, wait_at_most=self._engine.session.timeout / 8)

    async def clean_up_after(self, errand: Pending[Any], rest: Rest) -> None:
        """Wait, as `clean_up`, for an errand, and for what is to be done after it.

        Args:
            errand: the first try, which was submitted.
            rest: called with its answer; returns what is left to be done, or None. Only that takes a task.
        """
        if not self.is_over:
            wait_at_most = self._engine.session.timeout / 8
            await self._tasks.clean_up_after(errand, rest, wait_at_most=wait_at_most)

    def start_clean_up(self, func: Callable[[], Awaitable[object]]) -> None:
        """Run `func` as `clean_up` does, with no caller that waits for it."""
        self._engine.check_loop()
        if not self.is_over:
            self._tasks.start_clean_up(func)

    async def finish(self, errand: Pending[Any]) -> None:
        """Wait until an errand is answered: shielded, and an eighth of a timeout at most.

        Cancellation, native ones included, ends the wait and not the errand.
        """
        with anyio.move_on_after(self._engine.session.timeout / 8, shield=True):
            await errand.wait_done()

    @asynccontextmanager
    async def on_new_session(self) -> AsyncIterator[AsyncIterator[Session]]:
        """An async iterator of sessions: each that begins from now on, once it is connected."""
        with self._engine.changes.follow() as changes:
            yield _NewSessions(self._engine, changes)

    async def has_containers(self) -> bool:
        """Whether the server can make containers (from 3.5)."""
        return await has_version(self._engine, ServerVersion.V3_5)


@final
class _NewSessions:
    """An iterator of its own, as nobody would close a generator after a `break`."""

    def __init__(self, engine: SessionEngine, changes: AsyncIterator[SessionChange]) -> None:
        self._engine = engine
        self._changes = changes
        self._last_id = engine.session.id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Session:
        async for change in self._changes:
            if change.state is SessionState.CONNECTED and change.session_id != self._last_id:
                self._last_id = change.session_id
                return self._engine.session
        raise StopAsyncIteration


def _nothing(_: object) -> None:
    """For a write whose answer says nothing, even if it failed: a quorum has committed the failure."""


def recipe_api(client: Client) -> RecipeApi:
    """Return the machinery of `client`.

    Raises:
        TypeError: it is not a client.
    """
    check_client(client)
    # The one friend of `Client`: what others may not touch is offered here under names that stay.
    engine, operations, tasks = client._engine, client._operations, client._tasks  # noqa: SLF001
    return RecipeApi(client, engine, operations, tasks)


async def note_resumption(api: RecipeApi) -> None:
    """Note in a resumed session where the transactions of this client begin.

    A read-only server cannot tell; nothing is noted then.
    """
    session = api.session
    pauses = Pauses()
    while session is api.session and not session.state.is_final:
        caught_up = api.catch_up()
        try:
            await caught_up.wait()
        except (NotReadOnlyError, SessionExpiredError):
            return
        except ZooKeeperError as error:
            if not error.is_transient:
                raise
            await pauses.wait()
        else:
            session.resumed_zxid = caught_up.zxid
            return

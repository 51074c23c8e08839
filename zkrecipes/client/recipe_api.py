"""The parts of a client that recipes use in addition to `Client`: submit, guard, background, clean_up.

The interface is small, documented and stable, so that others can write recipes:

    api = recipe_api(client)
    create = api.submit(api.operations.create(path, ephemeral=True, sequential=True))
    children = api.submit(api.operations.get_children(parent))      # sent together: one round trip
    made, names = await create.wait(), await children.wait()
    guard = api.guard(made, api.session)                            # a cancel scope, and `valid_until`
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar, final

from zkrecipes.client.async_block import async_block
from zkrecipes.client.background_tasks import ClientTasks, Rest
from zkrecipes.client.backoff import Backoff
from zkrecipes.client.changed_paths import ChangedPaths, ChangedPathsOwner
from zkrecipes.client.client import Client, check_client
from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.client.retries import Retries
from zkrecipes.client.transaction import Transaction, as_transaction, open_transaction
from zkrecipes.client.triggered_read import SubmittedRead, TriggeredRead, TriggeredReadOwner
from zkrecipes.codec.records import ACL, Node, Stat
from zkrecipes.enums import ServerVersion
from zkrecipes.errors import NotReadOnlyError, SessionExpiredError, TransactionError, ZooKeeperError
from zkrecipes.net.capability_cache import has_version
from zkrecipes.net.hold_guard import Guard
from zkrecipes.net.pending import BREAKS_MAX, Pending, PendingRequest
from zkrecipes.net.session import Session
from zkrecipes.net.session_changes import SessionChange
from zkrecipes.net.wakeup import CallingTask, callable_from_threads_in_task

__all__ = [
    "BREAKS_MAX",
    "Backoff",
    "CallingTask",
    "ChangedPaths",
    "Guard",
    "Node",
    "Operation",
    "Operations",
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
    """The interface of one client to its recipes.

    Attributes:
        operations: the client's calls as values, under its chroot.
    """

    def __init__(self, calls: Dispatcher, operations: Operations, tasks: ClientTasks) -> None:
        self.operations: Operations = operations
        self._calls = calls
        self._engine = calls.engine
        self._tasks = tasks

    @property
    def operations_for_listed(self) -> Operations:
        """The same calls for paths that a server has listed, which need no check.

        Servers other than Apache's allow characters that Apache's servers refuse. If another client uses
        them in a name, this client can still list and delete the znodes beside it.
        """
        return Operations(self._calls.view.for_listed())

    @property
    def default_acl(self) -> Sequence[ACL]:
        """The ACL of new znodes that are created without one."""
        return self._calls.view.default_acl

    def full_path(self, path: str) -> str:
        """Return the full path on the server of a path as the client sees it under its chroot.

        Raises:
            ValueError: it is not a valid path.
        """
        return self._calls.view.full(path)

    @property
    def session(self) -> Session:
        """The current session. The ephemeral znodes that a recipe creates are deleted when it ends."""
        return self._engine.session

    @property
    def root(self) -> object:
        """An object that all views of one client share: a key for a recipe's data about the client."""
        return self._engine

    @property
    def is_connected(self) -> bool:
        """Whether requests flow."""
        return self._engine.session.state.is_connected

    @contextmanager
    def on_disconnect(self, func: Callable[[], object]) -> Iterator[None]:
        """Call `func` whenever the client loses its connection during the block. `func` must not raise."""

        def changed(change: SessionChange) -> None:
            if not change.state.is_connected:
                func()

        with self._engine.changes.calling(changed):
            yield

    @property
    def is_over(self) -> bool:
        """Whether the client has ended, so that every further attempt would fail."""
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
    ) -> Pending[T]:
        """Send a request now and await it later. Requests reach the server in the order of these calls.

        Args:
            operation: an operation that `operations` made.
            is_idempotent: send a write again after a connection loss, because applying it twice has the same
                effect as once (the deletion of a znode whose name no other client uses). The client repeats
                it until it is answered or its session is over, even if no task waits for it.
            proves_hold: a creation whose success will help to prove a hold: pass it to `guard` as `made`.
            survives_cancel: do not drop the request if a task that waits for it is cancelled, because other
                tasks may wait for it.
        """
        return self._calls.submit(
            operation,
            is_idempotent=is_idempotent,
            proves_hold=proves_hold,
            survives_cancel=survives_cancel,
        )

    def catch_up(self) -> Pending[None]:
        """Submit a write that changes nothing: reads submitted after it see all changes committed before it.

        A `sync` promises less: a leader that was cut off from its quorum answers it for some seconds, while
        the new leader commits other changes. This write needs a quorum. The result of a read counts only
        after this write has been answered: `await` both, and read again if this raises.

        Returns:
            The write. Its `wait` raises only if it is unknown whether a quorum has committed it.
        """
        check = as_transaction([Operations(self._calls.view.without_chroot()).check("/")])
        return self.submit(Operation(check.request, _nothing), is_idempotent=True)

    async def read_caught_up(self, read: Operation[T]) -> T:
        """Read with all changes that were confirmed to any client before this call.

        Raises:
            ZooKeeperError: the server refused the read or the write before it (`catch_up`).
        """
        while True:
            session, caught_up, reading = self.session, self.catch_up(), self.submit(read)
            result = await reading.wait()
            await caught_up.wait()
            if session is self.session:  # otherwise another server, which lags, may have answered the read
                return result

    @asynccontextmanager
    async def changed_paths(self, *, and_reconnects: bool = False) -> AsyncIterator[ChangedPaths]:
        """Own the one-shot watches of reads; leaving the block removes the remaining ones.

        Submit these reads with `ChangedPaths.submit`. The watches belong to one session: `ChangedPaths.wait`
        raises when it ends. Enter a new block then.

        Args:
            and_reconnects: whether `ChangedPaths.wait` also returns on each new connection of the session.
        """
        owner = ChangedPathsOwner(self._calls.view.seen, and_reconnects=and_reconnects)
        try:
            yield ChangedPaths(owner, self._calls)
        finally:
            self._engine.unwatch(owner)

    @asynccontextmanager
    async def read_when_changed(
        self, read: Operation[T] | Callable[[], SubmittedRead[T]]
    ) -> AsyncIterator[TriggeredRead[T]]:
        """Own one one-shot watch, and read as soon as it fires; leaving the block removes the watch.

        Submit the read that sets the watch with `TriggeredRead.submit`.

        Args:
            read: the triggered read, sent before the requests of all other tasks that the same bytes wake;
                or a function that submits a read.
        """
        if isinstance(read, Operation):
            operation = read
            owner: TriggeredReadOwner[T] = TriggeredReadOwner(lambda: self.submit(operation))
        else:
            owner = TriggeredReadOwner(read)
        try:
            yield TriggeredRead(owner, self._calls)
        finally:
            self._engine.unwatch(owner)

    def guard(
        self,
        path: str,
        session: Session,
        *,
        also: Sequence[str] = (),
        made: Pending[Any] | None = None,
    ) -> Guard:
        """Prove a hold: check the hold's znode repeatedly in transactions that change nothing.

        Args:
            path: the hold's znode. It belongs to this hold alone, its name is never used again, and its ACL
                must give its owner READ.
            session: the session that owns the znode.
            also: more znodes of the same hold, which is lost as soon as one of them is.
            made: the creation of `path`, submitted with `proves_hold`. If it proves enough, the guard is
                proven immediately, which saves the round trip of a first check. Pass it only if the owner
                certainly may read the znode: otherwise the server would refuse the first check later.

        Returns:
            A cancel scope for the body, and `valid_until`. Call `release` when the body has ended.
        """
        full = self._calls.view.full
        evidence = made.evidence if isinstance(made, PendingRequest) else None
        return Guard(self._engine.holds.add(full(path), session, map(full, also), evidence))

    def background(self, func: Callable[[], Awaitable[None]]) -> AbstractAsyncContextManager[None]:
        """Run `func` in a task of the client until the block ends. Its errors are logged, never raised.

        Raises:
            ZooKeeperError: the client has ended.
        """
        return self._calls.background(func)

    def transaction(
        self, translate: Callable[[TransactionError], ZooKeeperError]
    ) -> AbstractAsyncContextManager[Transaction]:
        """Collect operations in the block and apply all of them or none, as `Client.transaction` does.

        Args:
            translate: turns the error of a rolled-back transaction into another one, for the block's end and
                for the result of each operation.
        """
        return open_transaction(self.operations, self._calls, translate)

    async def clean_up(self, func: Callable[[], Awaitable[None]]) -> None:
        """Run `func` in a task of the client, and wait, shielded, for at most an eighth of the timeout.

        This does nothing if the client has ended: its session has ended, and its ephemeral znodes with it.

        Cancellation, including a native one, ends the wait and not the clean-up, which continues until it or
        the client ends.
        """
        self._engine.check_loop()
        if not self.is_over:
            await self._tasks.clean_up(func, wait_max=self._engine.session.timeout / 8)

    async def clean_up_after(self, request: Pending[Any], rest: Rest) -> None:
        """Wait, as `clean_up` does, for a submitted request, and for the rest of the clean-up.

        Args:
            request: the first request of the clean-up.
            rest: called after the answer; returns the rest, which needs a task, or None.
        """
        if not self.is_over:
            wait_max = self._engine.session.timeout / 8
            await self._tasks.clean_up_after(request, rest, wait_max=wait_max)

    def start_clean_up(self, func: Callable[[], Awaitable[object]]) -> None:
        """Run `func` as `clean_up` does, without waiting for it."""
        self._engine.check_loop()
        if not self.is_over:
            self._tasks.start_clean_up(func)

    async def has_containers(self) -> bool:
        """Ask whether the server can create containers (from 3.5)."""
        return await has_version(self._engine, ServerVersion.V3_5)


def _nothing(_: object) -> None:
    """Ignore the answer of a write, even a failure: a quorum has committed the failure."""


def recipe_api(client: Client) -> RecipeApi:
    """Return the interface of `client` to its recipes.

    Raises:
        TypeError: `client` is not a `Client`.
    """
    check_client(client)
    # The only module that reads private attributes of `Client`: it offers them under stable names.
    calls, tasks = client._calls, client._tasks  # noqa: SLF001
    return RecipeApi(calls, client.operations, tasks)


async def note_resumption(api: RecipeApi) -> None:
    """Note the zxid in a resumed session at which the transactions of this client start.

    A read-only server cannot report it; then nothing is noted.
    """
    session = api.session
    pauses = Backoff()
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

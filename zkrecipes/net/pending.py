"""A request that waits for its answer: submit now, await later.

`Pending` is the handle that callers get. `PendingRequest` implements it; besides, it is the ticket that the
engine, the backlog and the connection pass around, and only they complete it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    NamedTuple,
    NoReturn,
    Protocol,
    TypeVar,
    final,
    runtime_checkable,
)

import anyio

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import Request
from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.events import Ticket

__all__ = ["BREAKS_MAX", "Evidence", "Pending", "PendingRequest", "ignore_reply"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

BREAKS_MAX: Final = 5
"""The number of connections that may break on one request before it counts as the cause, not the network.

A read is sent again at most this many times, and a recipe repeats a lost write at most this many times. A
request or a reply that is larger than the other end accepts breaks every connection; random faults of a
network seldom hit the same request five times in a row.
"""
# `BinaryInputArchive.maxBuffer` (3.8): bytes of a frame, without its length.
_MAXBUFFER_DEFAULT: Final = 0xF_FFFF
_LENGTH_SIZE: Final = 4


@runtime_checkable
class Pending(Protocol[T_co]):
    """The result of a request that was submitted: read it with `result` once `is_done`, or await `wait`."""

    @property
    def is_done(self) -> bool:
        """Whether the request is answered, with a result or an error."""

    @property
    def is_unsent(self) -> bool:
        """Whether the request is still to be sent, so that its answer will show all changes made so far."""

    @property
    def error(self) -> ZooKeeperError | None:
        """The reason why there is no result, or None."""

    @property
    def zxid(self) -> int:
        """The zxid in the reply's header: for a write, that of its transaction. 0 until it is answered."""

    async def wait(self) -> T_co:
        """Wait for the answer and return it.

        Not a checkpoint if the request is answered already.

        Raises:
            ZooKeeperError: the server's error, or the loss of the connection or the session.

        Cancellation: an unsent request is dropped; the reply to one in flight is discarded.
        """

    async def wait_done(self) -> None:
        """Wait until there is an answer, a result or an error; cancellation as in `wait`."""

    def result(self) -> T_co:
        """Return the result.

        Raises:
            RuntimeError: the request is not answered yet.
            ZooKeeperError: as `wait`.
        """

    def drop(self) -> None:
        """Give the request up: an unsent one is never sent, and a task that waits gets a `RuntimeError`."""

    def call_when_done(self, func: Callable[[], None]) -> None:
        """Call `func` when the request is answered, or at once if it is. `func` must not raise."""


class Evidence(NamedTuple):
    """The proof that a write gives if it succeeds, computed when a connection accepts the write."""

    connection: int
    """The number of the connection. Evidence of another connection proves nothing."""
    proves_until: float


@final
class PendingRequest(Ticket, Generic[T]):
    """`Pending` for its caller, and the ticket of the request for the engine.

    Attributes:
        zxid: see `Pending.zxid`.
        is_idempotent: whether the client sends the request again after a connection loss although it is a
            write, until it is answered or the session is over, even if no task waits for it.
        proves_hold: whether its success is used to prove a hold; `evidence` holds the proof.
        survives_cancel: whether cancelling a wait leaves the request alone; its submitter drops it then.
        breaks: how many connections broke while it was the oldest of the callers' requests in flight.
        moves: how many times the client left a server because of its reply, to save holds.
        on_done: called once when it is answered or dropped, for an observer; it must not raise.
    """

    __slots__ = (
        "_answer",
        "_convert",
        "_done",
        "_error",
        "_parking",
        "_recover",
        "breaks",
        "evidence",
        "is_done",
        "is_idempotent",
        "moves",
        "on_done",
        "parked",
        "proves_hold",
        "survives_cancel",
        "zxid",
    )

    def __init__(
        self,
        request: Request[Any],
        convert: Callable[[Any], T],
        parking: Parking,
        *,
        recover: Callable[[ZooKeeperError], T] | None = None,
        watcher: Any = None,
        is_idempotent: bool = False,
        proves_hold: bool = False,
        survives_cancel: bool = False,
    ) -> None:
        super().__init__(request, watcher)
        self.is_idempotent: bool = is_idempotent
        self.proves_hold: bool = proves_hold
        self.evidence: Evidence | None = None
        self.survives_cancel: bool = survives_cancel
        self.on_done: Callable[[], None] | None = None
        self.breaks: int = 0
        self.moves: int = 0
        self.is_done: bool = False
        self.zxid: int = 0
        self.parked: Any = None
        self._convert = convert
        self._recover = recover
        self._parking = parking
        self._done: anyio.Event | None = None
        self._answer: Record | None = None
        self._error: ZooKeeperError | None = None

    if not TYPE_CHECKING:  # a type checker reports an `await` of it without this

        def __await__(self) -> NoReturn:
            raise TypeError(
                "a call in the block of a transaction, a pipeline or a multi_read must not be awaited: "
                "read its result() after the block"
            )

    # --- for the caller: see `Pending` ---------------------------------------------------------------------

    async def wait(self) -> T:
        """See `Pending.wait`."""
        if not self.is_done:
            await self.wait_done()
        return self.result()

    async def wait_done(self) -> None:
        """See `Pending.wait_done`."""
        if self.is_done:
            return
        self._check_not_dropped()
        try:
            if self.parked is None:
                await self._parking.park(self)
            else:
                await self._wait_for_event()
        except BaseException:
            is_awaited = self.parked is not None or self._done is not None
            if not (self.is_idempotent or self.survives_cancel or is_awaited):
                self.drop()
            raise
        if not self.is_done:
            self._check_not_dropped()

    def _check_not_dropped(self) -> None:
        if self.is_dropped:
            raise RuntimeError(
                "the request was dropped: an earlier wait for it was cancelled, or its block has been left"
            )

    async def _wait_for_event(self) -> None:
        """Wait for an event, because another task is parked already, which is rare."""
        if self._done is None:
            self._done = anyio.Event()
        await self._done.wait()

    def result(self) -> T:
        """See `Pending.result`."""
        if not self.is_done:
            raise RuntimeError("the request has not been answered yet: read its result after the block")
        if self._error is not None:
            if self._recover is None:
                raise self._error
            return self._recover(self._error)
        return self._convert(self._answer)

    @property
    def is_unsent(self) -> bool:
        """See `Pending.is_unsent`."""
        return self.xid == 0 and not self.is_done and not self.is_dropped

    @property
    def error(self) -> ZooKeeperError | None:
        """See `Pending.error`."""
        return self._error

    def drop(self) -> None:
        """See `Pending.drop`."""
        self.is_dropped = True
        self._notify_on_done()
        self._wake()

    def call_when_done(self, func: Callable[[], None]) -> None:
        """See `Pending.call_when_done`; `func` is called after `on_done`."""
        observer = self.on_done
        if self.is_done:
            func()
        elif observer is None:
            self.on_done = func
        else:

            def both() -> None:
                observer()
                func()

            self.on_done = both

    # --- for the engine ------------------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether the request is answered or dropped, so that it need not be sent again."""
        return self.is_done or self.is_dropped

    @property
    def is_repeatable(self) -> bool:
        """Whether the request may be sent again if it was sent and not answered."""
        return self.is_idempotent or not (self.request.is_write or self.is_suspiciously_large)

    @property
    def is_suspiciously_large(self) -> bool:
        """Whether a server closes the connection on this request unless its `jute.maxbuffer` was raised."""
        return self.request_size - _LENGTH_SIZE > _MAXBUFFER_DEFAULT

    def complete(self, reply: Record | None, error: ZooKeeperError | None, zxid: int = 0) -> None:
        """Set the answer and wake the tasks that wait for it. Call it once."""
        self._answer = reply
        self._error = error
        self.zxid = zxid
        self.is_done = True
        if self.on_done is not None:
            self._notify_on_done()
        if self.parked is not None or self._done is not None:
            self._wake()

    def _wake(self) -> None:
        if self.parked is not None:
            self._parking.wake(self)
        if self._done is not None:
            self._done.set()

    def _notify_on_done(self) -> None:
        on_done, self.on_done = self.on_done, None
        if on_done is not None:
            on_done()

    def __repr__(self) -> str:
        state = "waiting" if not self.is_done else "failed" if self._error is not None else "done"
        return f"<Pending {type(self.request).__name__} {state}>"


def ignore_reply(_: object) -> None:
    """Ignore the reply to a request that has no result."""

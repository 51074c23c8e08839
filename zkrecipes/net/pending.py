"""A request that waits for its answer: submit now, await later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, NoReturn, TypeVar, final

import anyio

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import Request
from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.events import Ticket

__all__ = ["BREAKS_MAX", "Evidence", "Pending"]

T = TypeVar("T")

BREAKS_MAX: Final = 5
"""How many connections may break on the same request before the request counts as the cause, not the network.

A read is sent again at most this many times, and a recipe repeats a lost write at most this many times. A
request or a reply that is larger than the other end accepts breaks every connection; random faults of a
network seldom hit the same request five times in a row.
"""
# `BinaryInputArchive.maxBuffer` (3.8): bytes of a frame, without its length.
_MAXBUFFER_DEFAULT: Final = 0xF_FFFF
_LENGTH_SIZE: Final = 4


class Evidence(NamedTuple):
    """What a write proves of its session once it has succeeded, noted when it was handed to a connection."""

    connection: int
    """Which connection: what was noted on another means nothing."""
    proves_until: float


@final
class Pending(Ticket, Generic[T]):
    """The result of a request that was submitted: there when `is_done`, or awaited with `wait`.

    Attributes:
        zxid: after it is done, the zxid in the reply's header: of the transaction itself for a write.
        is_idempotent: the client itself sees to it: it is sent again after a connection loss although it is a
            write, until it is answered or the session is over, whether anybody waits for it or not.
        proves_hold: its success shall help to prove a hold: `evidence` says what it proves.
        survives_cancel: cancelling a wait does not drop it; who submitted it does that by itself.
        breaks: how many connections have broken while it was the oldest of the callers' requests in flight.
        moves: how many times the client has left a server because of its reply, to save holds.
        on_done: called once when it is answered or dropped, for whoever observes; it must not raise.
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

    if not TYPE_CHECKING:  # to a checker, awaiting it is an error without more ado

        def __await__(self) -> NoReturn:
            raise TypeError(
                "a call in the block of a transaction, a pipeline or a multi_read must not be awaited: "
                "its result() is there after the block"
            )

    async def wait(self) -> T:
        """Wait for the answer and return it.

        Not a checkpoint when the answer is there already.

        Raises:
            ZooKeeperError: what the server answered, or what became of the connection or the session.

        Cancellation: a request not yet sent is dropped; one in flight is left to finish unheard.
        """
        if not self.is_done:
            await self.wait_done()
        return self.result()

    async def wait_done(self) -> None:
        """Wait until there is an answer, a result or an error; cancellation as in `wait`."""
        if self.is_done:
            return
        self._check_not_dropped()
        try:
            if self.parked is None:
                await self._parking.park(self)
            else:
                await self._wait_beside()
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

    def drop(self) -> None:
        """Do not send it if it was not sent. A task that waits for it is told so at once."""
        self.is_dropped = True
        self._tell_done()
        self._wake()

    async def _wait_beside(self) -> None:
        """There is room for one task to be parked; any other, which is rare, waits for an event."""
        if self._done is None:
            self._done = anyio.Event()
        await self._done.wait()

    def result(self) -> T:
        """The answer.

        Raises:
            RuntimeError: it is not there yet.
            ZooKeeperError: as `wait`.
        """
        if not self.is_done:
            raise RuntimeError("the request has not been answered yet: its result is there after the block")
        if self._error is not None:
            if self._recover is None:
                raise self._error
            return self._recover(self._error)
        return self._convert(self._answer)

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent again when it was sent and not answered."""
        return self.is_idempotent or not (self.request.is_write or self.is_suspiciously_large)

    @property
    def is_suspiciously_large(self) -> bool:
        """Whether a server drops the connection on it, unless its `jute.maxbuffer` was raised."""
        return self.request_size - _LENGTH_SIZE > _MAXBUFFER_DEFAULT

    @property
    def error(self) -> ZooKeeperError | None:
        """Why there is no result, or None."""
        return self._error

    def complete(self, reply: Record | None, error: ZooKeeperError | None, zxid: int = 0) -> None:
        """The answer has come. Called once, by the session."""
        self._answer = reply
        self._error = error
        self.zxid = zxid
        self.is_done = True
        if self.on_done is not None:
            self._tell_done()
        if self.parked is not None or self._done is not None:
            self._wake()

    def _wake(self) -> None:
        if self.parked is not None:
            self._parking.wake(self)
        if self._done is not None:
            self._done.set()

    def call_when_done(self, func: Callable[[], None]) -> None:
        """Call `func` when it is answered, after whoever observes; at once if it is. It must not raise."""
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

    def _tell_done(self) -> None:
        on_done, self.on_done = self.on_done, None
        if on_done is not None:
            on_done()

    def __repr__(self) -> str:
        state = "waiting" if not self.is_done else "failed" if self._error is not None else "done"
        return f"<Pending {type(self.request).__name__} {state}>"

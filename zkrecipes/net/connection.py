"""Runs one `ClientSide` over one stream: read, write, timer. It knows nothing of ZooKeeper's protocol.

There are two tasks: the caller's task reads and keeps the time; a second one writes, so only one ever sends.
Everything queued in one pass of the scheduler leaves in one `send`; every whole frame of a received chunk is
handled before the next wake-up. A client spends its time in system calls, not in Python.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final, Protocol, final

import anyio
import anyio.lowlevel

from zkrecipes.errors import AuthFailedError
from zkrecipes.net import sasl_steps
from zkrecipes.net.foreign_protocols import FIRST_BYTES_MAX
from zkrecipes.net.transport.network import Stream, bare_errors
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Broken, Challenged, ClientEvent, Connected, Replied
from zkrecipes.protocol.sasl import SaslExchange
from zkrecipes.protocol.states import BLOCKED_AFTER, LOOK_EVERY

__all__ = ["NO_ANSWER", "Connection", "ConnectionOwner", "Traffic"]

NO_ANSWER: Final = "no answer"
"""The first words of the reason if a peer, or a step of the client, took too long."""

logger: logging.Logger = logging.getLogger("zkrecipes.connection")


@final
@dataclass(slots=True)
class Traffic:
    """The counts of a client since it began, over all connections that attached a session."""

    connections: int = 0
    sessions: int = 0
    replies: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


class ConnectionOwner(Protocol):
    """The session that a connection serves, as far as the connection calls it."""

    def next_deadline(self) -> float:
        """Return the time at which `tick` is due at the latest, besides the connection's own deadlines."""

    def look_at_clock(self) -> object:
        """Notice whether the machine was suspended, before any bytes count as proof of life."""

    def was_blocked(self, at_least: float, at_most: float) -> None:
        """Note the seconds for which the loop did not run, before any bytes are read or deadlines judged."""

    def tick(self, now: float) -> None:
        """Act on what is due."""

    def handle_events(self, now: float) -> None:
        """Handle the events of the client side, after bytes arrived or the connection ended."""


@final
class Connection:
    """One stream with the state machine that uses it.

    The connection owns the stream; `aclose` closes it.
    """

    def __init__(self, stream: Stream, side: ClientSide, parking: Parking) -> None:
        self.side = side
        self.traffic: Traffic = Traffic()
        self.parked: Any = None
        self.first_bytes: bytes = b""
        """The peer's first bytes, ZooKeeper's or not: at most `FIRST_BYTES_MAX`."""
        self.failure: OSError | None = None
        """The stream's error that ended the greeting, if any."""
        self._stream = stream
        self._parking = parking
        self._now = parking.current_time
        self._timer: anyio.CancelScope | None = None
        self._owner: ConnectionOwner | None = None
        self._ran_at = self._due_at = float("inf")
        """The time at which the loop last ran this connection, and the time by which it should run it
        again."""

    async def greet(
        self, exchange: SaslExchange | None = None, step_timeout: float = float("inf")
    ) -> Connected | Broken:
        """Send the greeting and wait until the session is attached, or the connection is broken.

        Events that arrived in the same chunk stay in the client side.

        Args:
            exchange: the SASL exchange that produced the client side's first token, if any.
            step_timeout: the seconds that each step may take before the connection is lost.
        """
        while True:
            event = await self._next_event(step_timeout)
            if isinstance(event, Challenged):
                assert exchange is not None, "the first token came from an exchange"
                with anyio.move_on_after(step_timeout) as responding:
                    await self._respond(exchange, event.token)
                if responding.cancelled_caught:
                    self.side.lose(f"{NO_ANSWER} from the KDC within {step_timeout:.3g} seconds")
            elif isinstance(event, (Connected, Broken)):
                return event

    async def _respond(self, exchange: SaslExchange, challenge: bytes | None) -> None:
        try:
            token = await sasl_steps.respond(exchange, challenge)
        except AuthFailedError as error:
            self.side.refuse(error.reason)
        else:
            self.side.respond(token)

    async def next_reply(self) -> Replied | Broken:
        """Send what is queued and wait for one reply, before or instead of `run`."""
        while True:
            event = await self._next_event()
            if isinstance(event, (Replied, Broken)):
                return event

    async def _next_event(self, step_timeout: float = float("inf")) -> ClientEvent:
        side = self.side
        progress, deadline = side.progress, self._now() + step_timeout
        while (event := side.next_event()) is None:
            with anyio.CancelScope(deadline=deadline) as step:
                await self._exchange()
            if step.cancelled_caught:
                side.lose(f"{NO_ANSWER} within {step_timeout:.3g} seconds, while {side.stage.value}")
            elif side.progress != progress:
                progress, deadline = side.progress, self._now() + step_timeout
        return event

    async def _exchange(self) -> None:
        """Send what is due, and process what arrives."""
        side = self.side
        try:
            while data := side.data_to_send(self._now()):
                await self._stream.send(data)
                await anyio.lowlevel.checkpoint()  # a send need not be a checkpoint
            received = await self._stream.receive()
        except OSError as error:
            self.failure = error
            side.lose(str(error))
        else:
            self.first_bytes += received[: FIRST_BYTES_MAX - len(self.first_bytes)]
            self._feed(received, self.look_at_clock())

    async def run(self, owner: ConnectionOwner) -> None:
        """Serve until the connection has ended; the last event for `owner` is `Broken`.

        Cancellation: the stream is unusable.
        """
        self._owner = owner
        self._ran_at = self._now()
        with bare_errors():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                await self._read(owner)
                tasks.cancel_scope.cancel()

    def wake(self) -> None:
        """Wake the writer task. Call it after queueing something to send."""
        if self.parked is not None:
            self._parking.wake(self)

    def hurry(self, deadline: float) -> None:
        """Move the timer forward to `deadline` if that is earlier."""
        if self._timer is not None and deadline < self._timer.deadline:
            self._timer.deadline = deadline
            self._due_at = min(self._due_at, max(deadline, self._now()))

    def look_at_clock(self) -> float:
        """Return the time, after noticing whether the loop was blocked until now.

        A late timer reveals a block. The connection looks at the clock often enough to know the block's
        length.
        """
        now = self._now()
        if now > self._due_at:
            self._notice_block(now)
        self._ran_at = now
        return now

    def _notice_block(self, now: float) -> None:
        owner, ran_at = self._owner, self._ran_at
        due_at = max(self._due_at, ran_at)  # the connection may have run without the timer
        if owner is not None and now - due_at > BLOCKED_AFTER * self.side.timeout:
            self._ran_at = self._due_at = now
            self.side.was_blocked(ran_at, now)
            owner.was_blocked(now - due_at, now - ran_at)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    # --- tasks ---------------------------------------------------------------------------------------------

    async def _read(self, owner: ConnectionOwner) -> None:
        side = self.side
        owner.handle_events(self._now())  # those that arrived with the answer to the greeting
        while not side.is_dead:
            # Deadlines mostly move away while data arrives, so one scope serves for many reads; when its
            # deadline passes, `tick` decides whether anything is due.
            deadline = self._next_deadline(owner)
            self._due_at = max(deadline, self._now())
            with anyio.CancelScope(deadline=deadline) as self._timer:
                await self._read_until_dead(owner)
            owner.look_at_clock()
            now = self.look_at_clock()
            side.tick(now)
            owner.tick(now)
            owner.handle_events(now)
            self._wake_if_due()

    async def _read_until_dead(self, owner: ConnectionOwner) -> None:
        side = self.side
        while not side.is_dead:
            try:
                received = await self._stream.receive()
            except OSError as error:
                side.lose(str(error))
                now = self._now()
            else:
                owner.look_at_clock()
                now = self.look_at_clock()
                self._feed(received, now)
            owner.handle_events(now)
            self._wake_if_due()

    async def _write(self) -> None:
        side = self.side
        while True:
            data = side.data_to_send(self.look_at_clock())
            if side.has_events:  # a request that was refused instead of sent has its answer already
                self.hurry(float("-inf"))
            if data:
                self.traffic.bytes_sent += len(data)
                try:
                    await self._stream.send(data)
                except OSError as error:
                    side.lose(str(error))
                    self.hurry(float("-inf"))
                    return
                if side.has_unsent:  # in pieces, so that a ping and other tasks can run in between
                    await anyio.lowlevel.checkpoint()
                    continue
            await self._parking.park(self)

    def _feed(self, received: bytes, now: float) -> None:
        if received:
            self.traffic.bytes_received += len(received)
            self.side.receive_data(received, now)
        else:
            self.side.receive_eof()

    def _wake_if_due(self) -> None:
        if self.side.has_unsent:
            self.wake()

    def _next_deadline(self, owner: ConnectionOwner) -> float:
        look_at = self._now() + LOOK_EVERY * self.side.timeout
        return min(self.side.next_deadline(), owner.next_deadline(), look_at)

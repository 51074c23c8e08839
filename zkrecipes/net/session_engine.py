"""Keeps one session alive over many connections, and one session after another.

One task, `SessionEngine.run`, is the whole life of a client: find a server, serve the connection until it
ends, decide what that means for the session, begin again. Requests come from other tasks through `submit`;
they go to the connection when there is one and wait here when there is none.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread
from typing import Any, Final, final

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from zkrecipes.codec.messages import CloseSessionRequest, ExistsRequest
from zkrecipes.codec.secret import SecretBytes
from zkrecipes.enums import ServerVersion, SessionState
from zkrecipes.errors import (
    AuthFailedError,
    ConnectionLossError,
    ReplyTooSlowError,
    SessionClosedError,
    SessionExpiredError,
    UnimplementedError,
    ZooKeeperError,
    session_hex,
)
from zkrecipes.net.backlog import Backlog
from zkrecipes.net.connection import Connection
from zkrecipes.net.connector import Connector
from zkrecipes.net.forks import tell_when_forked
from zkrecipes.net.holds import Holds
from zkrecipes.net.hosts import Host, HostList
from zkrecipes.net.pace import SearchPace
from zkrecipes.net.pending import BREAKS_MAX, Pending
from zkrecipes.net.session import Session
from zkrecipes.net.session_changes import SessionChange, SessionChanges
from zkrecipes.net.suspend_detection import SuspendDetector
from zkrecipes.net.traffic import Traffic
from zkrecipes.net.transport.network import Address, Network, bare_errors
from zkrecipes.net.wakeup import Parking
from zkrecipes.net.watch_removal import WatchRemover
from zkrecipes.net.watch_requests import WatchOwner, end_persistent
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Broken, Connected, Greeting, Replied, WatchFired
from zkrecipes.protocol.requirement import Requirement
from zkrecipes.protocol.states import SessionEvent
from zkrecipes.protocol.watch_registration import UPKEEP
from zkrecipes.protocol.watch_table import ONE_SHOT, WatchTable

__all__ = ["SessionEngine", "SessionOptions"]

logger: logging.Logger = logging.getLogger("zkrecipes.session")

_CLOSE_AT_MOST: Final = 2.0
"""Seconds that closing may take when no server answers; the session ends by itself after its timeout."""
_MISSED_SLICE: Final = 1000
"""How many watches are told of a new connection in one go: a millisecond or two."""
_MOVES_MAX: Final = 2
"""How many times a reply may make the client leave a server before its request ends."""
_SERVED_AFTER: Final = 1.0
"""Seconds after which a connection counts as one that served: the next server is then sought at once."""


@final
@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session is asked for with."""

    session_timeout: float
    read_only: bool
    renew: bool
    tick_time: float | None
    packet_size_max: int
    keep_session: bool = False
    connect_timeout: float | None = None
    """How long `connect()` waits for the first session, in seconds; None for no limit."""


@final
class SessionEngine:
    """The engine of a client; `connect()` runs it.

    Attributes:
        session: the present session; after a renewal a new object.
        watches: every watch of the client, by full path.
        holds: every hold of the present session.
        traffic: what has gone over all connections.
        address: of the server that the client is attached to, or None.
        on_over: called when the client can do no more.
        on_change: called with each change of the session's state, for whoever observes; it must not raise.
    """

    def __init__(
        self,
        network: Network,
        hosts: HostList,
        options: SessionOptions,
        parking: Parking,
        session: Session | None = None,
    ) -> None:
        self.parking = parking
        self._thread = current_thread().name
        self.options = options
        self.session: Session = session or Session(options.session_timeout)
        self.watches: WatchTable[WatchOwner] = WatchTable()
        self._suspensions = SuspendDetector()
        self.holds: Holds = Holds(
            options.tick_time,
            self._send_due_check,
            self._look_at_clock_here,
            self.start_chore,
            parking.current_time,
        )
        self.connector: Connector = Connector(network, hosts, self.watches, parking, options.packet_size_max)
        self.credentials: list[tuple[str, SecretBytes]] = []
        self.traffic: Traffic = Traffic()
        self.address: Address | None = None
        self.on_over: Callable[[], None] | None = None
        self.on_change: Callable[[SessionChange], None] | None = None
        self._connection: Connection | None = None
        self._waiting = Backlog()
        self._broken: ZooKeeperError | None = None
        self._over: ZooKeeperError | None = None
        self._given_up: Session | None = None
        self._watch_remover = WatchRemover(self)
        self.unwatch: Callable[[WatchOwner], None] = self._watch_remover.unwatch
        self._credentials_sent = 0
        self._closing: Pending[None] | None = None
        self._chores: TaskGroup
        self._listeners: list[SessionChanges] = []
        self._on_changes: dict[Callable[[SessionChange], None], None] = {}
        self._changed = anyio.Event()
        self.holds.begin(self.session)
        tell_when_forked(self)

    # --- requests ------------------------------------------------------------------------------------------

    def submit(self, pending: Pending[Any]) -> None:
        """Send a request in its turn: now, or when there is a connection again."""
        connection = self._connection
        if connection is not None:
            if pending.proves_hold:
                pending.evidence = self.holds.evidence()
            connection.side.send(pending)
            connection.wake()
        elif self._over is not None:
            pending.complete(None, copy.copy(self._over))
        else:
            self._waiting.add(pending)

    def check_loop(self) -> None:
        """Return if the caller runs in the client's own loop, before anything is queued.

        Raises:
            RuntimeError: it runs in another loop or thread, where nothing could wake it.
        """
        if self.parking.is_here() or self._over is not None:
            return
        raise RuntimeError(
            f"this client belongs to the event loop in which it was opened (thread {self._thread!r}), and is "
            f"used from another loop or thread ({current_thread().name!r}). Use it in its own loop, through "
            "anyio.from_thread.run or asyncio.run_coroutine_threadsafe, or open another client here"
        )

    @property
    def outstanding(self) -> int:
        """How many requests wait for an answer, or to be sent."""
        connected = 0 if self._connection is None else self._connection.side.outstanding
        return connected + len(self._waiting)

    @property
    def last_zxid(self) -> int:
        """The newest transaction that the present session has seen."""
        connection = self._connection
        return self.session.last_zxid if connection is None else connection.side.last_zxid

    @property
    def answered_sent_at(self) -> float:
        """When the newest answered request or ping of the present session was sent; `-inf` before any."""
        connection = self._connection
        return self.session.answered_sent_at if connection is None else connection.side.answered_sent_at

    async def has(self, version: ServerVersion) -> bool:
        """Whether the server is of this version or a later one; waits until there is a server.

        Raises:
            ZooKeeperError: the client is over.
        """
        known = None if self._connection is None else self._connection.side.capabilities.has(version)
        if known is not None:
            return known
        # Any read will do: the connection settles what it requires before it sends it.
        asking = Pending(ExistsRequest("/", watch=False), _nothing, self.parking)
        asking.requirement = Requirement("this", version)
        self.submit(asking)
        try:
            await asking.wait()
        except UnimplementedError:
            return False
        return True

    def authenticate(self, scheme: str, credential: SecretBytes) -> None:
        """Add a credential to this connection and to every later one; the caller waits for a later reply."""
        if (scheme, credential) not in self.credentials:
            self.credentials.append((scheme, credential))
        if self._connection is not None:
            self._connection.side.authenticate(scheme, credential)
            self._connection.wake()

    @property
    def connection(self) -> Connection | None:
        """The connection that has attached the present session, or None."""
        return self._connection

    def start_chore(self, func: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run `func` in a task that ends with the client."""
        self._chores.start_soon(func, *args)

    # --- states --------------------------------------------------------------------------------------------

    async def wait_connected(self) -> None:
        """Wait until requests can flow.

        Raises:
            ZooKeeperError: they never will.
        """
        while not self.session.state.is_connected:
            if self._over is not None:
                raise copy.copy(self._over)
            await self._changed.wait()

    async def wait_address(self) -> Address:
        """Wait until the client is attached to a server, and return its address.

        Raises:
            ZooKeeperError: it never will be.
        """
        await self.wait_connected()
        while self.address is None:
            # The connection has just ended, and the session will: it says so when it does.
            await self._changed.wait()
            await self.wait_connected()
        return self.address

    @property
    def over(self) -> ZooKeeperError | None:
        """Why the client can do no more, or None while it can."""
        return self._over

    async def wait_over(self) -> ZooKeeperError:
        """Wait until the client can do no more, and return why."""
        while self._over is None:
            await self._changed.wait()
        return self._over

    @contextmanager
    def changes(self) -> Iterator[SessionChanges]:
        """Every change of state from now on, across sessions; it ends with the client."""
        changes = SessionChanges()
        if self._over is None:
            self._listeners.append(changes)
        else:
            changes.end()
        try:
            yield changes
        finally:
            changes.leave()
            if changes in self._listeners:
                self._listeners.remove(changes)

    @contextmanager
    def calling_on_change(self, func: Callable[[SessionChange], None]) -> Iterator[None]:
        """Call `func` with each change of state in this block, at once; it must not raise."""
        self._on_changes[func] = None
        try:
            yield
        finally:
            del self._on_changes[func]

    def _move(self, event: SessionEvent, reason: str = "") -> None:
        session = self.session
        if not session.move(event, reason):
            return
        change = SessionChange(session.id, session.state)
        if self.on_change is not None:
            self.on_change(change)
        for func in tuple(self._on_changes):
            func(change)
        for listener in self._listeners:
            listener.tell(change)
        self._tell_changed()

    def _tell_changed(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    # --- the life of a client ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a session alive until the client is closed, cannot authenticate, or may not renew."""
        with bare_errors():
            async with anyio.create_task_group() as self._chores:
                while self._over is None:
                    await self._run_session(self.session)
                    if self._over is None:
                        self.session = Session(self.options.session_timeout)
                        self.holds.begin(self.session)
                self._chores.cancel_scope.cancel()

    async def close(self) -> None:
        """Close the session on the server, unless it shall be kept, and end every request that still waits.

        That is bounded in time. Cancellation: the client is over all the same.
        """
        session = self.session
        try:
            if session.id != 0 and not session.state.is_final and not self.options.keep_session:
                # before the server gives the locks away, which it does before it answers
                self.holds.end(str(SessionClosedError(session.id)))
                self._closing = Pending(CloseSessionRequest(), _nothing, self.parking, is_idempotent=True)
                self.submit(self._closing)
                with anyio.move_on_after(min(session.timeout / 3, _CLOSE_AT_MOST)):
                    await self._closing.wait()
        except ZooKeeperError as error:
            logger.info(
                "the session %s could not be closed: %s",
                session_hex(session.id),
                error,
                extra={"session_id": session.id},
            )
        finally:
            self._finish(SessionEvent.CLOSED, SessionClosedError(session.id))

    async def _run_session(self, session: Session) -> None:
        while not self._is_over(session):
            try:
                attached = await self._attach(session)
                if attached is None:
                    pass
                elif self._is_over(session):  # closed while the server's answer was on its way
                    await attached[0].aclose()
                else:
                    await self._serve(session, *attached)
            except SessionExpiredError as error:
                self._end_session(error)
            except AuthFailedError as error:
                self._finish(SessionEvent.AUTH_REFUSED, error)
            else:
                if not session.state.is_final and anyio.current_time() >= session.gives_up_at:
                    self._given_up = session
                    reason = "no server answered for a whole session timeout"
                    self._end_session(SessionExpiredError(session.id, reason=reason))

    def forked(self, parent: int) -> None:
        """This process has inherited the client: every call raises from now on, and nothing is sent."""
        self._connection = None
        self._waiting = Backlog()
        reason = f"it was opened in the process {parent}, and this is its child {os.getpid()}: connect here"
        self._over = SessionClosedError(self.session.id, reason=reason)
        self.holds.inherited(str(self._over))

    def _is_over(self, session: Session) -> bool:
        return self._over is not None or session.state.is_final

    async def _attach(self, session: Session) -> tuple[Connection, Connected, Address] | None:
        """A connection that has attached the session, or None when its time is over."""
        pace = self._pace(session)
        if self._given_up is not None:
            # a zxid of 0, for any server may do this
            await self.connector.close_session(self._greeting(self._given_up, 0), pace)
            self._given_up = None
        with anyio.move_on_at(session.gives_up_at):
            return await self.connector.attach(self._greeting(session, session.last_zxid), pace)
        return None

    def _greeting(self, session: Session, last_zxid: int) -> Greeting:
        self._credentials_sent = len(self.credentials)
        return Greeting(
            timeout=session.asked_timeout,
            session_id=session.id,
            password=session.password,
            last_zxid=last_zxid,
            read_only=self.options.read_only,
            credentials=tuple(self.credentials),
        )

    def _pace(self, session: Session) -> SearchPace:
        def ends_at() -> float:
            return min(session.gives_up_at, self.holds.cancel_at) if self.holds else session.gives_up_at

        is_first = not self.traffic.sessions
        return SearchPace(
            timeout=session.timeout,
            is_new=session.id == 0,
            connect_timeout=self.options.connect_timeout if is_first else None,
            ends_at=ends_at,
            has_holds=lambda: bool(self.holds),
        )

    async def _serve(
        self, session: Session, connection: Connection, connected: Connected, address: Address
    ) -> None:
        self._broken = None
        suspended = self.look_at_clock()
        if suspended:
            connection.side.suspended(suspended)  # its greeting, too, was sent before that
        attached_at = anyio.current_time()
        try:
            self.traffic.connections += 1
            self.traffic.sessions += session.state is SessionState.CONNECTING
            connection.traffic = self.traffic
            session.adopt(connected)
            self.address = address
            self.holds.attached(connected)
            for scheme, credential in self.credentials[self._credentials_sent :]:
                connection.side.authenticate(scheme, credential)
            self._connection = connection
            waiting = self._waiting.take()
            if waiting and waiting[0].breaks:
                # If this connection breaks on it, too, it takes no other with it.
                connection.side.window.suspect = waiting[0]
            for pending in waiting:
                self.submit(pending)
            self._move(SessionEvent.ATTACHED_READ_ONLY if connected.read_only else SessionEvent.ATTACHED)
            await self._tell_watches(connection)
            self._watch_remover.attached()
            self._send_due_check()
            if connected.read_only:
                self.start_chore(self._leave_for_full_server, connection)
            await connection.run(self)
        finally:
            if anyio.current_time() - attached_at >= _SERVED_AFTER:
                self.connector.hosts.succeeded()
            self._detach(session, connection)
            with anyio.CancelScope(shield=True):
                await connection.aclose()
        if isinstance(self._broken, (SessionExpiredError, AuthFailedError)):
            raise self._broken

    async def _tell_watches(self, connection: Connection) -> None:
        if connection.side.capabilities.has(ServerVersion.V3_6) is False:
            end_persistent(self.watches)
        # Before any event of this connection is taken. There may be many: let the loop turn in between.
        for number, owner in enumerate(self.watches.owners(), 1):
            owner.missed()
            if number % _MISSED_SLICE == 0:
                await anyio.lowlevel.checkpoint()

    async def _leave_for_full_server(self, connection: Connection) -> None:
        """A session of a read-only server is known to no other: what comes then is an expiry, as a rule."""
        found = await self.connector.find_read_write_server(lambda: self._connection is connection)
        if found is not None and self._connection is connection:
            host, address = found
            self.move_to(host, f"{host} has a quorum, and this server is read-only", address)

    def move_to(self, host: Host, reason: str, address: Address | None = None) -> None:
        """Go on at another server, once what was sent to this one is answered."""
        self.connector.hosts.prefer(host, address)
        if self._connection is not None:
            self._connection.side.retire(reason)
            self._connection.hurry(float("-inf"))

    def _detach(self, session: Session, connection: Connection) -> None:
        """The connection is over: decide for each of its requests whether it is sent again."""
        hosts = self.connector.hosts
        address, host = self.address, hosts.last_tried
        if (
            address is not None
            and self.connector.capability_cache.ended(address, connection.side)
            and host is not None
        ):
            hosts.prefer(host, address)
        self._connection = self.address = None
        self._watch_remover.detached()
        side = connection.side
        session.saw(side.last_zxid, side.answered_sent_at, side.heard_at)
        self.holds.detached()
        reason = _reason(self._broken)
        ends = isinstance(self._broken, (SessionExpiredError, AuthFailedError))
        if not ends and self._over is None:
            self._move(SessionEvent.DETACHED, reason)
        in_flight, unsent = side.leftover()
        again: list[Pending[Any]] = []
        pendings = [each for each in in_flight if isinstance(each, Pending)]
        if pendings and not ends and self._over is None:
            self._blame(pendings[0], reason)
        for pending in pendings:
            if not (pending.is_dropped or pending.is_done):
                if pending.is_repeatable:
                    again.append(pending)
                else:
                    pending.complete(None, _loss(pending, reason))
        again += [ticket for ticket in unsent if isinstance(ticket, Pending)]
        self._waiting.put_first(again)
        if self._over is not None:
            self._waiting.fail(self._over)

    def _blame(self, oldest: Pending[Any], reason: str) -> None:
        """Count the break against the oldest request in flight; end a read that breaks every connection."""
        oldest.breaks += 1
        if oldest.breaks <= BREAKS_MAX or oldest.is_dropped or oldest.is_done:
            return
        if oldest.is_repeatable and not oldest.is_idempotent:
            reason += f"; {oldest.breaks} connections broke while it was the oldest request in flight"
            error = _loss(oldest, reason)
            logger.warning("%s: it is not sent again", error, extra={"session_id": self.session.id})
            oldest.complete(None, error)

    def _end_session(self, error: SessionExpiredError) -> None:
        """The session has expired; the client goes on in another one if it may."""
        if not self.options.renew or self._closing is not None:
            self._finish(SessionEvent.EXPIRED, error)
            return
        self._end_with_session(SessionEvent.EXPIRED, error)
        self._waiting.fail_writes(error)

    def _finish(self, event: SessionEvent, error: ZooKeeperError) -> None:
        """The client is over; nothing goes on."""
        if self._over is not None:
            return
        self._over = error
        if not self.session.state.is_final:
            self._end_with_session(event, error)
        for owner in self.watches.owners():
            self.watches.drop(owner)
            owner.ended(copy.copy(error))
        self._waiting.fail(error)
        for listener in self._listeners:
            listener.end()
        self._listeners.clear()
        self._tell_changed()
        if self.on_over is not None:
            self.on_over()

    def _end_with_session(self, event: SessionEvent, error: ZooKeeperError) -> None:
        self._move(event, _reason(error))
        self.holds.end(str(error))
        for owner in self.watches.owners(*ONE_SHOT):
            self.watches.drop(owner)
            owner.ended(copy.copy(error))

    # --- what the connection asks (Driver) -----------------------------------------------------------------

    def look_at_clock(self) -> float:
        """If the machine was suspended, all that was proven is as much older; for how many seconds it was."""
        seconds = self._suspensions.since_last_look()
        session, connection = self.session, self._connection
        if not seconds:
            if connection is not None:
                connection.look_at_clock()
            return 0.0
        extra = {"session_id": session.id}
        logger.warning("the machine was suspended for %.1f seconds", seconds, extra=extra)
        session.suspended(seconds)
        self.holds.suspended(seconds)
        if connection is not None:
            connection.side.suspended(seconds)
            connection.hurry(float("-inf"))
        return seconds

    def _look_at_clock_here(self) -> None:
        """Look at the clock for a hold, whose questions change what belongs to the loop."""
        self.check_loop()
        self.look_at_clock()

    def was_blocked(self, at_least: float, at_most: float) -> None:
        """Log it, let holds that are lost by it say so, and give a check on its way its time again."""
        blocked = f"the event loop was blocked for {at_least:.1f} to {at_most:.1f} seconds"
        logger.warning("%s (reading and pinging now)", blocked, extra={"session_id": self.session.id})
        self.holds.was_blocked(blocked, anyio.current_time())

    def next_deadline(self) -> float:
        """When the next check of the holds is due, or when an unanswered one is too old."""
        return self.holds.checks.next_deadline()

    def tick(self, now: float) -> None:
        """Send a check that is due; leave a server that does not answer one."""
        connection = self._connection
        if connection is None:
            return
        if self.holds.checks.unanswered(now):
            self._leave(connection.side, now)
        self._send_due_check()

    def _leave(self, side: ClientSide, now: float) -> None:
        """Leave a server that has not answered a check in time; a reply may be the cause."""
        arriving = side.arriving
        if arriving is None or not isinstance(arriving.ticket, Pending):
            side.lose("a check of the holds was not answered: the server may have no quorum")
            return
        pending, rate = arriving.ticket, arriving.received / max(now - arriving.since, 1e-9)
        side.lose(
            f"a check of the holds waits behind a reply of {arriving.size} bytes, which arrives at "
            f"{rate:.0f} bytes a second"
        )
        pending.moves += 1
        if pending.moves >= _MOVES_MAX and not (pending.is_dropped or pending.is_done):
            error = ReplyTooSlowError(
                _name(pending), path=_path(pending), size=arriving.size, rate=rate, timeout=side.timeout
            )
            logger.warning("%s", error, extra={"session_id": self.session.id})
            pending.complete(None, error)

    def take_events(self, now: float) -> None:
        """Hand every event to whom it concerns."""
        connection = self._connection
        if connection is None:
            return
        side, has_holds, replies = connection.side, bool(self.holds), 0
        while (event := side.next_event()) is not None:
            if isinstance(event, Replied):
                replies += 1
                self._take_reply(event, now)
                if has_holds:
                    # Each counts: many requests leave in one send, so their times do not tell them apart.
                    self.holds.checks.replied_to_earlier(now)
            elif isinstance(event, WatchFired):
                for owner in event.owners:
                    owner.fired(event.event)
            elif isinstance(event, Broken):
                self._broken = event.error
        if side.registrations.unneeded:
            self._watch_remover.remove_unneeded()
        self.traffic.replies += replies
        side.window.is_limited = bool(self.holds)
        self.holds.answered(side.answered_sent_at, side.committed_sent_at, now)
        if has_holds and (arriving := side.arriving) is not None and isinstance(arriving.ticket, Pending):
            self.holds.checks.heard_earlier(side.heard_at)
        self._send_due_check()

    def _take_reply(self, replied: Replied, now: float) -> None:
        ticket = replied.ticket
        if not isinstance(ticket, Pending):
            self.holds.take_reply(replied, now)
            return
        ticket.complete(replied.reply, replied.error, replied.zxid)
        if ticket is self._closing and replied.error is None:
            self._finish(SessionEvent.CLOSED, SessionClosedError(self.session.id))
        elif ticket.watcher not in (None, UPKEEP) and ticket.watcher.is_left:
            self.unwatch(ticket.watcher)  # its block was left while the request was under way

    def _send_due_check(self) -> None:
        connection = self._connection
        if connection is None or not self.holds:
            return
        side = connection.side
        side.window.is_limited = True
        for check in self.holds.take_due_checks(self.parking.current_time()):
            side.send(check, urgent=True)
            connection.wake()
        connection.hurry(self.holds.checks.next_deadline())


def _nothing(_: object) -> None:
    """For requests whose answer says nothing."""


def _reason(error: ZooKeeperError | None) -> str:
    return "" if error is None else str(getattr(error, "reason", "") or error)


def _name(pending: Pending[Any]) -> str:
    return type(pending.request).__name__.removesuffix("Request")


def _path(pending: Pending[Any]) -> str | None:
    return pending.request.path


def _loss(pending: Pending[Any], reason: str) -> ConnectionLossError:
    if pending.is_suspiciously_large:
        reason += f"; the request has {pending.request_size} bytes: more than the server's jute.maxbuffer?"
    is_write = pending.request.is_write
    return ConnectionLossError(_name(pending), path=_path(pending), reason=reason, is_write=is_write)

"""Keeps one session alive over many connections, and one session after another.

One task, `SessionEngine.run`, is the whole life of a client: find a server, serve the connection until it
ends, decide what that means for the session, begin again. Other tasks submit requests: the current connection
sends them, or they wait in the backlog until there is one.

The state of one connection is in `attached_connection.py`, that of one session in `session.py`, and the feed
of session states in `session_changes.py`.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Coroutine
from threading import current_thread
from typing import Any, Final, final

import anyio
from anyio.abc import TaskGroup

from zkrecipes.codec.messages import CloseSessionRequest
from zkrecipes.codec.secret import SecretBytes
from zkrecipes.enums import SessionState
from zkrecipes.errors import (
    AuthFailedError,
    SessionClosedError,
    SessionExpiredError,
    ZooKeeperError,
    session_hex,
)
from zkrecipes.net.attached_connection import AttachedConnection
from zkrecipes.net.backlog import Backlog
from zkrecipes.net.connect_string import Host
from zkrecipes.net.connection import Traffic
from zkrecipes.net.connector import Connector
from zkrecipes.net.fork_detection import notify_in_child
from zkrecipes.net.holds import Holds
from zkrecipes.net.host_list import HostList
from zkrecipes.net.pending import PendingRequest, ignore_reply
from zkrecipes.net.server_search import FoundServer, ServerSearch
from zkrecipes.net.session import Session, SessionOptions, SessionRecord, plain_reason
from zkrecipes.net.session_changes import SessionChange, SessionChangeFeed
from zkrecipes.net.suspend_detection import SuspendDetector
from zkrecipes.net.transport.network import Address, Network, bare_errors
from zkrecipes.net.wakeup import Parking, wrong_loop_error
from zkrecipes.net.watch_removal import WatchRemover
from zkrecipes.net.watch_requests import WatchOwner, end_watches, report_attached
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.states import SessionEvent
from zkrecipes.protocol.watch_table import ONE_SHOT, WatchTable

__all__ = ["SessionEngine"]

logger: logging.Logger = logging.getLogger("zkrecipes.session")

_CLOSE_TIME_MAX: Final = 2.0
"""The seconds that closing may take if no server answers; the session then ends after its timeout."""
_SERVED_AFTER: Final = 1.0
"""The seconds after which a connection counts as one that served: the next search then starts at once."""


@final
class SessionEngine:
    """The engine of a client; `connect()` runs it.

    Attributes:
        watches: every watch of the client, by full path.
        holds: every hold of the current session.
        changes: the feed of session states.
        traffic: the counts over all connections.
        attached: the connection that has the current session attached, or None.
        final_error: the error that ended the client, of which every call raises a copy; None until then.
        on_end: called once when the client has ended.
        unwatch: removes the watches of an owner whose block has been left.
    """

    def __init__(
        self,
        network: Network,
        hosts: HostList,
        options: SessionOptions,
        parking: Parking,
        session: SessionRecord | None = None,
    ) -> None:
        self.options = options
        self.parking = parking
        self.watches: WatchTable[WatchOwner] = WatchTable()
        self.connector: Connector = Connector(network, hosts, self.watches, parking, options.packet_size_max)
        self.changes: SessionChangeFeed = SessionChangeFeed()
        self.traffic: Traffic = Traffic()
        self.on_end: Callable[[], None] | None = None
        self.attached: AttachedConnection | None = None
        self.final_error: ZooKeeperError | None = None
        self._session = session or SessionRecord(options.session_timeout)
        self._backlog = Backlog()
        self._closing: PendingRequest[None] | None = None
        self._suspend_detector = SuspendDetector()
        self._watch_remover = WatchRemover(self)
        self.unwatch: Callable[[WatchOwner], None] = self._watch_remover.unwatch
        self._tasks: TaskGroup
        self._thread_name = current_thread().name
        self.holds: Holds = Holds(
            options.tick_time,
            self._send_due_checks,
            self._check_loop_and_clock,
            self.start_task,
            parking.current_time,
        )
        self._search = ServerSearch(self.connector, options, self.holds)
        self.credentials: list[tuple[str, SecretBytes]] = self._search.credentials
        self.holds.begin(self._session.handle)
        notify_in_child(self)

    @property
    def session(self) -> Session:
        """The current session; after a renewal a new object."""
        return self._session.handle

    async def run(self) -> None:
        """Keep a session alive until the client is closed, cannot authenticate, or may not renew."""
        with bare_errors():
            async with anyio.create_task_group() as self._tasks:
                while self.final_error is None:
                    await self._run_session(self._session)
                    if self.final_error is None:
                        self._session = SessionRecord(self.options.session_timeout)
                        self.holds.begin(self._session.handle)
                self._tasks.cancel_scope.cancel()

    async def _run_session(self, session: SessionRecord) -> None:
        while not self._has_ended(session):
            try:
                found = await self._search.find(session)
                if found is None:
                    pass
                elif self._has_ended(session):  # closed while the server's answer was on its way
                    await found.connection.aclose()
                else:
                    await self._serve(session, found)
            except SessionExpiredError as error:
                self._end_session(error)
            except AuthFailedError as error:
                self._end_client(SessionEvent.AUTH_REFUSED, error)
            else:
                if not session.state.is_final and anyio.current_time() >= session.gives_up_at:
                    self._search.close_first(session)
                    reason = "no server answered for a whole session timeout"
                    self._end_session(SessionExpiredError(session.id, reason=reason))

    def _has_ended(self, session: SessionRecord) -> bool:
        return self.final_error is not None or session.state.is_final

    async def close(self) -> None:
        """Close the session on the server unless it is to be kept, and fail every request that still waits.

        The time for it is bounded. Cancellation: the client has ended even then.
        """
        session = self._session
        try:
            if session.id != 0 and not session.state.is_final and not self.options.keep_session:
                # before the server gives the locks away, which it does before it answers
                self.holds.end(str(SessionClosedError(session.id)))
                close = PendingRequest(CloseSessionRequest(), ignore_reply, self.parking, is_idempotent=True)
                close.on_done = self._note_reply_to_close
                self._closing = close
                self.submit(close)
                with anyio.move_on_after(min(session.timeout / 3, _CLOSE_TIME_MAX)):
                    await close.wait()
        except ZooKeeperError as error:
            extra = {"session_id": session.id}
            logger.info("could not close the session %s: %s", session_hex(session.id), error, extra=extra)
        finally:
            self._end_client(SessionEvent.CLOSED, SessionClosedError(session.id))

    def _note_reply_to_close(self) -> None:
        if self._closing is not None and self._closing.is_done and self._closing.error is None:
            self._end_client(SessionEvent.CLOSED, SessionClosedError(self._session.id))

    def forked(self, parent: int) -> None:
        """End the client in a child process that inherited it: every call raises, and nothing is sent."""
        if self.attached is not None:
            self.attached.abandon()
            self.attached = None
        self._backlog = Backlog()
        reason = f"it was opened in the process {parent}, and this is its child {os.getpid()}: connect here"
        self.final_error = SessionClosedError(self._session.id, reason=reason)
        self.holds.inherited(str(self.final_error))

    async def _serve(self, session: SessionRecord, found: FoundServer) -> None:
        suspended = self.look_at_clock()
        if suspended:
            found.connection.side.suspended(suspended)  # the greeting was sent before the suspension
        attached = AttachedConnection(
            found, session, self.holds, self._watch_remover, self.traffic, look_at_clock=self.look_at_clock
        )
        attached_at = anyio.current_time()
        try:
            self._attach(session, attached, found)
            await report_attached(self.watches, attached.side.capabilities)
            self._watch_remover.attached()
            attached.send_due_checks()
            if found.connected.read_only:
                self.start_task(self._leave_for_read_write_server, attached)
            await attached.run()
        finally:
            if anyio.current_time() - attached_at >= _SERVED_AFTER:
                self.connector.hosts.note_success()
            self._detach(session, attached)
            with anyio.CancelScope(shield=True):
                await found.connection.aclose()
        if attached.broken is not None and attached.ends_session:
            raise attached.broken

    def _attach(self, session: SessionRecord, attached: AttachedConnection, found: FoundServer) -> None:
        """Make `attached` the current connection: send what waits for one, and announce the state."""
        connected, side = found.connected, attached.side
        self.traffic.connections += 1
        self.traffic.sessions += session.state is SessionState.CONNECTING
        session.attach(connected)
        self.holds.attached(connected)
        for scheme, credential in self.credentials[found.credentials_sent :]:
            side.authenticate(scheme, credential)
        self.attached = attached
        waiting = self._backlog.take()
        if waiting and waiting[0].breaks:
            # If this connection breaks on the request as well, no other request is in flight with it.
            side.window.suspect = waiting[0]
        for pending in waiting:
            self.submit(pending)
        self._change_state(SessionEvent.ATTACHED_READ_ONLY if connected.read_only else SessionEvent.ATTACHED)

    def _detach(self, session: SessionRecord, attached: AttachedConnection) -> None:
        """Record what the connection has shown, and keep its unanswered requests for the next one."""
        self.attached = None
        side, hosts = attached.side, self.connector.hosts
        is_well = self.connector.capability_cache.note_end(attached.address, side)
        if is_well and hosts.last_tried is not None:
            hosts.prefer(hosts.last_tried, attached.address)
        self._watch_remover.detached()
        session.note_progress(side.last_zxid, side.answered_sent_at, side.heard_at)
        self.holds.detached()
        is_client_over = self.final_error is not None
        if not attached.ends_session and not is_client_over:
            self._change_state(SessionEvent.DETACHED, attached.break_reason)
        self._backlog.put_first(attached.take_repeatable(is_client_over=is_client_over))
        if self.final_error is not None:
            self._backlog.fail(self.final_error)

    async def _leave_for_read_write_server(self, attached: AttachedConnection) -> None:
        """Move to a server that has a quorum once there is one.

        No other server knows a session of a read-only server, so the move usually ends the session.
        """
        found = await self.connector.find_read_write_server(lambda: self.attached is attached)
        if found is not None and self.attached is attached:
            host, address = found
            self.move_to(host, f"{host} has a quorum, and this server is read-only", address)

    def move_to(self, host: Host, reason: str, address: Address | None = None) -> None:
        """Continue at another server once what was sent to this one is answered."""
        self.connector.hosts.prefer(host, address)
        if self.attached is not None:
            self.attached.retire(reason)

    def _end_session(self, error: SessionExpiredError) -> None:
        """End the expired session; the client continues in another one if it may."""
        if self.options.renew and self._closing is None:
            self._end_what_needs_session(SessionEvent.EXPIRED, error)
            self._backlog.fail_writes(error)
        else:
            self._end_client(SessionEvent.EXPIRED, error)

    def _end_client(self, event: SessionEvent, error: ZooKeeperError) -> None:
        """End the client; `error` is raised by every later call."""
        if self.final_error is not None:
            return
        self.final_error = error
        if not self._session.state.is_final:
            self._end_what_needs_session(event, error)
        end_watches(self.watches, error)
        self._backlog.fail(error)
        self.changes.end()
        if self.on_end is not None:
            self.on_end()

    def _end_what_needs_session(self, event: SessionEvent, error: ZooKeeperError) -> None:
        self._change_state(event, plain_reason(error))
        self.holds.end(str(error))
        end_watches(self.watches, error, *ONE_SHOT)

    def _change_state(self, event: SessionEvent, reason: str = "") -> None:
        session = self._session
        if session.apply(event, reason):
            self.changes.announce(SessionChange(session.id, session.state))

    def submit(self, pending: PendingRequest[Any]) -> None:
        """Send a request in its turn: now, or when there is a connection again."""
        attached = self.attached
        if attached is not None:
            if pending.proves_hold:
                pending.evidence = self.holds.evidence()
            attached.side.send(pending)
            attached.connection.wake()
        elif self.final_error is not None:
            pending.complete(None, copy.copy(self.final_error))
        else:
            self._backlog.add(pending)

    def authenticate(self, scheme: str, credential: SecretBytes) -> None:
        """Add a credential to this connection and to every later one; the caller waits for a later reply."""
        if (scheme, credential) not in self.credentials:
            self.credentials.append((scheme, credential))
        if self.attached is not None:
            self.attached.authenticate(scheme, credential)

    def start_task(self, func: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run `func` in a task that ends with the client."""
        self._tasks.start_soon(func, *args)

    @property
    def side(self) -> ClientSide | None:
        """The protocol of the current connection, or None."""
        return None if self.attached is None else self.attached.side

    @property
    def address(self) -> Address | None:
        """The address of the server that the client is attached to, or None."""
        return None if self.attached is None else self.attached.address

    @property
    def outstanding(self) -> int:
        """The number of requests that wait for an answer or for a connection."""
        in_flight = 0 if self.attached is None else self.attached.side.outstanding
        return in_flight + len(self._backlog)

    @property
    def progress(self) -> SessionRecord | ClientSide:
        """The newest `last_zxid` and `answered_sent_at` of the current session."""
        return self._session if self.attached is None else self.attached.side

    async def wait_connected(self) -> None:
        """Wait until requests can flow.

        Raises:
            ZooKeeperError: the client has ended, so they never will.
        """
        while not self._session.state.is_connected:
            if self.final_error is not None:
                raise copy.copy(self.final_error)
            await self.changes.wait()

    async def wait_address(self) -> Address:
        """Wait until the client is attached to a server, and return its address.

        Raises:
            ZooKeeperError: the client has ended, so it never will be.
        """
        while True:
            await self.wait_connected()
            if self.address is not None:
                return self.address
            # The connection has just ended, and the session is about to; the feed announces its end.
            await self.changes.wait()

    def check_loop(self) -> None:
        """Check that the caller runs in the client's own loop, before anything is queued.

        Raises:
            RuntimeError: the caller runs in another loop or thread, where the client cannot wake it.
        """
        if self.parking.is_here() or self.final_error is not None:
            return
        raise wrong_loop_error(self._thread_name)

    def look_at_clock(self) -> float:
        """Return the seconds for which the machine was suspended, after correcting all proofs by them."""
        seconds, attached = self._suspend_detector.since_last_look(), self.attached
        if not seconds:
            if attached is not None:
                attached.connection.look_at_clock()
            return 0.0
        extra = {"session_id": self._session.id}
        logger.warning(
            "the machine was suspended for %.1f seconds (counting them in every timeout)",
            seconds,
            extra=extra,
        )
        self._session.suspended(seconds)
        self.holds.suspended(seconds)
        if attached is not None:
            attached.suspended(seconds)
        return seconds

    def _check_loop_and_clock(self) -> None:
        """Look at the clock for a hold, only in the client's loop, whose objects this may change."""
        self.check_loop()
        self.look_at_clock()

    def _send_due_checks(self) -> None:
        if self.attached is not None:
            self.attached.send_due_checks()

"""One connection that has the client's session attached: the state that begins and ends with it.

`AttachedConnection` is the owner of its `Connection`: it hands each event to the task, watch or hold that it
concerns, sends the checks of the holds, and leaves a server that does not answer them. When the connection
has ended, it decides for each unanswered request whether the next connection sends it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, final

from zkrecipes.codec.secret import SecretBytes
from zkrecipes.errors import (
    AuthFailedError,
    ConnectionLossError,
    ReplyTooSlowError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.net.connection import Connection, Traffic
from zkrecipes.net.holds import Holds
from zkrecipes.net.pending import BREAKS_MAX, PendingRequest
from zkrecipes.net.server_search import FoundServer
from zkrecipes.net.session import SessionRecord, plain_reason
from zkrecipes.net.transport.network import Address
from zkrecipes.net.watch_removal import WatchRemover
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Broken, Replied, WatchFired
from zkrecipes.protocol.watch_registration import UPKEEP

__all__ = ["AttachedConnection"]

logger: logging.Logger = logging.getLogger("zkrecipes.session")

_MOVES_MAX: Final = 2
"""The number of times that a reply may make the client leave a server before its request ends."""
_NOW: Final = float("-inf")


@final
class AttachedConnection:
    """A connection that serves the session, as its `ConnectionOwner`.

    Args:
        found: the connection, whose traffic is counted in `traffic` from now on.
        session: the attached session.
        holds: the client's holds.
        watch_remover: removes the watches whose blocks have been left.
        traffic: the client's counts.
        look_at_clock: notices a suspension of the machine or a blocked loop.

    Attributes:
        side: the connection's protocol.
        address: the server's address.
        broken: the error that ended the connection, or None.
    """

    def __init__(
        self,
        found: FoundServer,
        session: SessionRecord,
        holds: Holds,
        watch_remover: WatchRemover,
        traffic: Traffic,
        *,
        look_at_clock: Callable[[], object],
    ) -> None:
        self.connection: Connection = found.connection
        self.side: ClientSide = found.connection.side
        self.address: Address = found.address
        self.broken: ZooKeeperError | None = None
        self.look_at_clock = look_at_clock
        self._session = session
        self._holds = holds
        self._watch_remover = watch_remover
        self._traffic = traffic
        self._is_abandoned = False
        found.connection.traffic = traffic

    @property
    def ends_session(self) -> bool:
        """Whether the session has ended with the connection."""
        return isinstance(self.broken, (SessionExpiredError, AuthFailedError))

    @property
    def break_reason(self) -> str:
        """The reason why the connection ended; empty if it reported none."""
        return "" if self.broken is None else plain_reason(self.broken)

    async def run(self) -> None:
        """Serve until the connection has ended."""
        await self.connection.run(self)

    def authenticate(self, scheme: str, credential: SecretBytes) -> None:
        """Send a credential."""
        self.side.authenticate(scheme, credential)
        self.connection.wake()

    def retire(self, reason: str) -> None:
        """End the connection once every request that was sent is answered."""
        self.side.retire(reason)
        self.connection.hurry(_NOW)

    def abandon(self) -> None:
        """Handle no more events, because the connection belongs to the parent process."""
        self._is_abandoned = True

    def suspended(self, seconds: float) -> None:
        """Count the time during which the loop's clock stood still, and check all deadlines now."""
        self.side.suspended(seconds)
        self.connection.hurry(_NOW)

    # --- what the connection calls (`ConnectionOwner`) -----------------------------------------------------

    def next_deadline(self) -> float:
        """Return the time at which the next check of the holds is due, or an unanswered one is too old."""
        return self._holds.checks.next_deadline()

    def was_blocked(self, at_least: float, at_most: float) -> None:
        """Log that the loop was blocked, and report it to the holds, for their errors and their checks."""
        blocked = f"the event loop was blocked for {at_least:.1f} to {at_most:.1f} seconds"
        logger.warning("%s (reading and pinging now)", blocked, extra={"session_id": self._session.id})
        self._holds.was_blocked(blocked, self._holds.now())

    def tick(self, now: float) -> None:
        """Send a check that is due; leave a server that does not answer one."""
        if self._is_abandoned:
            return
        if self._holds.checks.is_overdue(now):
            self._leave_server(now)
        self.send_due_checks()

    def handle_events(self, now: float) -> None:
        """Pass every event of the protocol to the task, watch or hold that it concerns."""
        if self._is_abandoned:
            return
        side, has_holds, replies = self.side, bool(self._holds), 0
        while (event := side.next_event()) is not None:
            if isinstance(event, Replied):
                replies += 1
                self._receive_reply(event, now)
                if has_holds:
                    # Each reply counts: requests that left in one send have the same `sent_at`, so `answered`
                    # sees only one.
                    self._holds.checks.replied_to_earlier(now)
            elif isinstance(event, WatchFired):
                for owner in event.owners:
                    owner.fired(event.event)
            elif isinstance(event, Broken):
                self.broken = event.error
        if side.registrations.unneeded:
            self._watch_remover.remove_unneeded()
        self._traffic.replies += replies
        side.window.is_limited = bool(self._holds)
        self._holds.answered(side.answered_sent_at, side.committed_sent_at, now)
        if (
            has_holds
            and (arriving := side.partial_reply) is not None
            and isinstance(arriving.ticket, PendingRequest)
        ):
            self._holds.checks.heard_earlier(side.heard_at)
        self.send_due_checks()

    def _receive_reply(self, replied: Replied, now: float) -> None:
        ticket = replied.ticket
        if not isinstance(ticket, PendingRequest):
            self._holds.receive_reply(replied, now)
            return
        ticket.complete(replied.reply, replied.error, replied.zxid)
        if ticket.watcher not in (None, UPKEEP) and ticket.watcher.is_left:
            self._watch_remover.unwatch(ticket.watcher)  # its block was left while the request was in flight

    # --- the checks of the holds ---------------------------------------------------------------------------

    def send_due_checks(self) -> None:
        """Send the checks that are due, ahead of all other requests."""
        if not self._holds:
            return
        self.side.window.is_limited = True
        for check in self._holds.take_due_checks(self._holds.now()):
            self.side.send(check, urgent=True)
            self.connection.wake()
        self.connection.hurry(self._holds.checks.next_deadline())

    def _leave_server(self, now: float) -> None:
        """Leave a server that has not answered a check in time; a large reply may be the cause."""
        side, arriving = self.side, self.side.partial_reply
        if arriving is None or not isinstance(arriving.ticket, PendingRequest):
            side.lose("a check of the holds was not answered: the server may have no quorum")
            return
        pending, rate = arriving.ticket, arriving.received / max(now - arriving.since, 1e-9)
        side.lose(
            f"a check of the holds waits behind a reply of {arriving.size} bytes, which arrives at "
            f"{rate:.0f} bytes per second"
        )
        pending.moves += 1
        if pending.moves >= _MOVES_MAX and not pending.is_settled:
            error = ReplyTooSlowError(
                _name(pending), path=_path(pending), size=arriving.size, rate=rate, timeout=side.timeout
            )
            logger.warning("%s", error, extra={"session_id": self._session.id})
            pending.complete(None, error)

    # --- the requests that the connection leaves unanswered ------------------------------------------------

    def take_repeatable(self, *, is_client_over: bool) -> list[PendingRequest[Any]]:
        """Return the unanswered requests to send on the next connection, in order; fail the others.

        Args:
            is_client_over: whether there will be no next connection.
        """
        in_flight, unsent = self.side.leftover()
        reason = self.break_reason
        requests = [each for each in in_flight if isinstance(each, PendingRequest)]
        if requests and not self.ends_session and not is_client_over:
            self._blame(requests[0], reason)
        unsettled = [each for each in requests if not each.is_settled]
        for pending in unsettled:
            if not pending.is_repeatable:
                pending.complete(None, _loss(pending, reason))
        repeated = [each for each in unsettled if each.is_repeatable]
        return repeated + [ticket for ticket in unsent if isinstance(ticket, PendingRequest)]

    def _blame(self, oldest: PendingRequest[Any], reason: str) -> None:
        """Count the break against the oldest request in flight; end a read that breaks every connection."""
        oldest.breaks += 1
        if oldest.breaks <= BREAKS_MAX or oldest.is_settled:
            return
        if oldest.is_repeatable and not oldest.is_idempotent:
            reason += f"; {oldest.breaks} connections broke while it was the oldest request in flight"
            error = _loss(oldest, reason)
            logger.warning("%s: it is not sent again", error, extra={"session_id": self._session.id})
            oldest.complete(None, error)


def _loss(pending: PendingRequest[Any], reason: str) -> ConnectionLossError:
    if pending.is_suspiciously_large:
        reason += f"; the request has {pending.request_size} bytes: more than the server's jute.maxbuffer?"
    is_write = pending.request.is_write
    return ConnectionLossError(_name(pending), path=_path(pending), reason=reason, is_write=is_write)


def _name(pending: PendingRequest[Any]) -> str:
    return type(pending.request).__name__.removesuffix("Request")


def _path(pending: PendingRequest[Any]) -> str | None:
    return pending.request.path

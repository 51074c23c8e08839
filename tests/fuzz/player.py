"""Plays the client's end of a conversation, and checks that any answers leave it in a valid state.

There is no I/O: the answers are fed in chunks, and the client's bytes are discarded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import final

from tests.fuzz.conversations import Conversation
from zkrecipes.errors import (
    AuthFailedError,
    ConnectionLossError,
    ProtocolError,
    SessionError,
    ZooKeeperError,
)
from zkrecipes.protocol.capabilities import Capabilities
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.connection_stage import Stage
from zkrecipes.protocol.events import Broken, ClientEvent, Connected, Greeting, Replied, Ticket, WatchFired
from zkrecipes.protocol.watch_table import WatchTable

PACKET_SIZE_MAX = 64 * 1024
TIMEOUT = 10.0
# The end of the stream is a lost connection; sessions end by codes that a mutation has made.
_ENDINGS = (ProtocolError, ConnectionLossError, SessionError, AuthFailedError)
_MESSAGE_MAX = 1000


@final
class Player:
    """A player of a conversation's script, which judges how the client side handles the answers.

    Attributes:
        side: the client side.
        events: all its events so far.
    """

    def __init__(self, conversation: Conversation) -> None:
        script = conversation.script
        watches: WatchTable[object] = WatchTable()
        for kind, path in script.watched:
            watches.add(kind, path, (kind, path))
        self.side = ClientSide(
            Greeting(TIMEOUT, credentials=script.credentials),
            watches,
            now=0.0,
            packet_size_max=PACKET_SIZE_MAX,
            guess=Capabilities(conversation.version),
        )
        self.events: list[ClientEvent] = []
        self._tickets = [Ticket(ask.request, ask if ask.is_watch else None) for ask in script.requests]
        self._now = 0.0
        self._has_pinged = False
        self.side.window.size = len(self._tickets) + 1  # the server answered when all had been sent
        for ticket in self._tickets:
            self.side.send(ticket)

    def send_due(self) -> bytes:
        """Return the bytes that are due, including a ping once the connection is live."""
        side = self.side
        if side.stage is Stage.LIVE and not self._has_pinged:
            self._has_pinged = True
            self._now = max(self._now, side.next_deadline())
            side.tick(self._now)
            self._take_events()
        return side.data_to_send(self._now)

    def receive(self, chunks: Iterable[bytes]) -> None:
        """Take chunks; after the end of the connection, only one."""
        side = self.side
        for chunk in chunks:
            was_dead = side.is_dead
            side.receive_data(chunk, self._now)
            self._take_events()
            if was_dead:
                return
            assert side.unfinished <= PACKET_SIZE_MAX + len(chunk) + 8, "it buffers more than a frame"

    def end(self) -> None:
        """End the stream."""
        self.side.receive_eof()
        self._take_events()

    def judge(self) -> None:
        """Assert that the conversation ended correctly, and that no request was lost or answered twice."""
        events = self.events
        assert isinstance(events[-1], Broken), f"the last event is {events[-1]}"
        assert sum(isinstance(event, Broken) for event in events) == 1, "it broke twice"
        assert sum(isinstance(event, Connected) for event in events) <= 1, "it was attached twice"
        _check_error(events[-1].error, *_ENDINGS)
        answered = [event for event in events if isinstance(event, Replied)]
        in_flight, unsent = self.side.leftover()
        seen = Counter([*(event.ticket for event in answered), *in_flight, *unsent])
        assert seen == Counter(self._tickets), "a request was lost, or answered twice"
        for event in answered:
            if event.error is None:
                assert type(event.reply) is event.ticket.request.reply
            else:
                _check_error(event.error, ZooKeeperError)
        fired = [event for event in events if isinstance(event, WatchFired)]
        assert all(event.owners for event in fired), "a watch without an owner fired"

    @property
    def is_all_answered(self) -> bool:
        """Whether every request has its answer, as without mutations."""
        return sum(isinstance(event, Replied) for event in self.events) == len(self._tickets)

    def _take_events(self) -> None:
        while (event := self.side.next_event()) is not None:
            self.events.append(event)


def _check_error(error: ZooKeeperError, *expected: type[ZooKeeperError]) -> None:
    assert isinstance(error, expected), f"the conversation ended in {error!r}"
    assert len(str(error)) <= _MESSAGE_MAX, f"an error has a message of {len(str(error))} characters"

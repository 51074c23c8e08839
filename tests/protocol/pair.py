"""`ClientSide` and `ServerSide` back to back in memory; a test is their clock and their wire."""

from __future__ import annotations

from typing import Any

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    ConnectReply,
    ConnectRequest,
    RemoveWatchesRequest,
    Request,
    WatchEventMessage,
)
from zkrecipes.codec.records import Stat
from zkrecipes.enums import EventType, KeeperState, ServerVersion, WatcherType
from zkrecipes.protocol.capabilities import Capabilities
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.connection_stage import Stage
from zkrecipes.protocol.events import ClientEvent, Greeting, Ticket
from zkrecipes.protocol.server_side import Greeted, Requested, ServerSide
from zkrecipes.protocol.watch_registration import UPKEEP
from zkrecipes.protocol.watch_table import WatchTable

T = 12.0
"""The session timeout: a ping is due after 4 seconds, silence after 8."""
SESSION_ID = 0x1234
PASSWORD = b"sixteen bytes ok"
LIMIT = 100_000
NEWEST = Capabilities(ServerVersion.V3_7)


def stat_at(zxid: int) -> Stat:
    """Return the stat of a znode whose every change happened at `zxid`."""
    return Stat(zxid, zxid, 0, 0, 0, 0, 0, 0, 0, 0, zxid)


def events_of(side: ClientSide) -> list[ClientEvent]:
    """Take all events of a client side."""
    events = []
    while (event := side.next_event()) is not None:
        events.append(event)
    return events


class Pair:
    """Both ends of one connection.

    Attributes:
        now: the current time; tests set it.
        to_client: every byte sent to the client.
    """

    def __init__(
        self,
        greeting: Greeting | None = None,
        *,
        watches: WatchTable[Any] | None = None,
        guess: Capabilities | None = NEWEST,
        packet_size_max: int = LIMIT,
        first_xid: int = 1,
        sasl_token: bytes | None = None,
        sasl_suspects: str = "",
    ) -> None:
        self.now = 0.0
        self.watches: WatchTable[Any] = WatchTable() if watches is None else watches
        self.client = ClientSide(
            Greeting(T) if greeting is None else greeting,
            self.watches,
            now=self.now,
            packet_size_max=packet_size_max,
            guess=guess,
            first_xid=first_xid,
            sasl_token=sasl_token,
            sasl_suspects=sasl_suspects,
        )
        self.server = ServerSide(frame_size_max=2**24)
        self.to_client = b""

    # --- the client's turn ---------------------------------------------------------------------------------

    def ask(self, request: Request[Any], watcher: object = None, *, urgent: bool = False) -> Ticket:
        """Queue a request on the client; `flush` sends it."""
        ticket = Ticket(request, watcher)
        self.client.send(ticket, urgent=urgent)
        return ticket

    def tidy(self, path: str) -> Ticket:
        """Queue the request by which a client adapts the server's watch of a path to its watchers' needs."""
        return self.ask(RemoveWatchesRequest(path, WatcherType.ANY), UPKEEP)

    def flush(self) -> list[Requested]:
        """Send the client's bytes, and return the requests that reach the server."""
        while data := self.client.data_to_send(self.now):
            self.server.receive_data(data)
        requests = []
        while (event := self.server.next_event()) is not None:
            assert isinstance(event, Requested)
            requests.append(event)
        return requests

    def greet(self) -> ConnectRequest:
        """Send the greeting, and return it as the server reads it."""
        self.server.receive_data(self.client.data_to_send(self.now))
        event = self.server.next_event()
        assert isinstance(event, Greeted)
        return event.request

    def has_unsent(self) -> bool:
        """Whether the client has bytes to send."""
        return self.client.has_unsent

    def stage(self) -> Stage:
        """Return the stage of the client."""
        return self.client.stage

    # --- the server's turn ---------------------------------------------------------------------------------

    def accept(
        self,
        *,
        timeout: float = T,
        session_id: int = SESSION_ID,
        password: bytes | None = PASSWORD,
        read_only: bool = False,
    ) -> list[ClientEvent]:
        """Answer the greeting, and return the client's events."""
        self.server.accept(ConnectReply(0, round(timeout * 1000), session_id, password, read_only))
        return self.deliver()

    def reply(
        self, xid: int, record: Record | None = None, *, zxid: int = 0, err: int = 0
    ) -> list[ClientEvent]:
        """Answer a request, and return the client's events."""
        self.server.reply(xid, zxid, err, record)
        return self.deliver()

    def notify(self, event: EventType | int, path: str, *, zxid: int = -1) -> list[ClientEvent]:
        """Send a watch event, and return the client's events."""
        self.server.notify(zxid, WatchEventMessage(event, KeeperState.CONNECTED, path))
        return self.deliver()

    def deliver(self, *, chunk_size: int | None = None) -> list[ClientEvent]:
        """Deliver the server's bytes to the client, whole or in chunks, and return the client's events."""
        data = self.server.data_to_send()
        self.to_client += data
        step = chunk_size or max(1, len(data))
        for start in range(0, len(data), step):
            self.client.receive_data(data[start : start + step], self.now)
        return events_of(self.client)


def live_pair(**options: Any) -> Pair:
    """Return a pair whose session is attached; its events are taken."""
    pair = Pair(**options)
    pair.greet()
    pair.accept()
    for request in pair.flush():
        pair.reply(request.xid)  # a credential, or restored watches
    assert pair.stage() is Stage.LIVE
    return pair

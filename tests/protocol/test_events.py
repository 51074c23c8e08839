"""The events of a connection; none of them shows a secret."""

from __future__ import annotations

import math

import pytest

from zkrecipes.codec.messages import AuthRequest, GetDataRequest
from zkrecipes.enums import EventType
from zkrecipes.errors import ConnectionLossError
from zkrecipes.protocol.events import (
    Broken,
    Connected,
    Greeting,
    Replied,
    Ticket,
    WatchEvent,
    WatchFired,
)

SECRET = b"tell-nobody-0001"
SECRETS = ("tell-nobody", repr(SECRET), SECRET.hex())


def _shows_a_secret(value: object) -> bool:
    texts = (repr(value), str(value), f"{value}", repr([value]))
    return any(secret in text for secret in SECRETS for text in texts)


@pytest.mark.parametrize(
    "value",
    [
        Greeting(10.0, 5, SECRET, 7, credentials=[("digest", SECRET)]),
        Connected(5, SECRET, 10.0, False, 1.0),
        Replied(Ticket(AuthRequest(0, "digest", SECRET)), None, None, 1),
        Ticket(AuthRequest(0, "digest", SECRET)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_repr_shows_a_password_or_a_credential(value: object) -> None:
    assert not _shows_a_secret(value)


def test_reprs_name_the_session() -> None:
    assert repr(Greeting(10.0, 0x1F, last_zxid=0x2A)) == "Greeting(session_id=0x1f, last_zxid=0x2a)"
    connected = Connected(0x1F, SECRET, 10.0, True, 1.0)
    assert repr(connected) == "Connected(session_id=0x1f, timeout=10.0, read_only=True)"


def test_a_greeting_requests_a_new_session_by_default() -> None:
    greeting = Greeting(10.0)
    assert greeting.session_id == greeting.last_zxid == 0
    assert greeting.password == bytes(16)
    assert not greeting.read_only
    assert greeting.credentials == ()


def test_a_new_ticket_is_unsent() -> None:
    ticket = Ticket(GetDataRequest("/a"), watcher="me")
    assert ticket.request == GetDataRequest("/a")
    assert ticket.watcher == "me"
    assert ticket.xid == 0
    assert math.isnan(ticket.sent_at)
    assert not ticket.is_dropped
    assert Ticket(GetDataRequest("/a")) != Ticket(GetDataRequest("/a"))


def test_events_are_values() -> None:
    event = WatchEvent(EventType.CREATED, "/a", 5)
    assert event == WatchEvent(EventType.CREATED, "/a", 5)
    assert event != WatchEvent(EventType.CREATED, "/a")
    assert hash(event) == hash(WatchEvent(EventType.CREATED, "/a", 5))
    assert WatchFired(["me"], event) == WatchFired(["me"], event)
    error = ConnectionLossError(reason="cut")
    assert Broken(error).error is error

"""SASL on one connection, from the client's end: the order of messages, and every invalid answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.protocol.pair import SESSION_ID, Pair, T, events_of
from zkrecipes.codec.messages import (
    AuthRequest,
    GetDataRequest,
    SASLReply,
    SASLRequest,
    SetWatchesRequest,
)
from zkrecipes.enums import SpecialXid
from zkrecipes.errors import (
    AuthFailedError,
    ConnectionLossError,
    ProtocolError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.protocol.connection_stage import Stage
from zkrecipes.protocol.digest_md5 import DigestMD5
from zkrecipes.protocol.events import Broken, Challenged, ClientEvent, Connected, Greeting
from zkrecipes.protocol.sasl import SaslExchange, SaslMechanism
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

GET = GetDataRequest("/a", False)
SECRET = b"open-sesame"


def sasl_pair(*, credentials: tuple[tuple[str, bytes], ...] = ()) -> Pair:
    """Return a pair whose client has sent its first token, and has a watch to restore."""
    watches: WatchTable[Any] = WatchTable()
    watches.add(WatchKind.DATA, "/a", object())
    greeting = Greeting(T, SESSION_ID, last_zxid=50, credentials=credentials)
    pair = Pair(greeting, watches=watches, sasl_token=b"first", sasl_suspects="the tickets")
    pair.greet()
    assert pair.accept() == []
    return pair


def one(events: list[ClientEvent]) -> ClientEvent:
    (event,) = events
    return event


def broken_by(events: list[ClientEvent]) -> ZooKeeperError:
    event = one(events)
    assert isinstance(event, Broken)
    return event.error


def test_tokens_go_before_credentials_and_watches_and_those_before_any_request() -> None:
    """Case 68."""
    pair = sasl_pair(credentials=(("digest", b"user:pw"),))
    pair.ask(GET)
    (first,) = pair.flush()
    assert first.request == SASLRequest(b"first")
    assert one(pair.reply(first.xid, SASLReply(b"challenge"))) == Challenged(b"challenge")
    assert pair.flush() == []
    pair.client.respond(b"second")
    (second,) = pair.flush()
    assert second.request == SASLRequest(b"second")
    assert one(pair.reply(second.xid, SASLReply(None))) == Challenged(None)
    pair.client.respond(None)
    auth, watches = pair.flush()
    assert auth.request == AuthRequest(0, "digest", b"user:pw")
    assert watches.request == SetWatchesRequest(50, ["/a"], [], [])
    assert pair.reply(auth.xid) == []
    assert isinstance(one(pair.reply(watches.xid)), Connected)
    assert [each.request for each in pair.flush()] == [GET]


def test_without_credentials_and_watches_the_last_token_completes_the_set_up() -> None:
    pair = Pair(sasl_token=b"")
    pair.greet()
    pair.accept()
    (first,) = pair.flush()
    assert first.request == SASLRequest(b"")
    pair.reply(first.xid, SASLReply(b""))
    pair.client.respond(None)
    assert isinstance(one(events_of(pair.client)), Connected)


def test_a_ping_may_leave_during_the_exchange() -> None:
    pair = sasl_pair()
    (token,) = pair.flush()
    pair.client.tick(T / 3)
    (ping,) = pair.flush()
    assert pair.reply(ping.xid) == []
    assert one(pair.reply(token.xid, SASLReply(b"challenge"))) == Challenged(b"challenge")


@pytest.mark.parametrize("code", [-115, -124])
def test_a_refusal_ends_the_session(code: int) -> None:
    """Case 63, with the code of case 64 as well."""
    pair = sasl_pair()
    (token,) = pair.flush()
    error = broken_by(pair.reply(token.xid, err=code))
    assert isinstance(error, AuthFailedError)
    assert error.session_id == SESSION_ID
    assert error.reason == "the server refused the SASL authentication; look at the tickets; its log says why"
    assert pair.client.data_to_send(1.0) == b""


def test_a_server_without_sasl_fails_with_its_error() -> None:
    pair = sasl_pair()
    (token,) = pair.flush()
    error = broken_by(pair.reply(token.xid, err=-6))
    assert isinstance(error, AuthFailedError)
    assert error.reason == "the SASL authentication failed on the server: not implemented by the server"


def test_a_session_that_expires_during_the_exchange_has_expired() -> None:
    pair = sasl_pair()
    (token,) = pair.flush()
    assert isinstance(broken_by(pair.reply(token.xid, err=-112)), SessionExpiredError)


def test_a_server_that_the_client_does_not_trust_ends_the_session() -> None:
    """Case 65."""
    pair = sasl_pair()
    (token,) = pair.flush()
    pair.reply(token.xid, SASLReply(b"challenge"))
    pair.client.refuse("the server's proof is wrong")
    error = broken_by(events_of(pair.client))
    assert isinstance(error, AuthFailedError)
    assert (error.session_id, error.reason) == (SESSION_ID, "the server's proof is wrong")
    pair.client.respond(b"too late")
    assert pair.client.data_to_send(1.0) == b""


def test_a_server_that_closes_instead_of_answering_a_token_leaves_the_session() -> None:
    """Servers of 3.4 refuse this way, and a server that stops looks the same."""
    pair = sasl_pair()
    pair.flush()
    pair.client.receive_eof()
    error = broken_by(events_of(pair.client))
    assert isinstance(error, ConnectionLossError)
    assert error.reason == (
        "closed by the server during the SASL authentication, as older servers refuse it; look at the "
        "tickets; its log says why"
    )


def test_an_unrequested_token_breaks_the_protocol() -> None:
    pair = sasl_pair()
    (token,) = pair.flush()
    pair.reply(token.xid, SASLReply(b"challenge"))
    assert isinstance(broken_by(pair.reply(token.xid, SASLReply(b"challenge"))), ProtocolError)


def test_an_answer_without_a_token_breaks_the_protocol() -> None:
    pair = sasl_pair()
    (token,) = pair.flush()
    assert isinstance(broken_by(pair.reply(token.xid)), ProtocolError)


def test_a_token_that_is_not_answered_in_time_ends_the_connection() -> None:
    pair = sasl_pair()
    pair.flush()
    pair.now = T
    pair.client.tick(T)
    assert pair.stage() is Stage.DEAD


@pytest.mark.parametrize("code", [-115, -124])
def test_a_refusal_of_the_watches_is_a_refused_authentication(code: int) -> None:
    """Case 64. If a server requires SASL and the client has none, its first message may be its watches."""
    watches: WatchTable[Any] = WatchTable()
    watches.add(WatchKind.DATA, "/a", object())
    pair = Pair(Greeting(T, SESSION_ID, last_zxid=50), watches=watches)
    pair.greet()
    pair.accept()
    (restoring,) = pair.flush()
    assert restoring.xid == SpecialXid.SET_WATCHES
    assert isinstance(broken_by(pair.reply(restoring.xid, err=code)), AuthFailedError)


def test_a_mechanism_is_known_by_its_exchange() -> None:
    assert isinstance(DigestMD5("bob", "secret"), SaslMechanism)
    assert not isinstance("bob", SaslMechanism)
    assert SaslExchange.__annotations__.keys() == {"blocks", "suspects"}


def test_no_token_is_shown() -> None:
    assert SECRET.decode() not in repr([Challenged(SECRET), SASLRequest(SECRET), SASLReply(SECRET)])

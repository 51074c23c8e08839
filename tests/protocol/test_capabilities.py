"""Server capabilities: the arithmetic of answers, and the questions that a connection asks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.protocol.pair import Pair, T, events_of, live_pair
from tests.protocol.test_client_side import RESUMED, broken_by, one, watching
from zkrecipes.codec.messages import (
    ExistsRequest,
    GetAllChildrenNumberRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    SetWatches2Request,
    SetWatchesRequest,
    WhoAmIRequest,
)
from zkrecipes.enums import ServerVersion, SpecialXid
from zkrecipes.errors import NoAuthError, NoNodeError, SessionExpiredError, UnimplementedError
from zkrecipes.protocol.capabilities import Capabilities, questions_for
from zkrecipes.protocol.connection_stage import Stage
from zkrecipes.protocol.events import Connected, Replied, Ticket
from zkrecipes.protocol.server_requirement import Requirement
from zkrecipes.protocol.watch_table import WatchKind

V3_4, V3_5, V3_6, V3_7 = ServerVersion
CONFIG = ExistsRequest("/zookeeper/config", watch=False)
COUNT = GetAllChildrenNumberRequest("/zookeeper")


@pytest.mark.parametrize(
    ("answers", "known"),
    [
        ({}, (True, None, None, None)),
        ({V3_5: True}, (True, True, None, None)),
        ({V3_5: False}, (True, False, False, False)),
        ({V3_5: True, V3_6: True}, (True, True, True, None)),
        ({V3_5: True, V3_6: False}, (True, True, False, False)),
        ({V3_6: True}, (True, True, True, None)),
        ({V3_6: False}, (True, None, False, False)),
        ({V3_5: True, V3_6: True, V3_7: False}, (True, True, True, False)),
        ({V3_7: True}, (True, True, True, True)),
    ],
)
def test_an_answer_also_settles_other_versions(
    answers: dict[ServerVersion, bool], known: tuple[bool | None, ...]
) -> None:
    capabilities = Capabilities()
    for version, has_it in answers.items():
        capabilities = capabilities.learned(version, has_it=has_it)
    assert tuple(map(capabilities.has, ServerVersion)) == known
    unsettled = [each for each in ServerVersion if capabilities.has(each) is None]
    unsettled = [] if capabilities.has(V3_7) is False else unsettled
    assert [each.version for each in questions_for(V3_7, capabilities)] == unsettled


@pytest.mark.parametrize("version", [V3_5, V3_6, V3_7])
def test_a_newer_answer_replaces_an_older_one(version: ServerVersion) -> None:
    for first in (True, False):
        learned = Capabilities().learned(version, has_it=first).learned(version, has_it=not first)
        assert learned.has(version) is not first


def _ask(pair: Pair, version: ServerVersion, request: Any = None) -> Ticket:
    ticket = Ticket(request or GetEphemeralsRequest("/"))
    ticket.requirement = Requirement("get_ephemerals", version)
    pair.client.send(ticket)
    return ticket


def _requests(pair: Pair) -> list[Any]:
    return [each.request for each in pair.flush()]


def _answer(pair: Pair, code: int = 0) -> list[Any]:
    """Answer the request that is in flight."""
    xid = pair.client.leftover()[0][0].xid
    return pair.reply(xid, err=code)


def test_a_question_waits_until_nothing_is_in_flight_and_nothing_follows_it() -> None:
    pair = live_pair(guess=None)
    pair.ask(GetDataRequest("/before"))
    _ask(pair, V3_6)
    pair.ask(GetDataRequest("/after"))
    assert _requests(pair) == [GetDataRequest("/before")]
    assert not pair.has_unsent()
    _answer(pair, NoNodeError.code)
    assert _requests(pair) == [CONFIG]
    assert not pair.has_unsent()
    assert _answer(pair) == []
    assert _requests(pair) == [COUNT]
    assert not pair.has_unsent()
    assert _answer(pair) == []
    assert _requests(pair) == [GetEphemeralsRequest("/"), GetDataRequest("/after")]


def test_a_check_of_holds_does_not_wait_for_the_answer_to_a_question() -> None:
    pair = live_pair(guess=None)
    _ask(pair, V3_5)
    assert _requests(pair) == [CONFIG]
    pair.ask(GetDataRequest("/check"), urgent=True)
    pair.ask(GetDataRequest("/after"))
    assert _requests(pair) == [GetDataRequest("/check")]
    assert not pair.has_unsent()


def test_each_question_is_asked_once_on_a_connection() -> None:
    pair = live_pair(guess=None)
    for _ in range(2):
        _ask(pair, V3_5)
    assert _requests(pair) == [CONFIG]
    _answer(pair)
    assert len(_requests(pair)) == 2
    _ask(pair, V3_5)
    assert len(_requests(pair)) == 1


def test_before_3_5_an_operation_is_refused_in_its_turn_without_further_questions() -> None:
    pair = live_pair(guess=None)
    refused = _ask(pair, V3_6)
    pair.ask(GetDataRequest("/after"))
    assert _requests(pair) == [CONFIG]
    assert _answer(pair, NoNodeError.code) == []
    assert _requests(pair) == [GetDataRequest("/after")]
    assert pair.client.has_events
    replied = pair.client.next_event()
    assert isinstance(replied, Replied)
    assert replied.ticket is refused
    assert isinstance(replied.error, UnimplementedError)
    assert "get_ephemerals needs ZooKeeper 3.6" in str(replied.error)
    assert pair.stage() is Stage.LIVE


def test_an_unknown_opcode_ends_the_connection_before_anything_follows_it() -> None:
    pair = live_pair(guess=None)
    waiting = [_ask(pair, V3_6), pair.ask(GetDataRequest("/after"))]
    pair.flush()
    _answer(pair)
    assert _requests(pair) == [COUNT]
    error = broken_by(_answer(pair, UnimplementedError.code))
    assert "does not know GetAllChildrenNumberRequest" in str(error)
    assert pair.client.leftover() == ([], waiting)
    assert pair.client.capabilities == Capabilities(V3_5, V3_6)
    # the next connection to the same server does not repeat the question
    pair = live_pair(guess=pair.client.capabilities)
    _ask(pair, V3_6)
    assert _requests(pair) == []
    assert isinstance(pair.client.next_event(), Replied)


def test_a_connection_that_ends_on_a_question_names_its_version() -> None:
    pair = live_pair(guess=None)
    _ask(pair, V3_6)
    assert pair.client.open_question is None
    pair.flush()
    asked = [pair.client.open_question]
    _answer(pair)
    pair.flush()
    pair.client.receive_eof()
    asked.append(pair.client.open_question)
    assert asked == [V3_5, V3_6]


@pytest.mark.parametrize("code", [NoAuthError.code, -127])
def test_any_answer_except_unimplemented_comes_from_a_server_that_knows_the_request(code: int) -> None:
    pair = live_pair(guess=None)
    _ask(pair, V3_7, WhoAmIRequest())
    for question in (CONFIG, COUNT, WhoAmIRequest()):
        assert _requests(pair) == [question]
        assert _answer(pair, code) == []
    assert pair.client.capabilities.has(V3_7)


def test_a_question_that_is_never_answered_ends_the_connection() -> None:
    """Its reply may be lost; pings are answered, and no later reply would show the loss."""
    pair = live_pair(guess=None)
    _ask(pair, V3_5)
    pair.flush()
    while pair.stage() is Stage.LIVE:
        assert pair.now < 2 * T
        pair.now = pair.client.next_deadline()
        pair.client.tick(pair.now)
        if pair.has_unsent():
            pair.flush()
            pair.reply(SpecialXid.PING)
    assert pair.now == T
    assert "did not answer the question about its version" in str(broken_by(events_of(pair.client)))


def test_an_expired_session_is_not_an_answer() -> None:
    pair = live_pair(guess=None)
    _ask(pair, V3_5)
    pair.flush()
    assert isinstance(broken_by(_answer(pair, SessionExpiredError.code)), SessionExpiredError)


def test_persistent_watches_are_restored_once_the_server_is_known_to_have_them() -> None:
    watches = watching((WatchKind.DATA, "/one-shot"), (WatchKind.PERSISTENT, "/a"))
    pair = Pair(RESUMED, watches=watches, guess=None)
    pair.greet()
    assert pair.accept() == []
    assert _requests(pair) == [CONFIG]
    pair.reply(1, zxid=77)
    assert _requests(pair) == [COUNT]
    pair.reply(2, zxid=77)
    # with the zxid of the greeting: otherwise changes before the questions would not be reported
    [request] = _requests(pair)
    assert request == SetWatches2Request(50, ["/one-shot"], [], [], ["/a"], [])
    assert pair.stage() is Stage.AUTHENTICATING
    assert isinstance(one(pair.reply(SpecialXid.SET_WATCHES)), Connected)
    assert pair.client.capabilities.has(V3_6)


def test_one_shot_watches_alone_need_no_question() -> None:
    pair = Pair(RESUMED, watches=watching((WatchKind.DATA, "/one-shot")), guess=None)
    pair.greet()
    pair.accept()
    assert _requests(pair) == [SetWatchesRequest(50, ["/one-shot"], [], [])]


def test_an_older_server_gets_only_the_one_shot_watches() -> None:
    watches = watching((WatchKind.DATA, "/one-shot"), (WatchKind.PERSISTENT, "/a"))
    pair = Pair(RESUMED, watches=watches, guess=None)
    pair.greet()
    pair.accept()
    pair.flush()
    pair.reply(1, err=NoNodeError.code)
    assert _requests(pair) == [SetWatchesRequest(50, ["/one-shot"], [], [])]
    assert isinstance(one(pair.reply(SpecialXid.SET_WATCHES)), Connected)
    assert pair.client.capabilities.has(V3_5) is False


def test_watches_restored_by_a_guess_prove_the_guess() -> None:
    pair = Pair(RESUMED, watches=watching((WatchKind.PERSISTENT, "/a")), guess=Capabilities(V3_7))
    pair.greet()
    pair.accept()
    assert pair.client.capabilities.has(V3_5) is None
    assert _requests(pair) == [SetWatches2Request(50, [], [], [], ["/a"], [])]
    pair.reply(SpecialXid.SET_WATCHES)
    assert pair.client.capabilities.has(V3_6)
    _ask(pair, V3_6)
    assert _requests(pair) == [GetEphemeralsRequest("/")]


def test_a_guess_alone_does_not_replace_a_question() -> None:
    pair = live_pair(guess=Capabilities(V3_7))
    _ask(pair, V3_6)
    assert _requests(pair) == [CONFIG]


def test_an_unimplemented_operation_is_a_surprise() -> None:
    pair = live_pair(guess=None)
    _ask(pair, V3_5)
    pair.flush()
    _answer(pair)
    pair.flush()
    assert not pair.client.probe.is_surprising
    _answer(pair, UnimplementedError.code)
    assert pair.client.probe.is_surprising

"""The first message of each side."""

from __future__ import annotations

import pytest

from zkrecipes.codec.messages import ConnectReply, ConnectRequest
from zkrecipes.errors import ProtocolError, SessionExpiredError
from zkrecipes.protocol.events import Greeting
from zkrecipes.protocol.greeting import greeting_frame, why_refused

PASSWORD = b"p" * 16


def test_a_greeting_is_a_bare_record_in_a_frame_with_milliseconds() -> None:
    frame = greeting_frame(Greeting(2.5, -5, PASSWORD, 77, read_only=True, credentials=[("digest", b"u:p")]))
    assert frame[:4] == (len(frame) - 4).to_bytes(4, "big")
    assert ConnectRequest.decode(frame[4:]) == ConnectRequest(0, 77, 2500, -5, PASSWORD, True)
    assert b"u:p" not in frame


@pytest.mark.parametrize("asked", [0, 5, -5])
def test_an_answer_with_a_session_and_a_timeout_is_accepted(asked: int) -> None:
    assert why_refused(Greeting(10.0, asked), ConnectReply(0, 1, asked or 9, PASSWORD)) is None


@pytest.mark.parametrize(
    ("timeout_ms", "session_id"), [(0, 5), (-1, 5), (0, 0), (10_000, 6), (10_000, -5), (0, 6)]
)
def test_no_timeout_or_another_session_means_that_the_session_has_expired(
    timeout_ms: int, session_id: int
) -> None:
    error = why_refused(Greeting(10.0, 5), ConnectReply(0, timeout_ms, session_id, PASSWORD))
    assert isinstance(error, SessionExpiredError)
    assert error.session_id == 5


@pytest.mark.parametrize("asked", [0, 5])
def test_the_session_id_0_breaks_the_protocol(asked: int) -> None:
    error = why_refused(Greeting(10.0, asked), ConnectReply(0, 10_000, 0, PASSWORD))
    assert isinstance(error, ProtocolError)


@pytest.mark.parametrize(("timeout_ms", "session_id"), [(0, 0), (0, 9), (-1, 9)])
def test_a_new_session_that_is_refused_has_not_expired(timeout_ms: int, session_id: int) -> None:
    """After an expiry the client requests a new session immediately: with such a server, forever."""
    error = why_refused(Greeting(10.0), ConnectReply(0, timeout_ms, session_id, PASSWORD))
    assert isinstance(error, ProtocolError)

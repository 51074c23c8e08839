"""Both servers answer greetings, garbage, auth packets and large frames alike, and close alike."""

from __future__ import annotations

import pytest

from tests.devserver.differential.conftest import Pair
from tests.devserver.differential.conversations import ask, auth, frame, greeting, listen, multi, ping, raw
from zkrecipes.codec.messages import (
    CloseSessionRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    SASLRequest,
    SetACLRequest,
    SetDataRequest,
)
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.apache

FRAME_SIZE_MAX = 0xFFFFF
TOO_LARGE = b"\x00\x10\x00\x00"
SOMETHING = bytes(4)
READ = ask(ExistsRequest("/none", False))


@pytest.mark.parametrize("timeout_ms", [-1, 0, 1, 3_999, 4_000, 4_001, 39_999, 40_000, 40_001, 2**31 - 1])
def test_a_session_timeout_is_negotiated(pair: Pair, timeout_ms: int) -> None:
    said = greeting(timeout_ms=timeout_ms), ask(CloseSessionRequest())
    real = listen(pair.apache, *said, until_closed=True)
    assert listen(pair.dev, *said, until_closed=True) == real
    assert real.closed


@pytest.mark.parametrize(
    "said",
    [
        greeting(read_only=None),
        greeting(read_only=True),
        greeting(version=7),
        greeting(password=None),
        greeting(password=b""),
        greeting(password=b"some other sixteen bytes or more"),
        greeting(zxid=-1),
        frame(greeting()[4:] + b"more"),
    ],
)
def test_a_greeting_is_answered(pair: Pair, said: bytes) -> None:
    goodbye = ask(CloseSessionRequest())
    assert listen(pair.dev, said, goodbye, until_closed=True) == listen(
        pair.apache, said, goodbye, until_closed=True
    )


@pytest.mark.parametrize(
    "said",
    [
        greeting(zxid=2**63 - 1),
        greeting(session_id=12345),
        greeting(session_id=12345, read_only=None),
        greeting(session_id=-1, password=b""),
        greeting(session_id=12345, password=None),
        frame(b""),
        frame(b"\0\0\0\0"),
        frame(greeting()[4:30]),
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff" + SOMETHING,
        TOO_LARGE + SOMETHING,
    ],
)
def test_a_greeting_is_refused(pair: Pair, said: bytes) -> None:
    assert listen(pair.dev, said, until_closed=True) == listen(pair.apache, said, until_closed=True)


@pytest.mark.parametrize(
    "said",
    [
        frame(b""),
        frame(b"\0\0\0\1"),
        b"\xff\xff\xff\xff" + READ,
        TOO_LARGE + READ,
        raw(1, 999),
        ask(CloseSessionRequest()),
        auth("nosuch", b"x") + READ,
    ],
)
def test_a_connection_is_closed(pair: Pair, said: bytes) -> None:
    real = listen(pair.apache, greeting(), said, until_closed=True)
    assert listen(pair.dev, greeting(), said, until_closed=True) == real


@pytest.mark.parametrize(
    "said",
    [
        ask(SASLRequest(b""), 1),
        ask(SASLRequest(b"token"), 1),
        ask(ExistsRequest("/none", False), -8),
        ask(ExistsRequest("/none", False), 0),
        ping(5),
        raw(1, 11, b"more"),
        multi(1, OpCode.MULTI, GetDataRequest("/none")),
        multi(1, OpCode.MULTI, GetDataRequest("/none"), DeleteRequest("/none", -1)),
        multi(1, OpCode.MULTI, DeleteRequest("/none", -1), GetChildrenRequest("/none")),
        multi(1, OpCode.MULTI, SetACLRequest("/none", [], -1)),
        # A multi-read of writes alone is refused as well, but a real server's refusal has a body that
        # clients ignore.
        multi(1, OpCode.MULTI_READ, GetDataRequest("/none"), DeleteRequest("/none", -1)),
        multi(1, OpCode.MULTI_READ, GetDataRequest("/none"), ExistsRequest("/none")),
        raw(1, 3, ExistsRequest("/none", False).encode() + b"more"),
    ],
)
def test_an_odd_request_is_answered(pair: Pair, said: bytes) -> None:
    goodbye = ask(CloseSessionRequest(), 2)
    real = listen(pair.apache, greeting(), said, goodbye, until_closed=True)
    assert listen(pair.dev, greeting(), said, goodbye, until_closed=True) == real


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_request_may_be_as_large_as_the_limit(pair: Pair, beyond: int) -> None:
    size = FRAME_SIZE_MAX - len(SetDataRequest("/none", b"", -1).encode_frame(1)) + 4 + beyond
    said = ask(SetDataRequest("/none", bytes(size), -1)), ask(CloseSessionRequest(), 2)
    real = listen(pair.apache, greeting(), *said, until_closed=True)
    assert listen(pair.dev, greeting(), *said, until_closed=True) == real
    assert len(real.frames) == (1 if beyond > 0 else 3)


@pytest.mark.parametrize(
    ("scheme", "token"),
    [
        ("digest", b"alice:secret"),
        ("digest", b"alice"),
        ("digest", b""),
        ("digest", b":"),
        ("digest", b"a:b:c"),
        ("digest", b"\xff\xfe:\xff"),
        ("ip", b"anything"),
        ("ip", None),
        ("digest", None),
        ("world", b"anyone"),
        ("auth", b""),
        ("super", b""),
        ("sasl", b"bob"),
        ("x509", b""),
        ("", b""),
    ],
)
def test_an_auth_packet_is_answered(pair: Pair, scheme: str, token: bytes | None) -> None:
    said = greeting(), auth(scheme, token), READ
    assert _without_a_session(pair.dev, *said) == _without_a_session(pair.apache, *said)


def _without_a_session(address: tuple[str, int], *said: bytes) -> object:
    """The frames until the session or the connection ends."""
    return listen(address, *said, ask(CloseSessionRequest(), 2), until_closed=True)

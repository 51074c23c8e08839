"""Every code of ZooKeeper has a class that states the possible outcome, and errors can be pickled."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from zkrecipes import errors
from zkrecipes.codec.framing import FrameTooLargeError
from zkrecipes.errors import (
    AcquireTimeoutError,
    AuthFailedError,
    BrokenBarrierError,
    ConnectionLossError,
    ConnectTimeoutError,
    HoldLostError,
    LeadershipLostError,
    LockLostError,
    NoNodeError,
    PacketTooLargeError,
    ProtocolError,
    ReplyNotReceivedError,
    ReplyTooSlowError,
    ServerError,
    SessionClosedError,
    SessionError,
    SessionExpiredError,
    SessionMovedError,
    SnapshotConflictError,
    TransactionError,
    UnknownServerError,
    ZooKeeperError,
    error_from_code,
)

# KeeperException.Code, read at 3.9.5; OK (0) is not an error.
CODES = {
    -1: ("SYSTEMERROR", "SystemZooKeeperError"),
    -2: ("RUNTIMEINCONSISTENCY", "RuntimeInconsistencyError"),
    -3: ("DATAINCONSISTENCY", "DataInconsistencyError"),
    -4: ("CONNECTIONLOSS", "ConnectionLossError"),
    -5: ("MARSHALLINGERROR", "MarshallingError"),
    -6: ("UNIMPLEMENTED", "UnimplementedError"),
    -7: ("OPERATIONTIMEOUT", "OperationTimeoutError"),
    -8: ("BADARGUMENTS", "BadArgumentsError"),
    -12: ("UNKNOWNSESSION", "UnknownSessionError"),
    -13: ("NEWCONFIGNOQUORUM", "NewConfigNoQuorumError"),
    -14: ("RECONFIGINPROGRESS", "ReconfigInProgressError"),
    -100: ("APIERROR", "APIError"),
    -101: ("NONODE", "NoNodeError"),
    -102: ("NOAUTH", "NoAuthError"),
    -103: ("BADVERSION", "BadVersionError"),
    -108: ("NOCHILDRENFOREPHEMERALS", "NoChildrenForEphemeralsError"),
    -110: ("NODEEXISTS", "NodeExistsError"),
    -111: ("NOTEMPTY", "NotEmptyError"),
    -112: ("SESSIONEXPIRED", "SessionExpiredError"),
    -113: ("INVALIDCALLBACK", "InvalidCallbackError"),
    -114: ("INVALIDACL", "InvalidACLError"),
    -115: ("AUTHFAILED", "AuthFailedError"),
    -118: ("SESSIONMOVED", "SessionMovedError"),
    -119: ("NOTREADONLY", "NotReadOnlyError"),
    -120: ("EPHEMERALONLOCALSESSION", "EphemeralOnLocalSessionError"),
    -121: ("NOWATCHER", "NoWatcherError"),
    -122: ("REQUESTTIMEOUT", "RequestTimeoutError"),
    -123: ("RECONFIGDISABLED", "ReconfigDisabledError"),
    -124: ("SESSIONCLOSEDREQUIRESASLAUTH", "AuthFailedError"),
    -125: ("QUOTAEXCEEDED", "QuotaExceededError"),
    -127: ("THROTTLEDOP", "ThrottledError"),
}

EXAMPLES: list[tuple[ZooKeeperError, str]] = [
    (NoNodeError("/a"), "no such znode: /a"),
    (NoNodeError(), "no such znode"),
    (
        NoNodeError("/app/a", detail="the chroot /app does not exist"),
        "no such znode: /app/a (the chroot",
    ),
    (UnknownServerError(-999, "/a"), "the server answered with the unknown error code -999: /a"),
    (UnknownServerError(-999), "the server answered with the unknown error code -999"),
    (
        TransactionError(1, NoNodeError("/b"), 3),
        "the transaction was rolled back: operation 2 of 3 failed: no such znode: /b",
    ),
    (ConnectionLossError(), "connection lost before the request was answered: whether it was applied is unk"),
    (
        ConnectionLossError("create", path="/a", reason="the server hung up"),
        "connection lost (the server hung up) before create /a was answered",
    ),
    (
        ConnectionLossError("get", path="/a", reason="6 connections broke", is_write=False),
        "connection lost (6 connections broke) before get /a was answered",
    ),
    (
        PacketTooLargeError("get", path="/a", size=2000, limit=1000),
        "the reply to get /a has 2000 bytes, more than max_packet_size=1000",
    ),
    (PacketTooLargeError(size=2000, limit=1000), "the reply to a request has 2000 bytes"),
    (SessionExpiredError(0x1F, reason="no answer"), "the session expired (session 0x1f): no answer"),
    (SessionClosedError(), "the client is closed"),
    (
        ConnectTimeoutError(1.5, {"a:2181": "refused", "b:2181": "silent"}),
        "no ZooKeeper session within 1.5 seconds\n  a:2181: refused\n  b:2181: silent",
    ),
    (
        AcquireTimeoutError(
            "<Mutex /a>",
            path="/a",
            wait=3,
            waited=3.0004,
            waiting_for="turn",
            holder="b",
            holder_path="/a/x",
        ),
        "<Mutex /a> was not acquired within 3 seconds: waited 3 s for its turn, behind 'b' (/a/x)",
    ),
    (
        AcquireTimeoutError(
            "<Mutex /a>", path="/a", wait=0, waited=0.0, waiting_for="turn", holder_path="/a/x"
        ),
        "<Mutex /a> was not acquired at the first try: waited 0 s for its turn, behind a contender (/a/x)",
    ),
    (
        AcquireTimeoutError("<Mutex /a>", path="/a", wait=1.5, waited=1.5, waiting_for="connection"),
        "<Mutex /a> was not acquired within 1.5 seconds: waited 1.5 s for a connection",
    ),
    (ConnectTimeoutError(15, {}), "no ZooKeeper session within 15 seconds: no host answered"),
    (LockLostError("/locks/a", reason="unproven"), "the lock was lost (/locks/a): unproven"),
    (LeadershipLostError(), "the leadership was lost"),
    (HoldLostError(), "the hold was lost"),
    (SnapshotConflictError("/config", 10), "/config changed during every attempt to read it as a whole"),
    (
        BrokenBarrierError("/steps", reason="a member was lost"),
        "the barrier is broken (/steps): a member was lost",
    ),
    (ProtocolError("what"), "what"),
    (FrameTooLargeError(20, 10, 3), "a frame of 20 bytes is larger than the limit of 10"),
]


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_its_class(code: int) -> None:
    _, name = CODES[code]
    error = error_from_code(code, "/a")
    assert type(error).__name__ == name
    if isinstance(error, ServerError):
        assert error.path == "/a"
    if code != -124:
        assert getattr(error, "code") == code  # noqa: B009 - not every class of the tree has one


def test_every_class_with_a_code_is_in_the_table() -> None:
    with_code = {name for name in errors.__all__ if getattr(getattr(errors, name), "code", 0) != 0}
    assert with_code == {name for _, name in CODES.values()}


@pytest.mark.parametrize("code", [-9, -126, -1000, 1, 12345])
def test_an_unknown_code_is_an_error_with_its_number(code: int) -> None:
    """Case 34."""
    error = error_from_code(code, "/a")
    assert isinstance(error, UnknownServerError)
    assert (error.code, error.path, error.nothing_changed) == (code, "/a", False)
    assert str(code) in str(error)
    assert f"code={code}" in repr(error)


def test_the_server_is_named_as_the_source() -> None:
    assert "reported by the server" in str(error_from_code(-4, "/a"))
    assert "reported by the server" in str(error_from_code(-112))
    assert "requires clients to authenticate" in str(error_from_code(-124))


@pytest.mark.parametrize(("error", "message"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_builds_its_message_from_facts(error: ZooKeeperError, message: str) -> None:
    assert str(error).startswith(message)


@pytest.mark.parametrize(("error", "message"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_survives_a_copy_and_a_pickle(error: ZooKeeperError, message: str) -> None:
    error.add_note("seen by a test")
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert repr(other) == repr(error)
        assert {**vars(other), "error": None} == {**vars(error), "error": None}


def test_repr_has_path_and_code() -> None:
    assert repr(NoNodeError("/a")) == "NoNodeError('/a', code=-101)"


def test_the_branches_of_the_tree() -> None:
    for name in errors.__all__:
        if name not in {"error_from_code", "session_hex"}:
            assert issubclass(getattr(errors, name), ZooKeeperError)
    for cls in (PacketTooLargeError, ReplyTooSlowError):  # `except ConnectionLossError` repeats the request
        assert issubclass(cls, ReplyNotReceivedError)
        assert not issubclass(cls, ConnectionLossError)
    assert issubclass(ConnectTimeoutError, TimeoutError)
    assert issubclass(AcquireTimeoutError, TimeoutError)
    assert issubclass(LockLostError, HoldLostError)
    assert issubclass(LeadershipLostError, HoldLostError)


def test_the_tree_in_the_docstring_names_every_class() -> None:
    drawn = set(re.findall(r"\w+Error", errors.__doc__ or ""))
    branches = {cls.__name__ for cls in ZooKeeperError.__subclasses__() if cls.__module__ == errors.__name__}
    branches |= {cls.__name__ for cls in SessionError.__subclasses__()}
    assert branches <= drawn
    assert drawn - {"TypeError", "ValueError", "SettingsError"} <= set(errors.__all__)


def test_the_session_is_over_for_some() -> None:
    final = {name for name in errors.__all__ if getattr(getattr(errors, name), "is_final", False)}
    assert final == {"SessionError", "SessionExpiredError", "SessionClosedError", "AuthFailedError"}
    assert SessionExpiredError().is_final
    assert AuthFailedError().is_final
    assert not SessionMovedError().is_final
    assert not NoNodeError("/a").is_final


def test_where_the_outcome_is_unknown_no_error_says_that_nothing_changed() -> None:
    unknown = (ConnectionLossError, PacketTooLargeError, ReplyTooSlowError, SessionError, UnknownServerError)
    for cls in unknown:
        assert not cls.nothing_changed
    for code in (-1, -3, -7, -122):
        assert not error_from_code(code).nothing_changed
    for code in (-101, -110, -103, -127):
        assert error_from_code(code).nothing_changed
    assert TransactionError(0, NoNodeError("/a"), 1).nothing_changed


@pytest.mark.parametrize(
    ("session_id", "text"), [(1, "0x1"), (-1, "0xffffffffffffffff"), (-(2**63), "0x8000000000000000")]
)
def test_a_session_id_is_shown_as_the_servers_log_writes_it(session_id: int, text: str) -> None:
    assert errors.session_hex(session_id) == text
    error = errors.SessionExpiredError(session_id)
    assert f"(session {text})" in str(error)
    assert repr(error) == f"SessionExpiredError({text})"
    assert error.session_id == session_id

"""Every exception of zkrecipes, and the table from the server's codes to classes.

    ZooKeeperError
    ├── ServerError                    the server refused the request: one class for each code
    │   ├── NoNodeError  NodeExistsError  BadVersionError  NotEmptyError  NoAuthError
    │   ├── InvalidACLError  NoChildrenForEphemeralsError  NotReadOnlyError  NoWatcherError
    │   ├── UnimplementedError  BadArgumentsError  QuotaExceededError  ThrottledError  …
    │   └── UnknownServerError         a code that this version of zkrecipes does not know
    ├── TransactionError               a transaction was rolled back; names the operation that failed
    ├── ConnectionLossError            sent and not answered: the outcome is unknown
    ├── ReplyNotReceivedError          the server answered, but the client could not receive the reply
    │   ├── PacketTooLargeError        the reply was larger than `max_packet_size`
    │   └── ReplyTooSlowError          the reply took so long that it would have cost the session's holds
    ├── SessionError                   the session is over
    │   ├── SessionExpiredError  SessionMovedError  SessionClosedError  AuthFailedError
    ├── AcquireTimeoutError            a lock was not acquired within `wait`; names the holder
    ├── NotDueError                    the period of a job has had its run
    ├── RunTimeoutError                `at_most_for` ended a run of a job
    ├── JobRecordError                 the znode of a job holds other data than its record
    ├── ConnectTimeoutError            no session within `connect_timeout`; lists each host's reason
    ├── HoldLostError                  a hold could no longer be proven
    │   ├── LockLostError  LeadershipLostError  BrokenBarrierError
    ├── SnapshotConflictError          a tree changed during every attempt to read it as a whole
    └── ProtocolError                  the peer sent bytes that the protocol does not allow

(`zkrecipes.ensemble` adds those of real servers: not found, badly configured, not started, not stopped. The
`SettingsError` of `zkrecipes.settings` is a `ValueError`.)

The branches follow what the caller does next: correct the request, check the outcome, start over, stop
working. An argument that cannot be valid is a `ValueError` or a `TypeError`, raised before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

__all__ = [
    "APIError",
    "AcquireTimeoutError",
    "AuthFailedError",
    "BadArgumentsError",
    "BadVersionError",
    "BrokenBarrierError",
    "ConnectTimeoutError",
    "ConnectionLossError",
    "DataInconsistencyError",
    "EphemeralOnLocalSessionError",
    "HoldLostError",
    "InvalidACLError",
    "InvalidCallbackError",
    "JobRecordError",
    "LeadershipLostError",
    "LockLostError",
    "MarshallingError",
    "NewConfigNoQuorumError",
    "NoAuthError",
    "NoChildrenForEphemeralsError",
    "NoNodeError",
    "NoWatcherError",
    "NodeExistsError",
    "NotDueError",
    "NotEmptyError",
    "NotReadOnlyError",
    "OperationTimeoutError",
    "PacketTooLargeError",
    "ProtocolError",
    "QuotaExceededError",
    "ReconfigDisabledError",
    "ReconfigInProgressError",
    "ReplyNotReceivedError",
    "ReplyTooSlowError",
    "RequestTimeoutError",
    "RunTimeoutError",
    "RuntimeInconsistencyError",
    "ServerError",
    "SessionClosedError",
    "SessionError",
    "SessionExpiredError",
    "SessionMovedError",
    "SnapshotConflictError",
    "SystemZooKeeperError",
    "ThrottledError",
    "TransactionError",
    "UnimplementedError",
    "UnknownServerError",
    "UnknownSessionError",
    "ZooKeeperError",
    "error_from_code",
    "session_hex",
]


class ZooKeeperError(Exception):
    """The root of all errors that zkrecipes defines."""

    is_final: ClassVar[bool] = False
    """Whether the session is over, so that the same call cannot succeed in this session."""
    nothing_changed: ClassVar[bool] = False
    """Whether it is certain that the server applied nothing of the request."""
    is_transient: ClassVar[bool] = False
    """Whether the same call may succeed later, without a change by the caller."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An error is built from facts, not from `args`, so a copy must not call the constructor again.
        return _rebuild, (type(self), self.args, self.__dict__)


def session_hex(session_id: int) -> str:
    """Return a session's id as the server logs it: hexadecimal and unsigned."""
    return f"0x{session_id & 0xFFFF_FFFF_FFFF_FFFF:x}"


def _rebuild(cls: type[ZooKeeperError], args: tuple[Any, ...], facts: dict[str, Any]) -> ZooKeeperError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(facts)
    return error


class ServerError(ZooKeeperError):
    """The server answered with an error code. Nothing was changed, unless `nothing_changed` is False.

    Attributes:
        code: ZooKeeper's number (`KeeperException.Code`).
        path: the full path on the server that the request named, or None if it named none.
    """

    code: int = 0
    summary: ClassVar[str] = "the server refused the request"
    nothing_changed = True

    def __init__(self, path: str | None = None, *, detail: str = "") -> None:
        self.path = path
        self.detail = detail
        super().__init__(path)

    def __str__(self) -> str:
        where = "" if self.path is None else f": {self.path}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.summary}{where}{detail}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r}, code={self.code})"


class NoNodeError(ServerError):
    """The znode does not exist; for a create, its parent does not exist."""

    code = -101
    summary = "no such znode"


class NodeExistsError(ServerError):
    """The znode exists already."""

    code = -110
    summary = "the znode exists already"


class BadVersionError(ServerError):
    """The znode does not have the version that the request names: another client has changed it.

    Attributes:
        expected: the version that the request named, or None if it is not known.
    """

    code = -103
    summary = "the znode has another version"
    expected: int | None = None

    def __str__(self) -> str:
        expected = "" if self.expected is None else f" than the expected {self.expected}"
        return super().__str__().replace(self.summary, self.summary + expected, 1)


class NotEmptyError(ServerError):
    """The znode has children, so it cannot be deleted."""

    code = -111
    summary = "the znode has children"


class NoAuthError(ServerError):
    """The znode's ACL does not permit the operation to any of the session's identities."""

    code = -102
    summary = "not permitted by the ACL"


class InvalidACLError(ServerError):
    """The ACL is empty, names an unknown scheme, or says `auth` in a session without an identity."""

    code = -114
    summary = "the server does not accept the ACL (unknown scheme or id, or `auth` without an identity)"


class NoChildrenForEphemeralsError(ServerError):
    """An ephemeral znode cannot have children."""

    code = -108
    summary = "an ephemeral znode cannot have children"


class NotReadOnlyError(ServerError):
    """The write reached a server that is read-only because it has lost its quorum."""

    code = -119
    summary = "the server is read-only"
    is_transient = True


class NoWatcherError(ServerError):
    """The server has no such watch."""

    code = -121
    summary = "no such watch"


class UnimplementedError(ServerError):
    """The server does not know the operation, or the operation is disabled."""

    code = -6
    summary = "not implemented by the server"


class BadArgumentsError(ServerError):
    """The server found an argument invalid."""

    code = -8
    summary = "bad arguments"


class QuotaExceededError(ServerError):
    """The write would exceed an enforced quota."""

    code = -125
    summary = "quota exceeded"


class ThrottledError(ServerError):
    """The server is overloaded and dropped the request."""

    code = -127
    summary = "throttled by the server"
    is_transient = True


class EphemeralOnLocalSessionError(ServerError):
    """A local session cannot own an ephemeral znode."""

    code = -120
    summary = "a local session cannot own an ephemeral znode"


class RequestTimeoutError(ServerError):
    """The server gave up the request after waiting too long for its quorum."""

    code = -122
    summary = "the request timed out on the server"
    nothing_changed = False
    is_transient = True


class OperationTimeoutError(ServerError):
    """The server reports that the operation took too long."""

    code = -7
    summary = "the operation timed out"
    nothing_changed = False
    is_transient = True


class ReconfigDisabledError(ServerError):
    """The ensemble does not allow changes of its configuration (`reconfigEnabled`)."""

    code = -123
    summary = "reconfig is disabled"


class ReconfigInProgressError(ServerError):
    """Another change of the ensemble's configuration is in progress."""

    code = -14
    summary = "another reconfig is in progress"
    is_transient = True


class NewConfigNoQuorumError(ServerError):
    """The new configuration has no quorum of servers that are up to date."""

    code = -13
    summary = "the new configuration has no quorum"


class UnknownSessionError(ServerError):
    """The server does not know the session (a code for communication among servers)."""

    code = -12
    summary = "unknown session"


class MarshallingError(ServerError):
    """The server could not read the request."""

    code = -5
    summary = "the server could not read the request"


class InvalidCallbackError(ServerError):
    """The callback is not valid (a code that only ZooKeeper's own clients use)."""

    code = -113
    summary = "invalid callback"


class APIError(ServerError):
    """A general error of the server's API."""

    code = -100
    summary = "API error"


class SystemZooKeeperError(ServerError):
    """The server had a system error."""

    code = -1
    summary = "system error of the server"
    nothing_changed = False
    is_transient = True


class RuntimeInconsistencyError(ServerError):
    """The server found an inconsistency; in a transaction, another operation failed."""

    code = -2
    summary = "runtime inconsistency"
    is_transient = True


class DataInconsistencyError(ServerError):
    """The server found its data inconsistent."""

    code = -3
    summary = "data inconsistency"
    nothing_changed = False


class UnknownServerError(ServerError):
    """The server answered with a code that this version of zkrecipes does not know; see `code`."""

    nothing_changed = False

    def __init__(self, code: int, path: str | None = None) -> None:
        super().__init__(path)
        self.code = code

    def __str__(self) -> str:
        where = "" if self.path is None else f": {self.path}"
        return f"the server answered with the unknown error code {self.code}{where}"


class TransactionError(ZooKeeperError):
    """A transaction was rolled back; none of its operations was applied.

    Attributes:
        index: the position of the operation that failed, counted from 0.
        error: the error of that operation.
        operations: the number of operations.
    """

    nothing_changed = True

    def __init__(self, index: int, error: ServerError, operations: int) -> None:
        self.index = index
        self.error = error
        self.operations = operations
        super().__init__(index, error, operations)

    def __str__(self) -> str:
        operation = f"operation {self.index + 1} of {self.operations}"
        return f"the transaction was rolled back: {operation} failed: {self.error}"


class ConnectionLossError(ZooKeeperError):
    """The connection was lost after the request was sent: whether a write was applied is unknown."""

    code: ClassVar[int] = -4
    is_transient = True

    def __init__(
        self, request: str = "", *, path: str | None = None, reason: str = "", is_write: bool = True
    ) -> None:
        self.request = request
        self.path = path
        self.reason = reason
        self.is_write = is_write
        super().__init__(request)

    def __str__(self) -> str:
        request = f"{self.request} {self.path or ''}".strip() or "the request"
        reason = f" ({self.reason})" if self.reason else ""
        outcome = ": whether it was applied is unknown" if self.is_write else ""
        return f"connection lost{reason} before {request} was answered{outcome}"


class ReplyNotReceivedError(ZooKeeperError):
    """The server answered, but the client could not receive the reply. A repetition would end the same way.

    A write may have been applied.

    Attributes:
        request: the name of the request.
        path: the full path on the server that the request named, or None if it named none.
        size: the size of the reply in bytes.
    """

    def __init__(self, request: str = "", *, path: str | None = None, size: int) -> None:
        self.request = request
        self.path = path
        self.size = size
        super().__init__(request)

    def _named(self) -> str:
        return f"{self.request} {self.path or ''}".strip() or "a request"


class PacketTooLargeError(ReplyNotReceivedError):
    """The reply to the request was larger than `max_packet_size`. The client does not send the request again.

    Attributes:
        limit: `max_packet_size` in bytes.
    """

    def __init__(self, request: str = "", *, path: str | None = None, size: int, limit: int) -> None:
        self.limit = limit
        super().__init__(request, path=path, size=size)

    def __str__(self) -> str:
        return (
            f"the reply to {self._named()} has {self.size} bytes, more than max_packet_size={self.limit}; "
            "the connection was dropped"
        )


class ReplyTooSlowError(ReplyNotReceivedError):
    """The reply took so long that the client left the server, twice, to save the session's holds.

    A check of the holds waited behind the reply. The client does not send the request again.

    Attributes:
        rate: how fast the reply arrived, in bytes per second.
        timeout: the session timeout in seconds.
    """

    def __init__(
        self, request: str = "", *, path: str | None = None, size: int, rate: float, timeout: float
    ) -> None:
        self.rate = rate
        self.timeout = timeout
        super().__init__(request, path=path, size=size)

    def __str__(self) -> str:
        return (
            f"the reply to {self._named()} has {self.size} bytes and arrived at {self.rate:.0f} bytes per "
            f"second, too slowly for the holds of a session with a timeout of {self.timeout:g} seconds: the "
            "client left two servers before its end (read it with a client without holds, or raise "
            "session_timeout)"
        )


class SessionError(ZooKeeperError):
    """The session is over.

    Attributes:
        session_id: the session's 64-bit id, or None if there was no session.
    """

    is_final = True
    summary: ClassVar[str] = "the session is over"

    def __init__(self, session_id: int | None = None, *, reason: str = "") -> None:
        self.session_id = session_id
        self.reason = reason
        super().__init__(session_id)

    def __str__(self) -> str:
        session = "" if not self.session_id else f" (session {session_hex(self.session_id)})"
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.summary}{session}{reason}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({None if self.session_id is None else session_hex(self.session_id)})"


class SessionExpiredError(SessionError):
    """The session expired, or no server answered in time. Its ephemeral znodes are being deleted."""

    code: ClassVar[int] = -112
    summary = "the session expired"


class SessionMovedError(SessionError):
    """Another connection took over the session."""

    code: ClassVar[int] = -118
    summary = "the session moved to another connection"
    is_final = False
    is_transient = True


class SessionClosedError(SessionError):
    """The client was closed, or is closing, while the request waited."""

    summary = "the client is closed"


class AuthFailedError(SessionError):
    """The server refused the credentials or requires some; or, with SASL, did not prove its own identity."""

    code: ClassVar[int] = -115
    summary = "authentication failed"


class ConnectTimeoutError(ZooKeeperError, TimeoutError):
    """The client could not establish a session within `connect_timeout`.

    Attributes:
        timeout: the limit, in seconds.
        reasons: the last reason of each host that the client tried, by `host:port`.
    """

    nothing_changed = True

    def __init__(self, timeout: float, reasons: dict[str, str]) -> None:
        self.timeout = timeout
        self.reasons = reasons
        super().__init__(timeout)

    def __str__(self) -> str:
        lines = "".join(f"\n  {host}: {reason}" for host, reason in self.reasons.items())
        return f"no ZooKeeper session within {self.timeout:g} seconds{lines or ': no host answered'}"


class AcquireTimeoutError(ZooKeeperError, TimeoutError):
    """A lock, a permit or a leadership was not acquired within `wait` seconds. Its body did not start.

    Attributes:
        lock: the lock, as messages name it.
        path: its path, as the client sees it.
        wait: the limit, in seconds; 0 for one try.
        waited: how long the waiter waited, in seconds.
        waiting_for: the last thing waited for: `"connection"`, `"turn"` or `"proof"` (of the hold).
        holder: the identifier of the contender that holds the lock or is in front, as last read, or None.
        holder_path: the path of that contender's znode, or None.
    """

    def __init__(
        self,
        lock: str,
        *,
        path: str,
        wait: float,
        waited: float,
        waiting_for: str,
        holder: str | None = None,
        holder_path: str | None = None,
    ) -> None:
        self.lock = lock
        self.path = path
        self.wait = wait
        self.waited = waited
        self.waiting_for = waiting_for
        self.holder = holder
        self.holder_path = holder_path
        super().__init__(lock)

    def __str__(self) -> str:
        waited_for = _WAITED_FOR.get(self.waiting_for, self.waiting_for)
        limit = "at the first try" if self.wait == 0 else f"within {self.wait:g} seconds"
        text = f"{self.lock} was not acquired {limit}: waited {self.waited:.3g} s for {waited_for}"
        if self.holder_path is None:
            return text
        name = "a contender" if self.holder is None else repr(self.holder)
        return f"{text}, behind {name} ({self.holder_path})"


_WAITED_FOR = {"connection": "a connection", "turn": "its turn", "proof": "the first proof of the hold"}


class NotDueError(ZooKeeperError):
    """A job was not started, because its next run is not due. The block did not start.

    Attributes:
        job: the job, as messages name it.
        path: the path of its znode, as the client sees it.
        due_in: the seconds until the next run is due, by the ensemble's clock; infinite if it never is.
        engine: the engine of the last run.
        outcome: how the last run ended, as in `RunRecord.outcome`.
        ago: how many seconds ago the last run started, by the ensemble's clock.
    """

    def __init__(self, job: str, *, path: str, due_in: float, engine: str, outcome: str, ago: float) -> None:
        self.job = job
        self.path = path
        self.due_in = due_in
        self.engine = engine
        self.outcome = outcome
        self.ago = ago
        super().__init__(job)

    def __str__(self) -> str:
        due = "it is never due again" if self.due_in == float("inf") else f"due in {self.due_in:.3f} s"
        last = f"the last run ({self.outcome}) was started {self.ago:.3f} s ago by {self.engine!r}"
        return f"{self.job} was not started: {last}; {due}"


class RunTimeoutError(ZooKeeperError, TimeoutError):
    """A run of a job was cancelled after `at_most_for` seconds. The lock is released after its block.

    Attributes:
        job: the job, as messages name it.
        path: the path of its znode, as the client sees it.
        at_most_for: the limit, in seconds.
    """

    def __init__(self, job: str, *, path: str, at_most_for: float) -> None:
        self.job = job
        self.path = path
        self.at_most_for = at_most_for
        super().__init__(job)

    def __str__(self) -> str:
        return f"a run of {self.job} was cancelled after at_most_for={self.at_most_for:g} seconds"


class JobRecordError(ZooKeeperError):
    """The znode of a job holds data that are not its record, so it is unknown whether the job may start.

    Attributes:
        path: the path of the znode, as the client sees it.
        data: its data.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        super().__init__(path)

    def __str__(self) -> str:
        return (
            f"the data of {self.path} must be the record of a job, or empty, not {self.data[:100]!r}: "
            f"use a path for this job alone, or set the data to b'' if no run is lost by that"
        )


class HoldLostError(ZooKeeperError):
    """The client could no longer prove a hold while its body ran.

    Attributes:
        path: the path of the hold's own znode.
        reason: the reason of the loss.
    """

    summary: ClassVar[str] = "the hold was lost"

    def __init__(self, path: str | None = None, *, reason: str = "") -> None:
        self.path = path
        self.reason = reason
        super().__init__(path)

    def __str__(self) -> str:
        path = "" if self.path is None else f" ({self.path})"
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.summary}{path}{reason}"


class LockLostError(HoldLostError):
    """The client could no longer prove that it held the lock, and cancelled the body."""

    summary = "the lock was lost"


class LeadershipLostError(HoldLostError):
    """The client could no longer prove that it held the leadership, and cancelled the body."""

    summary = "the leadership was lost"


class BrokenBarrierError(HoldLostError):
    """The client could no longer prove that a member was inside a double barrier, and cancelled its block."""

    summary = "the barrier is broken"


class SnapshotConflictError(ZooKeeperError):
    """A tree changed during every attempt to read it, so there is no snapshot as of one zxid.

    Attributes:
        path: the top of the tree, as the client sees it.
        tries: the number of attempts.
    """

    nothing_changed = True

    def __init__(self, path: str, tries: int) -> None:
        self.path = path
        self.tries = tries
        super().__init__(path, tries)

    def __str__(self) -> str:
        return f"{self.path} changed during every attempt to read it as a whole ({self.tries} attempts)"


class ProtocolError(ZooKeeperError):
    """The peer sent bytes that the protocol does not allow, or a record that could not be decoded."""


def _by_code(classes: Iterable[type[ServerError]]) -> dict[int, type[ServerError]]:
    return {each.code: each for each in classes if each is not UnknownServerError}


_SERVER_ERRORS = _by_code(ServerError.__subclasses__())
_SESSION_ERRORS: dict[int, type[SessionError]] = {
    -112: SessionExpiredError,
    -115: AuthFailedError,
    -118: SessionMovedError,
}


def error_from_code(code: int, path: str | None = None) -> ZooKeeperError:
    """Return the error for a reply's code (`KeeperException.Code`, read at 3.9).

    Args:
        code: the number in the reply's header; not 0.
        path: the full path that the request named, or None.
    """
    known = _SERVER_ERRORS.get(code)
    if known is not None:
        return known(path)
    session = _SESSION_ERRORS.get(code)
    if session is not None:
        return session(reason="reported by the server")
    if code == ConnectionLossError.code:
        return ConnectionLossError(path=path, reason="reported by the server")
    if code == -124:
        return AuthFailedError(reason="the server requires clients to authenticate (`sasl=`, or `auth=`)")
    return UnknownServerError(code, path)

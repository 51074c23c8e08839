"""The state of one server, and the dispatch of requests: a request in, a reply out. No I/O and no clock.

It keeps the zxid, the tree, the sessions and the watches together. Its owner passes the requests of all
connections in one order, which becomes the order of the history. The processor queues events to their
watchers before it returns the reply of the change that caused them (`FinalRequestProcessor.java`, 3.9).
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any, NamedTuple, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    AuthRequest,
    ConnectReply,
    ConnectRequest,
    DeleteContainerRequest,
    Request,
    SASLReply,
    SASLRequest,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiRequest
from zkrecipes.codec.records import Id
from zkrecipes.devserver.auth.access import authenticate
from zkrecipes.devserver.auth.sasl import SaslExchange, SaslUsers
from zkrecipes.devserver.connected_client import ConnectedClient
from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.devserver.requests.multi import NullACLError, apply_multi, as_deserialized
from zkrecipes.devserver.requests.quotas import Quotas
from zkrecipes.devserver.requests.reads import Reads
from zkrecipes.devserver.requests.watches import WatchRequests
from zkrecipes.devserver.requests.writes import WRITES, Change, end_session
from zkrecipes.devserver.server_clock import ServerTime
from zkrecipes.devserver.session_tracker import PASSWORD_SIZE, Session, SessionTracker
from zkrecipes.enums import OpCode
from zkrecipes.errors import (
    AuthFailedError,
    MarshallingError,
    NotReadOnlyError,
    ServerError,
    UnimplementedError,
    session_hex,
)
from zkrecipes.protocol.watch_table import WatchTable

__all__ = ["Processor", "Reply"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

# SESSIONCLOSEDREQUIRESASLAUTH (`KeeperException.Code`, 3.6).
_AUTHENTICATION_REQUIRED = -124
_NO_PASSWORD = bytes(PASSWORD_SIZE)

# These requests do not touch the session (`ZooKeeperServer.processPacket`).
_NO_TOUCH = frozenset({OpCode.AUTH, OpCode.SASL})


# The opcodes that a server without a quorum refuses with -119 (`ReadOnlyRequestProcessor`, 3.9).
_REFUSED_READ_ONLY = frozenset(
    {
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.DELETE,
        OpCode.DELETE_CONTAINER,
        OpCode.SET_DATA,
        OpCode.SET_ACL,
        OpCode.RECONFIG,
        OpCode.MULTI,
        OpCode.CHECK,
        OpCode.SYNC,
    }
)


class Reply(NamedTuple):
    """The reply to a request."""

    zxid: int
    """The zxid of the transaction; for a read, the last zxid."""
    err: int = 0
    record: Record | None = None
    """The body; None if `err` is not 0."""
    close: bool = False
    """Whether the connection is closed after the reply."""
    opcodes: Sequence[int] | None = None
    """For a multi, the opcode of each result."""


@final
class Processor:
    """The state of one server.

    Args:
        tree: the znodes.
        sessions: the sessions that are alive.
        zxid: the last processed zxid.
        random: shuffles lists of children.
        super_digest: the digest id of the super user, which has every permission.
        extended_types: whether clients may create TTL znodes; by default, a real server refuses them.
        sasl_users: the users of SASL DIGEST-MD5; None if SASL is not configured.
        schemes: the configured ACL schemes besides `digest` and `ip`: `sasl`, `x509`.
    """

    def __init__(
        self,
        *,
        tree: DataTree,
        sessions: SessionTracker,
        zxid: int,
        random: Random,
        super_digest: str | None = None,
        extended_types: bool = False,
        sasl_users: SaslUsers | None = None,
        schemes: Collection[str] = (),
    ) -> None:
        self.tree = tree
        self.sessions = sessions
        self.zxid: int = zxid
        self.watches: WatchTable[ConnectedClient] = WatchTable()
        self.attached: dict[int, ConnectedClient] = {}
        """The connection of each attached session, by session id."""
        self.is_read_only: bool = False
        """Whether the server behaves as if it had lost its quorum; see `become_read_only`."""
        self._local: set[int] = set()  # the sessions that a read-only server has created
        self._super_digest = super_digest
        self._extended_types = extended_types
        self._sasl_users = sasl_users
        self._schemes = schemes
        self._random = random
        self._quotas = Quotas(tree)
        self._watch_requests = WatchRequests(tree, self.watches)
        self._reads = Reads(tree, self.watches, random).by_opcode | self._watch_requests.by_opcode
        self._writes = {opcode: apply for opcode, apply in WRITES.items() if opcode != OpCode.CHECK}
        self._others: dict[int, Callable[[ConnectedClient, Request[Any] | None, ServerTime], Reply]] = {
            OpCode.MULTI: self._multi,
            OpCode.PING: self._ping,
            OpCode.CLOSE_SESSION: self._close_session,
            OpCode.AUTH: self._auth,
            OpCode.SASL: self._sasl,
        }

    def greet(
        self, client: ConnectedClient, request: ConnectRequest, time: ServerTime, password: bytes
    ) -> ConnectReply | None:
        """Attach a connection to a new session, or to the session that its greeting requests.

        A reply with timeout 0 is a refusal, after which the caller closes the connection.

        Args:
            client: the connection.
            request: its greeting.
            time: the current time.
            password: 16 random bytes, for a new session.

        Returns:
            None if the caller must close the connection without a reply; `find_refusal` says why.
        """
        if self.find_refusal(request) is not None:
            return None
        timeout = request.timeout_ms / 1000
        session: Session | None
        if request.session_id == 0:
            session = self.sessions.create(timeout, password, time.now)
            if self.is_read_only:
                self._local.add(session.id)
            else:
                self.zxid += 1
        else:
            # Close the old connection before checking the password (`ZooKeeperServer.processConnectRequest`).
            before = self.attached.pop(request.session_id, None)
            if before is not None:
                before.close("its session was attached on another connection")
            session = self.sessions.resume(request.session_id, request.password, timeout, time.now)
        read_only = self.is_read_only
        if session is None:
            return ConnectReply(0, 0, 0, _NO_PASSWORD, read_only=read_only)
        client.session = session
        self.attached[session.id] = client
        return ConnectReply(
            0, round(session.timeout * 1000), session.id, session.password, read_only=read_only
        )

    def find_refusal(self, request: ConnectRequest) -> str | None:
        """Find the reason to close the connection without answering its greeting, or None.

        The rules and their order are those of `ZooKeeperServer.processConnectRequest` and
        `ReadOnlyZooKeeperServer.validateSession` (3.9).
        """
        if self.is_read_only and not request.read_only:
            return "its client does not accept a read-only server"
        if request.last_zxid_seen > self.zxid:
            return f"its client has seen zxid 0x{request.last_zxid_seen:x}, which is above this server's"
        is_local = request.session_id in self._local
        if self.is_read_only and not is_local and self.sessions.find(request.session_id) is not None:
            return "a read-only server cannot attach a session of the ensemble"
        return None

    def become_read_only(self) -> None:
        """Serve only reads, like a server without a quorum, and only clients that ask for a read-only server.

        Earlier sessions do not expire and cannot be attached; `become_writable` ends the new ones.
        """
        self.is_read_only = True

    def become_writable(self, time: ServerTime) -> None:
        """Serve all requests again; clients of earlier sessions have a whole timeout to attach again."""
        self.is_read_only = False
        for session_id in self._local:
            self.sessions.end(session_id)
        self._local.clear()
        self.sessions.touch_all(time.now)

    def process(
        self, client: ConnectedClient, opcode: int, request: Request[Any] | None, time: ServerTime
    ) -> Reply:
        """Process one request of a connection with a session, and return the reply.

        Args:
            client: the connection.
            opcode: the opcode, known or not.
            request: None if the opcode is unknown or the body is malformed.
            time: the current time.
        """
        if client.session is not None and opcode not in _NO_TOUCH:
            self.sessions.touch(client.session, time.now)
        if self._must_authenticate(client, opcode):
            return Reply(0, _AUTHENTICATION_REQUIRED, close=True)
        try:
            return self._process(client, opcode, request, time)
        except ServerError as error:
            return Reply(self.zxid, error.code)

    def _process(
        self, client: ConnectedClient, opcode: int, request: Request[Any] | None, time: ServerTime
    ) -> Reply:
        if self.is_read_only and opcode in _REFUSED_READ_ONLY:
            raise NotReadOnlyError
        read = self._reads.get(opcode)
        if read is not None:
            return self._read(client, read, _readable(request))
        write = self._writes.get(opcode)
        if write is not None:
            return self._write(client, write, _readable(request), time)
        other = self._others.get(opcode)
        if other is not None:
            return other(client, request, time)
        return Reply(-1, UnimplementedError.code, close=True)

    def detach(self, client: ConnectedClient) -> None:
        """Remove a connection that has ended, and its watches. Its session stays alive."""
        self.watches.drop(client)
        session = client.session
        if session is not None and self.attached.get(session.id) is client:
            del self.attached[session.id]

    def expire(self, session: Session, time: ServerTime) -> None:
        """End a session: delete its ephemeral znodes under one zxid, and close its connection."""
        if self.is_read_only and session.id not in self._local:
            self.sessions.touch(session, time.now)  # only a quorum can end the session
            return
        self._end_session(session, time)
        client = self.attached.get(session.id)
        if client is not None:
            client.close("its session has expired")

    def reap(self, paths: list[str], time: ServerTime) -> None:
        """Delete containers and TTL znodes, each in a separate transaction."""
        if self.is_read_only:
            return
        for path in paths:
            self.zxid += 1
            change = self._begin_change(0, [], time)
            try:
                WRITES[OpCode.DELETE_CONTAINER](change, DeleteContainerRequest(path))
            except ServerError:
                continue  # the znode was deleted or got a child since
            self._finish_change(change)

    def _ping(self, _client: ConnectedClient, _request: Request[Any] | None, _time: ServerTime) -> Reply:
        return Reply(self.zxid)

    def _close_session(
        self, client: ConnectedClient, _request: Request[Any] | None, time: ServerTime
    ) -> Reply:
        if client.session is not None:
            self._end_session(client.session, time)
        return Reply(self.zxid, close=True)

    def _read(
        self, client: ConnectedClient, answer: Callable[[ConnectedClient, Any], Record], request: Request[Any]
    ) -> Reply:
        record = answer(client, request)
        if isinstance(request, MultiReadRequest):
            return Reply(self.zxid, 0, record, opcodes=[each.opcode for each in request.operations])
        return Reply(self.zxid, 0, record)

    def _write(
        self,
        client: ConnectedClient,
        apply: Callable[[Change, Any], Record],
        request: Request[Any],
        time: ServerTime,
    ) -> Reply:
        self.zxid += 1  # a failed write also uses a zxid (`PrepRequestProcessor.pRequestHelper`)
        change = self._begin_change(_session_id(client), client.ids, time)
        record = apply(change, request)
        self._finish_change(change)
        return Reply(self.zxid, 0, record)

    def _multi(self, client: ConnectedClient, request: Request[Any] | None, time: ServerTime) -> Reply:
        """Apply all operations or none, under one zxid. If one fails, the reply's header reports no error."""
        if not isinstance(request, MultiRequest):
            self.zxid += 1
            raise MarshallingError
        try:
            operations = as_deserialized(request.operations)
        except NullACLError:
            raise  # no zxid is used yet (`MultiOperationRecord.deserialize` throws no `IOException`)
        except MarshallingError:
            self.zxid += 1
            raise
        self.zxid += 1
        change = self._begin_change(_session_id(client), client.ids, time)
        opcodes, results = apply_multi(change, operations)
        self._finish_change(change)
        return Reply(self.zxid, 0, results, opcodes=opcodes)

    def _auth(self, client: ConnectedClient, request: Request[Any] | None, _time: ServerTime) -> Reply:
        ids = None
        if isinstance(request, AuthRequest):
            ids = authenticate(
                request.scheme, request.auth, address=client.address, super_digest=self._super_digest
            )
        if ids is None:
            return Reply(0, AuthFailedError.code, close=True)
        client.ids = list(dict.fromkeys([*client.ids, *ids]))
        return Reply(0)

    def _sasl(self, client: ConnectedClient, request: Request[Any] | None, _time: ServerTime) -> Reply:
        if self._sasl_users is None or not isinstance(request, SASLRequest):
            # Without a JAAS configuration a server answers any token with a null one (`processSasl`).
            return Reply(0, 0, SASLReply(None))
        if client.sasl is None:
            client.sasl = SaslExchange(self._sasl_users, b64encode(self._random.randbytes(15)))
        try:
            token = client.sasl.answer(request.token)
        except AuthFailedError as error:
            logger.warning(
                "session %s: SASL failed, closing its connection: %s", session_hex(_session_id(client)), error
            )
            return Reply(0, AuthFailedError.code, close=True)
        if client.sasl.username is not None:
            client.ids = list(dict.fromkeys([*client.ids, Id("sasl", client.sasl.username)]))
            client.sasl = None
        return Reply(0, 0, SASLReply(token))

    def _must_authenticate(self, client: ConnectedClient, opcode: int) -> bool:
        """Whether the client must authenticate first (`AuthenticationHelper.enforceAuthentication`)."""
        users = self._sasl_users
        return (
            users is not None
            and users.is_required
            and opcode not in _NO_TOUCH
            and not any(identity.scheme == "sasl" for identity in client.ids)
        )

    def _end_session(self, session: Session, time: ServerTime) -> None:
        self.sessions.end(session.id)
        if session.id in self._local:
            self._local.remove(session.id)  # not a transaction: only this server knew the session
            return
        self.zxid += 1
        change = self._begin_change(session.id, [], time)
        end_session(change)
        self._finish_change(change)

    def _finish_change(self, change: Change) -> None:
        """Update the quotas and fire the watches after a change."""
        self._quotas.apply(change.size_changes)
        self._watch_requests.fire(change.events, self.zxid)

    def _begin_change(self, session_id: int, ids: list[Id], time: ServerTime) -> Change:
        return Change(
            self.tree,
            session_id=session_id,
            ids=ids,
            zxid=self.zxid,
            time_ms=time.time_ms,
            extended_types=self._extended_types,
            schemes=self._schemes,
        )


def _readable(request: Request[Any] | None) -> Request[Any]:
    if request is None:
        raise MarshallingError
    return request


def _session_id(client: ConnectedClient) -> int:
    return 0 if client.session is None else client.session.id

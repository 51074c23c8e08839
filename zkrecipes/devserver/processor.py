"""A request in, a reply out: one server's state, and what each opcode does to it. No I/O, told the time.

It keeps the zxid, the tree, the sessions and the watches together. Whoever runs it hands in the requests of
all connections in one order, which is the order of the history. Events are queued to their watchers before
the reply of the change that caused them is handed back (`FinalRequestProcessor.java`, 3.9).
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
from zkrecipes.devserver.requests.multi import NullACLError, apply_multi, as_read
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
_MUST_AUTHENTICATE = -124
_NO_PASSWORD = bytes(PASSWORD_SIZE)

# These have no effect on the session's life (`ZooKeeperServer.processPacket`).
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
    """What a request is answered with."""

    zxid: int
    """The transaction's, or the last one's for a read."""
    err: int = 0
    record: Record | None = None
    """None where `err` is not 0."""
    close: bool = False
    """Whether the connection is closed after the reply."""
    opcodes: Sequence[int] | None = None
    """For a multi, the opcode of each of its results."""


@final
class Processor:
    """The state of one server.

    Args:
        tree: the znodes.
        sessions: who is alive.
        zxid: the last one that counts as processed.
        random: shuffles lists of children.
        super_digest: the digest id of the super user, who may do all.
        extended_types: whether TTL znodes may be made; a real server does not allow it by default.
        sasl_users: who may authenticate with SASL DIGEST-MD5; None where it is not configured.
        schemes: those of ACLs that are configured besides `digest` and `ip`: `sasl`, `x509`.
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
        """The connection of each session that has one."""
        self.is_read_only: bool = False
        """Whether it serves as one that has lost its quorum; see `become_read_only`."""
        self._local: set[int] = set()  # the sessions that a read-only server has made
        self._super_digest = super_digest
        self._extended_types = extended_types
        self._sasl_users = sasl_users
        self._schemes = schemes
        self._random = random
        self._quotas = Quotas(tree)
        self._watch_requests = WatchRequests(tree, self.watches)
        self._reads = Reads(tree, self.watches, random).by_opcode | self._watch_requests.by_opcode
        self._writes = {opcode: apply for opcode, apply in WRITES.items() if opcode != OpCode.CHECK}
        self._rare: dict[int, Callable[[ConnectedClient, Request[Any] | None, ServerTime], Reply]] = {
            OpCode.MULTI: self._multi,
            OpCode.PING: self._ping,
            OpCode.CLOSE_SESSION: self._close_session,
            OpCode.AUTH: self._auth,
            OpCode.SASL: self._sasl,
        }

    def greet(
        self, peer: ConnectedClient, request: ConnectRequest, moment: ServerTime, password: bytes
    ) -> ConnectReply | None:
        """Attach a connection to a new session or to the one that it asks for.

        A reply with timeout 0 is a refusal, after which the connection is closed.

        Args:
            peer: the connection.
            request: its greeting.
            moment: when.
            password: 16 random bytes, for a new session.

        Returns:
            None where the connection is to be closed without a reply: `refusal` says why.
        """
        if self.refusal(request) is not None:
            return None
        timeout = request.timeout_ms / 1000
        session: Session | None
        if request.session_id == 0:
            session = self.sessions.create(timeout, password, moment.now)
            if self.is_read_only:
                self._local.add(session.id)
            else:
                self.zxid += 1
        else:
            # Before the password is checked, as in `ZooKeeperServer.processConnectRequest`.
            before = self.attached.pop(request.session_id, None)
            if before is not None:
                before.close("its session was attached again")
            session = self.sessions.resume(request.session_id, request.password, timeout, moment.now)
        read_only = self.is_read_only
        if session is None:
            return ConnectReply(0, 0, 0, _NO_PASSWORD, read_only=read_only)
        peer.session = session
        self.attached[session.id] = peer
        return ConnectReply(
            0, round(session.timeout * 1000), session.id, session.password, read_only=read_only
        )

    def refusal(self, request: ConnectRequest) -> str | None:
        """Why a greeting is answered with nothing but the end of the connection; None where it is not.

        The rules and their order are those of `ZooKeeperServer.processConnectRequest` and
        `ReadOnlyZooKeeperServer.validateSession` (3.9).
        """
        if self.is_read_only and not request.read_only:
            return "its client wants no read-only server"
        if request.last_zxid_seen > self.zxid:
            return f"its client has seen zxid 0x{request.last_zxid_seen:x}, this server has not"
        is_local = request.session_id in self._local
        if self.is_read_only and not is_local and self.sessions.find(request.session_id) is not None:
            return "a read-only server does not take a session over"
        return None

    def become_read_only(self) -> None:
        """Serve reads alone, as a server does that has lost its quorum, and only to who asked for that.

        Sessions that there are neither expire nor can they be attached; new ones live as long as this lasts.
        """
        self.is_read_only = True

    def become_writable(self, moment: ServerTime) -> None:
        """Serve all again: the sessions from before have a whole timeout to come back."""
        self.is_read_only = False
        for session_id in self._local:
            self.sessions.end(session_id)
        self._local.clear()
        self.sessions.touch_all(moment.now)

    def process(
        self, peer: ConnectedClient, opcode: int, request: Request[Any] | None, moment: ServerTime
    ) -> Reply:
        """Answer one request of a connection that has been greeted.

        Args:
            peer: the connection.
            opcode: what is asked for.
            request: None where the opcode is unknown or its body could not be read.
            moment: when.
        """
        if peer.session is not None and opcode not in _NO_TOUCH:
            self.sessions.touch(peer.session, moment.now)
        if self._is_locked_out(peer, opcode):
            return Reply(0, _MUST_AUTHENTICATE, close=True)
        try:
            return self._process(peer, opcode, request, moment)
        except ServerError as error:
            return Reply(self.zxid, error.code)

    def _process(
        self, peer: ConnectedClient, opcode: int, request: Request[Any] | None, moment: ServerTime
    ) -> Reply:
        if self.is_read_only and opcode in _REFUSED_READ_ONLY:
            raise NotReadOnlyError
        read = self._reads.get(opcode)
        if read is not None:
            return self._read(peer, read, _readable(request))
        write = self._writes.get(opcode)
        if write is not None:
            return self._write(peer, write, _readable(request), moment)
        rare = self._rare.get(opcode)
        if rare is not None:
            return rare(peer, request, moment)
        return Reply(-1, UnimplementedError.code, close=True)

    def leave(self, peer: ConnectedClient) -> None:
        """A connection is gone: its watches go, its session stays."""
        self.watches.drop(peer)
        session = peer.session
        if session is not None and self.attached.get(session.id) is peer:
            del self.attached[session.id]

    def expire(self, session: Session, moment: ServerTime) -> None:
        """End a session whose time is up: its ephemerals go under one zxid, its connection is closed."""
        if self.is_read_only and session.id not in self._local:
            self.sessions.touch(session, moment.now)  # only a quorum can end it
            return
        self._end_session(session, moment)
        peer = self.attached.get(session.id)
        if peer is not None:
            peer.close("its session has expired")

    def reap(self, paths: list[str], moment: ServerTime) -> None:
        """Delete containers and TTL znodes that are due, each in a transaction of its own."""
        if self.is_read_only:
            return
        for path in paths:
            self.zxid += 1
            change = self._change(0, [], moment)
            try:
                WRITES[OpCode.DELETE_CONTAINER](change, DeleteContainerRequest(path))
            except ServerError:
                continue  # it got a child, or went, meanwhile
            self._changed(change)

    def _ping(self, _peer: ConnectedClient, _request: Request[Any] | None, _moment: ServerTime) -> Reply:
        return Reply(self.zxid)

    def _close_session(
        self, peer: ConnectedClient, _request: Request[Any] | None, moment: ServerTime
    ) -> Reply:
        if peer.session is not None:
            self._end_session(peer.session, moment)
        return Reply(self.zxid, close=True)

    def _read(
        self, peer: ConnectedClient, answer: Callable[[ConnectedClient, Any], Record], request: Request[Any]
    ) -> Reply:
        record = answer(peer, request)
        if isinstance(request, MultiReadRequest):
            return Reply(self.zxid, 0, record, opcodes=[each.opcode for each in request.operations])
        return Reply(self.zxid, 0, record)

    def _write(
        self,
        peer: ConnectedClient,
        apply: Callable[[Change, Any], Record],
        request: Request[Any],
        moment: ServerTime,
    ) -> Reply:
        self.zxid += 1  # a write that fails uses one up too (`PrepRequestProcessor.pRequestHelper`)
        change = self._change(_session_id(peer), peer.ids, moment)
        record = apply(change, request)
        self._changed(change)
        return Reply(self.zxid, 0, record)

    def _multi(self, peer: ConnectedClient, request: Request[Any] | None, moment: ServerTime) -> Reply:
        """All operations or none, under one zxid; a failed multi has no error in its reply's header."""
        if not isinstance(request, MultiRequest):
            self.zxid += 1
            raise MarshallingError
        try:
            operations = as_read(request.operations)
        except NullACLError:
            raise  # before a zxid was taken (`MultiOperationRecord.deserialize`: no `IOException`)
        except MarshallingError:
            self.zxid += 1
            raise
        self.zxid += 1
        change = self._change(_session_id(peer), peer.ids, moment)
        opcodes, results = apply_multi(change, operations)
        self._changed(change)
        return Reply(self.zxid, 0, results, opcodes=opcodes)

    def _auth(self, peer: ConnectedClient, request: Request[Any] | None, _moment: ServerTime) -> Reply:
        ids = None
        if isinstance(request, AuthRequest):
            ids = authenticate(
                request.scheme, request.auth, address=peer.address, super_digest=self._super_digest
            )
        if ids is None:
            return Reply(0, AuthFailedError.code, close=True)
        peer.ids = list(dict.fromkeys([*peer.ids, *ids]))
        return Reply(0)

    def _sasl(self, peer: ConnectedClient, request: Request[Any] | None, _moment: ServerTime) -> Reply:
        if self._sasl_users is None or not isinstance(request, SASLRequest):
            # Without a JAAS configuration a server answers any token with a null one (`processSasl`).
            return Reply(0, 0, SASLReply(None))
        if peer.sasl is None:
            peer.sasl = SaslExchange(self._sasl_users, b64encode(self._random.randbytes(15)))
        try:
            token = peer.sasl.answer(request.token)
        except AuthFailedError as error:
            logger.warning("session %s: SASL failed: %s", session_hex(_session_id(peer)), error)
            return Reply(0, AuthFailedError.code, close=True)
        if peer.sasl.username is not None:
            peer.ids = list(dict.fromkeys([*peer.ids, Id("sasl", peer.sasl.username)]))
            peer.sasl = None
        return Reply(0, 0, SASLReply(token))

    def _is_locked_out(self, peer: ConnectedClient, opcode: int) -> bool:
        """Whether it must authenticate first (`AuthenticationHelper.enforceAuthentication`)."""
        users = self._sasl_users
        return (
            users is not None
            and users.required
            and opcode not in _NO_TOUCH
            and not any(own.scheme == "sasl" for own in peer.ids)
        )

    def _end_session(self, session: Session, moment: ServerTime) -> None:
        self.sessions.end(session.id)
        if session.id in self._local:
            self._local.remove(session.id)  # nobody else ever knew it, so that this is no transaction
            return
        self.zxid += 1
        change = self._change(session.id, [], moment)
        end_session(change)
        self._changed(change)

    def _changed(self, change: Change) -> None:
        """What follows from a change that has been made."""
        self._quotas.follow(change.size_changes)
        self._watch_requests.fire(change.events, self.zxid)

    def _change(self, session_id: int, ids: list[Id], moment: ServerTime) -> Change:
        return Change(
            self.tree,
            session_id=session_id,
            ids=ids,
            zxid=self.zxid,
            time_ms=moment.time_ms,
            extended_types=self._extended_types,
            schemes=self._schemes,
        )


def _readable(request: Request[Any] | None) -> Request[Any]:
    if request is None:
        raise MarshallingError
    return request


def _session_id(peer: ConnectedClient) -> int:
    return 0 if peer.session is None else peer.session.id

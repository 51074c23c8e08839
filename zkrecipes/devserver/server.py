"""A whole server: listens, runs one `ServerConnection` a stream, ends sessions, reaps containers.

All state changes in one task at a time and without a checkpoint in between, so that nothing needs a lock: a
chunk of bytes that was received is processed whole, and its replies leave in one send.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self, final

import anyio
from anyio.abc import TaskStatus

from zkrecipes.devserver.auth.sasl import SaslUsers
from zkrecipes.devserver.connections import Connections
from zkrecipes.devserver.faults import Faults
from zkrecipes.devserver.four_letter import answers
from zkrecipes.devserver.initial_state import StateFactory
from zkrecipes.devserver.processor import Processor
from zkrecipes.devserver.requests import reaping
from zkrecipes.devserver.server_clock import ServerClock
from zkrecipes.devserver.storage.journal import Journal, open_journal
from zkrecipes.devserver.storage.tables import SavedState
from zkrecipes.errors import session_hex
from zkrecipes.net.transport.network import Address, Network, Stream, TcpNetwork, bare_errors
from zkrecipes.net.transport.tls_listening import TlsListeningNetwork, x509_id
from zkrecipes.protocol.server_side import FRAME_SIZE_MAX

__all__ = ["DevServer"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

# A deadline that was reached is taken as reached, whatever adding and subtracting floats made of it.
_EPSILON = 1e-6


@final
class DevServer:
    """A ZooKeeper server in this process, in memory, for development and tests. Never for production.

    ```python
    async with DevServer() as server:
        ...  # connect to server.connect_string
    ```

    It behaves as a standalone server of version 3.9 does. It is its own client's worst case where that is
    allowed: lists of children come shuffled. What can go wrong on purpose is in `faults` and in the methods
    from `expire` on.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        network: where to listen; TCP if not told otherwise.
        tick_time: the length of a tick in seconds; sessions expire in ticks.
        session_timeout_min: the shortest session timeout in seconds; None is two ticks.
        session_timeout_max: the longest session timeout in seconds; None is twenty ticks.
        start_counter: from what the sequence numbers of each parent start.
        start_zxid: the zxid at the start; None takes it from the time, so that a server that was restarted is
            never behind its clients.
        start_time: what the server's calendar shows at the start, in seconds since 1970; None is now.
        seed: of the passwords and the order of children; None takes another each time.
        super_digest: the digest id of the user who may do all, as `access.digest_id` makes it.
        extended_types: whether there are TTL znodes. As with a real server (`extendedTypesEnabled`) there are
            none unless asked for.
        container_check_interval: how often containers and TTL znodes that are due are deleted, in seconds
            (`znode.container.checkIntervalMs`).
        max_packet_size: how large a request may be in bytes (`jute.maxbuffer`).
        four_letter_words: those that are answered, and `srvr` (`4lw.commands.whitelist`); None is all.
        data_dir: the folder that keeps znodes and sessions, made where it is not there. None, the default,
            keeps them in memory only. No two servers may use one at the same time. With it, each change is on
            disk before anybody is told of it, and sessions have a whole timeout to come back after a start.
            The disk takes real time, for which a virtual clock that jumps does not wait.
        connections_per_address_max: how many one address may have (`maxClientCnxns`); 0 is any number.
        tls: speak TLS and nothing else: a context with the server's certificate and key. Where it asks for
            clients' certificates, those are `x509` identities.
        sasl_users: the passwords of those who may authenticate with SASL DIGEST-MD5, by user name; None is
            a server without SASL.
        sasl_required: whether they have to (`sessionRequireClientSASLAuth`).

    Raises:
        OSError: on entering: the address cannot be listened on.
        DataDirError: on entering: the data directory cannot be used, and nothing in it was changed. Later,
            out of the block: its disk is full or fails; nobody was told of what is not there.
        RuntimeError: on entering: it has run before.
        ValueError: a time is out of range.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        network: Network | None = None,
        tick_time: float = 2.0,
        session_timeout_min: float | None = None,
        session_timeout_max: float | None = None,
        start_counter: int = 0,
        start_zxid: int | None = None,
        start_time: float | None = None,
        seed: int | None = None,
        super_digest: str | None = None,
        extended_types: bool = False,
        container_check_interval: float = reaping.CHECK_INTERVAL,
        max_packet_size: int = FRAME_SIZE_MAX,
        four_letter_words: Collection[str] | None = None,
        data_dir: Path | None = None,
        connections_per_address_max: int = 0,
        tls: ssl.SSLContext | None = None,
        sasl_users: Mapping[str, str] | None = None,
        sasl_required: bool = False,
    ) -> None:
        if sasl_required and not sasl_users:
            raise ValueError("sasl_required, and no sasl_users: nobody could come in")
        if not container_check_interval > 0:
            raise ValueError(f"container_check_interval must be above 0 seconds: {container_check_interval}")
        self._address = Address(host, port)
        self._network: Network = TcpNetwork() if network is None else network
        self._door = self._network if tls is None else TlsListeningNetwork(self._network, tls)
        self._start_counter = start_counter
        self._start_time = time.time() if start_time is None else start_time
        self._random = Random(seed)
        self._beginnings = StateFactory(
            tick_time=tick_time,
            timeout_min=session_timeout_min,
            timeout_max=session_timeout_max,
            start_counter=start_counter,
            random=self._random,
            super_digest=super_digest,
            extended_types=extended_types,
            sasl_users=None if sasl_users is None else SaslUsers(sasl_users, required=sasl_required),
            schemes={name for name, has_it in (("sasl", sasl_users), ("x509", tls)) if has_it is not None},
        )
        self._check_interval = container_check_interval
        self._max_packet_size = max_packet_size
        self._words = None if four_letter_words is None else frozenset(four_letter_words)
        self._data_dir = data_dir
        self._journal: Journal | None = None
        self._per_address_max = connections_per_address_max
        self.faults: Faults = Faults(on_release=self._send_all, on_drop=self._drop_session)
        """What shall go wrong with requests and replies."""
        self.processor: Processor = self._beginnings.first(self._start_time, start_zxid)
        """The state: the tree, the sessions, the watches, the zxid."""
        self._is_down = False
        self._running: AbstractAsyncContextManager[None] | None = None

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._address.host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._address.port == 0:
            self._check_entered()
        return self._address.port

    @property
    def network(self) -> Network:
        """Where it listens; clients of a network in memory pass it to `connect`."""
        return self._network

    @property
    def connect_string(self) -> str:
        """`host:port`, as clients take it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _check_entered(self) -> None:
        if self._running is None:
            raise RuntimeError("the DevServer must be entered first: `async with zk.DevServer() as server:`")

    async def __aenter__(self) -> Self:
        if self._running is not None:
            # On another loop its times would mean nothing.
            raise RuntimeError("a DevServer runs once: make another, or use its restart()")
        self._running = self._run()
        await self._running.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._running is not None, "left before it was entered"
        return await self._running.__aexit__(kind, error, trace)

    # --- what can go wrong with a whole server -------------------------------------------------------------

    def expire(self, session_id: int | None = None) -> None:
        """End a session now, as if its time were up; with None, every session.

        Raises:
            KeyError: there is no such session.
        """
        self._check_entered()
        sessions = self.processor.sessions
        if session_id is not None and sessions.find(session_id) is None:
            raise KeyError(f"no session {session_hex(session_id)}")
        for session in sessions:
            if session_id in (None, session.id):
                self.processor.expire(session, self._clock.read())

    def drop_connections(self) -> None:
        """Drop every connection at once. Sessions live on."""
        self._check_entered()
        for connection in self._connections:
            connection.abort("all connections are dropped")

    async def refuse(self) -> None:
        """Listen no more: who connects is refused. Connections that are there stay."""
        self._check_entered()
        self._stop_listening.set()
        await self._not_listening.wait()

    async def accept(self) -> None:
        """Listen again, on the same address."""
        self._check_entered()
        if self._not_listening.is_set():
            await self._tasks.start(self._listen)

    def pause(self) -> None:
        """Stop reading, answering and sending. Its own clock stands, so no session expires meanwhile."""
        self._check_entered()
        self._clock.pause()

    def resume(self) -> None:
        """Go on after a pause."""
        self._check_entered()
        self._clock.resume()
        self._expiry_changed.set()

    def jump(self, seconds: float) -> None:
        """Let time pass on the server's clock alone: sessions end that would have ended by then.

        Its calendar jumps too, so TTL znodes and containers age; `reap` removes those that are due.

        Args:
            seconds: how much later it is there at once.

        Raises:
            ValueError: the clock cannot go back.
        """
        self._check_entered()
        if seconds < 0:
            raise ValueError(f"a server's clock does not go back: {seconds!r}")
        self._clock.jump(seconds)
        self._expiry_changed.set()

    async def restart(self, *, keep: bool = True, downtime: float = 0.0) -> None:
        """Stop and start again in place, on the same address.

        Args:
            keep: whether znodes and sessions are still there afterwards; sessions then have a whole timeout
                to come back. Otherwise the zxid is higher than any before, as after a real start in memory.
            downtime: how long it is away, in seconds.

        Cancellation: while it is away it stays away, until it is restarted again.
        """
        self._check_entered()
        self._is_down = True
        await self.refuse()
        self.drop_connections()
        await anyio.sleep(downtime)
        if keep:
            self.processor.sessions.touch_all(self._clock.now())
        else:
            self.processor = self._beginnings.after(self.processor, self._clock.time())
            if self._journal is not None:
                self._journal.follow(self.processor, is_new=True)
        self._is_down = False
        self._expiry_changed.set()
        await self.accept()

    def become_read_only(self) -> None:
        """Go on as a server of an ensemble does that has lost its quorum; every connection is dropped.

        Only clients that ask for a read-only server are let in, with sessions that end with this state. All
        changes are refused, and no session from before expires or can be taken up.
        """
        self._check_entered()
        self.processor.become_read_only()
        self.drop_connections()

    def become_writable(self) -> None:
        """Go on as usual after `become_read_only`; connections are dropped, sessions have time to return."""
        self._check_entered()
        self.processor.become_writable(self._clock.read())
        self.drop_connections()
        self._expiry_changed.set()

    def reap(self) -> None:
        """Delete the containers and TTL znodes that are due now, without waiting for the next look."""
        self._check_entered()
        processor, moment = self.processor, self._clock.read()
        paths = reaping.due(processor.tree, moment.time_ms, start_counter=self._start_counter)
        processor.reap(paths, moment)

    # --- what a conversation asks of its host --------------------------------------------------------------

    def random_bytes(self, size: int) -> bytes:
        """Bytes for a password."""
        return self._random.randbytes(size)

    def answer_word(self, word: str) -> str:
        """The answer to a four-letter word."""
        connections = self._connections
        status = answers.Status(
            processor=self.processor,
            clients=connections.clients(),
            traffic=connections.traffic,
            now=self._clock.now(),
            time=self._clock.time(),
            port=self.port,
            data_dir=self._data_dir,
            data_size=0 if self._journal is None else self._journal.size(),
            clients_max=self._per_address_max,
            refused=connections.refused,
            cut_off=connections.cut_off,
        )
        return answers.answer(word, status, self._words)

    def session_attached(self) -> None:
        """A session was made or attached again: it may be the next to expire."""
        self._expiry_changed.set()

    # --- tasks ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        self._clock = ServerClock(anyio.current_time, self._start_time)
        self._expiry_changed = anyio.Event()
        async with self._keep_on_disk():
            with bare_errors():
                async with anyio.create_task_group() as self._tasks:
                    journal = self._journal
                    self._connections = Connections(
                        self,
                        self._clock,
                        self._tasks,
                        frame_size_max=self._max_packet_size,
                        per_address_max=self._per_address_max,
                        settled=None if journal is None else journal.settled,
                    )
                    try:
                        if journal is not None:
                            self._tasks.start_soon(journal.run)
                        await self._tasks.start(self._listen)
                        self._tasks.start_soon(self._expire_sessions)
                        self._tasks.start_soon(self._reap_containers)
                        yield
                    finally:
                        self._tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def _keep_on_disk(self) -> AsyncIterator[None]:
        """Take up what the data directory holds, and keep it there, where there is one."""
        if self._data_dir is None:
            yield
            return
        now = self._clock.now()

        def restore(saved: SavedState | None) -> Processor:
            if saved is None:
                return self.processor
            return self._beginnings.restored(saved, self._start_time, now)

        async with open_journal(self._data_dir, restore) as self._journal:
            self.processor = self._journal.processor
            yield

    async def _listen(self, *, task_status: TaskStatus[None]) -> None:
        self._stop_listening = anyio.Event()
        self._not_listening = anyio.Event()
        try:
            async with self._door.serve(*self._address, self._accept) as self._address:
                task_status.started()
                await self._stop_listening.wait()
        finally:
            self._not_listening.set()

    async def _accept(self, stream: Stream) -> None:
        # In a task of the server's own: it outlives the listener, when new connections are refused.
        self._tasks.start_soon(self._connections.serve, stream, *stream.peer, x509_id(stream))

    def _send_all(self) -> None:
        if self._running is not None:
            self._connections.send_all()

    def _drop_session(self, session_id: int) -> None:
        peer = self.processor.attached.get(session_id)
        if peer is not None:
            peer.close("a fault: dropped before its next request")

    async def _expire_sessions(self) -> None:
        while True:
            self._expiry_changed = anyio.Event()
            with anyio.move_on_after(self._expire_due()):
                await self._expiry_changed.wait()

    def _expire_due(self) -> float | None:
        """End the sessions whose time is up; in how many seconds to look again, None: when woken."""
        if self._is_down or self._clock.is_paused:
            return None
        processor, moment = self.processor, self._clock.read()
        for session in processor.sessions.expired(moment.now + _EPSILON):
            logger.info("session %s has expired", session_hex(session.id))
            processor.expire(session, moment)
        until = processor.sessions.next_expiry()
        return None if until is None else until - moment.now

    async def _reap_containers(self) -> None:
        while True:
            await anyio.sleep(self._check_interval)
            if not self._clock.is_paused:
                self.reap()

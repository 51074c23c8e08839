"""A server that runs: it listens, serves its connections, expires sessions and reaps containers.

`DevServer` describes a server and owns the running one. Only one task at a time changes the state, without a
checkpoint in between, so that no lock is needed. A received chunk of bytes is processed as a whole, and its
replies leave in one send.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from zkrecipes.devserver.connections import Connections
from zkrecipes.devserver.fault_injector import FaultInjector
from zkrecipes.devserver.four_letter import answers
from zkrecipes.devserver.initial_state import StateFactory
from zkrecipes.devserver.processor import Processor
from zkrecipes.devserver.requests import reaping
from zkrecipes.devserver.server_clock import ServerClock
from zkrecipes.devserver.storage.background_saver import BackgroundSaver, open_background_saver
from zkrecipes.devserver.storage.tables import SavedState
from zkrecipes.errors import session_hex
from zkrecipes.net.transport.network import Address, Network, Stream, bare_errors
from zkrecipes.net.transport.tls_listening import x509_id

__all__ = ["RunningServer", "ServerOptions", "run_server"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

# Floats accumulate rounding errors, so a deadline within a microsecond counts as reached.
_EPSILON = 1e-6


@final
@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The options of a server that only a running server needs; `DevServer` explains each."""

    address: Address
    network: Network
    """Accepts the connections: the transport, with TLS around it if the server speaks TLS."""
    state_factory: StateFactory
    initial_state: Processor
    start_time: float
    random: Random
    container_check_interval: float
    max_packet_size: int
    four_letter_words: Collection[str] | None
    data_dir: Path | None
    connections_per_address_max: int


@asynccontextmanager
async def run_server(options: ServerOptions, fault_injector: FaultInjector) -> AsyncIterator[RunningServer]:
    """Run a server until the block ends.

    Raises:
        OSError: the server cannot listen on the address.
        DataDirError: the data directory cannot be used. Later, from the block: the disk is full or fails.
    """
    clock = ServerClock(anyio.current_time, options.start_time)
    async with _open_state(options, clock) as (processor, saver):
        with bare_errors():
            async with anyio.create_task_group() as tasks:
                server = RunningServer(
                    options,
                    fault_injector,
                    clock=clock,
                    tasks=tasks,
                    processor=processor,
                    saver=saver,
                )
                try:
                    await server.start()
                    yield server
                finally:
                    tasks.cancel_scope.cancel()


@asynccontextmanager
async def _open_state(
    options: ServerOptions, clock: ServerClock
) -> AsyncIterator[tuple[Processor, BackgroundSaver | None]]:
    """Restore the state from the data directory, if there is one, and keep it saved there."""
    if options.data_dir is None:
        yield options.initial_state, None
        return
    now = clock.now()

    def restore(saved: SavedState | None) -> Processor:
        if saved is None:
            return options.initial_state
        return options.state_factory.restore(saved, options.start_time, now)

    async with open_background_saver(options.data_dir, restore) as saver:
        yield saver.processor, saver


@final
class RunningServer:
    """A server that runs. `run_server` creates it and ends it.

    Args:
        options: its options.
        fault_injector: its faults.
        clock: its clock. While the clock is paused, nothing is read, processed or sent.
        tasks: the task group for its tasks.
        processor: the state to start with.
        saver: saves the state; None if everything is in memory.
    """

    def __init__(
        self,
        options: ServerOptions,
        fault_injector: FaultInjector,
        *,
        clock: ServerClock,
        tasks: TaskGroup,
        processor: Processor,
        saver: BackgroundSaver | None,
    ) -> None:
        self.address: Address = options.address
        """The address that the server listens on; the port is the real one once the server has started."""
        self.processor: Processor = processor
        """The state: the tree, the sessions, the watches, the zxid."""
        self.fault_injector: FaultInjector = fault_injector
        self._options = options
        self._clock = clock
        self._tasks = tasks
        self._saver = saver
        self._is_down = False
        self._expiry_changed = anyio.Event()
        self._connections = Connections(
            self,
            clock,
            tasks,
            frame_size_max=options.max_packet_size,
            per_address_max=options.connections_per_address_max,
            wait_saved=None if saver is None else saver.wait_saved,
        )
        fault_injector.attach(on_release=self._connections.send_all, on_drop=self._drop_session)

    async def start(self) -> None:
        """Listen, and start the server's tasks.

        Raises:
            OSError: the server cannot listen on the address.
        """
        if self._saver is not None:
            self._tasks.start_soon(self._saver.run)
        await self._tasks.start(self._listen)
        self._tasks.start_soon(self._expire_sessions)
        self._tasks.start_soon(self._reap_containers)

    # --- faults of the whole server; `DevServer` documents each --------------------------------------------

    def expire(self, session_id: int | None) -> None:
        """End a session, or every session (None)."""
        sessions = self.processor.sessions
        if session_id is not None and sessions.find(session_id) is None:
            raise KeyError(f"there is no session {session_hex(session_id)}")
        for session in sessions:
            if session_id in (None, session.id):
                self.processor.expire(session, self._clock.read())

    def drop_connections(self) -> None:
        """Drop every connection at once."""
        for connection in self._connections:
            connection.abort("the server drops all connections")

    async def refuse(self) -> None:
        """Stop listening."""
        self._stop_listening.set()
        await self._not_listening.wait()

    async def accept(self) -> None:
        """Listen again, on the same address."""
        if self._not_listening.is_set():
            await self._tasks.start(self._listen)

    def pause(self) -> None:
        """Stop the clock, and with it all reading, answering and sending."""
        self._clock.pause()

    def resume(self) -> None:
        """Continue after a pause."""
        self._clock.resume()
        self._expiry_changed.set()

    def jump(self, seconds: float) -> None:
        """Advance the clock."""
        if seconds < 0:
            raise ValueError(f"seconds must be at least 0, not {seconds!r}: a server's clock never goes back")
        self._clock.jump(seconds)
        self._expiry_changed.set()

    async def restart(self, *, keep: bool, downtime: float) -> None:
        """Stop, and start again on the same address."""
        self._is_down = True
        await self.refuse()
        self.drop_connections()
        await anyio.sleep(downtime)
        if keep:
            self.processor.sessions.touch_all(self._clock.now())
        else:
            self.processor = self._options.state_factory.replace(self.processor, self._clock.time())
            if self._saver is not None:
                self._saver.follow(self.processor, is_new=True)
        self._is_down = False
        self._expiry_changed.set()
        await self.accept()

    def become_read_only(self) -> None:
        """Behave like a server that has lost its quorum, and drop every connection."""
        self.processor.become_read_only()
        self.drop_connections()

    def become_writable(self) -> None:
        """Behave normally again, and drop every connection."""
        self.processor.become_writable(self._clock.read())
        self.drop_connections()
        self._expiry_changed.set()

    def reap(self) -> None:
        """Delete the containers and TTL znodes that are due."""
        processor, time = self.processor, self._clock.read()
        start_counter = self._options.state_factory.start_counter
        paths = reaping.due_paths(processor.tree, time.time_ms, start_counter=start_counter)
        processor.reap(paths, time)

    # --- services for connections (`ServerServices`) -------------------------------------------------------

    def random_bytes(self, size: int) -> bytes:
        """Return random bytes for the password of a session."""
        return self._options.random.randbytes(size)

    def answer_word(self, word: str) -> str:
        """Return the answer to a four-letter word."""
        options, connections = self._options, self._connections
        status = answers.ServerStatus(
            processor=self.processor,
            connections=connections.statuses(),
            stats=connections.stats,
            now=self._clock.now(),
            time=self._clock.time(),
            port=self.address.port,
            data_dir=options.data_dir,
            data_size=0 if self._saver is None else self._saver.size(),
            connections_per_address_max=options.connections_per_address_max,
            rejected_count=connections.rejected_count,
            sessionless_count=connections.sessionless_count,
        )
        return answers.answer(word, status, options.four_letter_words)

    def on_session_attached(self) -> None:
        """Wake the task that expires sessions: this session may be the next to expire."""
        self._expiry_changed.set()

    # --- tasks ---------------------------------------------------------------------------------------------

    async def _listen(self, *, task_status: TaskStatus[None]) -> None:
        self._stop_listening = anyio.Event()
        self._not_listening = anyio.Event()
        try:
            async with self._options.network.serve(*self.address, self._accept) as self.address:
                task_status.started()
                await self._stop_listening.wait()
        finally:
            self._not_listening.set()

    async def _accept(self, stream: Stream) -> None:
        # The server owns this task: connections outlive the listener when new connections are refused.
        self._tasks.start_soon(self._connections.serve, stream, *stream.peer, x509_id(stream))

    def _drop_session(self, session_id: int) -> None:
        connection = self.processor.attached.get(session_id)
        if connection is not None:
            connection.close("fault: drop before the next request")

    async def _expire_sessions(self) -> None:
        while True:
            self._expiry_changed = anyio.Event()
            with anyio.move_on_after(self._expire_due_sessions()):
                await self._expiry_changed.wait()

    def _expire_due_sessions(self) -> float | None:
        """End the sessions whose timeout has passed.

        Returns:
            The seconds until the next check; None: when `_expiry_changed` is set.
        """
        if self._is_down or self._clock.is_paused:
            return None
        processor, time = self.processor, self._clock.read()
        for session in processor.sessions.expired(time.now + _EPSILON):
            logger.info("session %s has expired", session_hex(session.id))
            processor.expire(session, time)
        due = processor.sessions.next_expiry()
        return None if due is None else due - time.now

    async def _reap_containers(self) -> None:
        while True:
            await anyio.sleep(self._options.container_check_interval)
            if not self._clock.is_paused:
                self.reap()

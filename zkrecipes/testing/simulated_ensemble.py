"""A simulated ensemble: servers with one history that can lag, be partitioned, paused and crashed.

Failures that take seconds and root access on a real ensemble take milliseconds here, with the same result in
each run.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from types import TracebackType
from typing import Self, final

import anyio

from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.devserver.session_tracker import first_session_id
from zkrecipes.errors import session_hex
from zkrecipes.net.transport.network import Stream, bare_errors
from zkrecipes.testing.memory_network import MemoryNetwork
from zkrecipes.testing.simulated.history import CommittedTransaction, ReplicatedState
from zkrecipes.testing.simulated.leader_role import Leading
from zkrecipes.testing.simulated.looking_role import Looking
from zkrecipes.testing.simulated.replica import Down, EnsembleState, Replica, Timing
from zkrecipes.testing.simulated.replica_connection import ReplicaConnection

__all__ = ["SimulatedEnsemble"]

_PORT = 2181
# The seconds between checks of a condition. Under a virtual clock they cost nothing.
_POLL_INTERVAL = 0.01


@final
class SimulatedEnsemble:
    """An ensemble of ZooKeeper servers in memory, for tests of clients and recipes under server failures.

    ```python
    async with SimulatedEnsemble(size=3) as ensemble:
        async with connect(ensemble.connect_string, network=ensemble.network) as client:
            ensemble.isolate(ensemble.leader)  # it still answers reads, but no writes
    ```

    Replicas are numbered from 1 and listen at `zk1:2181`, `zk2:2181`, … on a `MemoryNetwork`. Entering waits
    until all of them serve. Use it under trio's virtual clock, because elections and timeouts take seconds.

    It is a test instrument, not a server: it behaves as the rules of ZooKeeper 3.4 to 3.9 allow, and says
    nothing about speed. It follows these rules: one total order of writes, each committed by a quorum;
    reads from the replica's own copy, however old; `sync`; replies on a connection in the order of its
    requests; the touching of sessions (a replica reports its active sessions in the answer to the leader's
    next ping); expiry in ticks by the leader alone; session moves; the time limits after which a replica
    leaves its leader, and a leader without a quorum steps down; the history of a new leader, and its fresh
    timeouts.

    It simplifies the rest: an election is only its outcome after a fraction of a second, the log is never
    lost or trimmed, and there are no observers, no read-only mode and no TTL znodes.

    Args:
        size: the number of replicas.
        network: the network of their listeners; None creates one.
        tick_time: the length of a tick, in seconds; session timeouts are 2 to 20 ticks.
        sync_limit: the ticks of silence that a replica and its leader tolerate (`syncLimit`).
        init_limit: the ticks within which a replica must join a leader (`initLimit`).
        latency: the time that a message between two replicas takes, in seconds.
        seed: the seed of all random choices: the times of elections, passwords, the order of children.

    Raises:
        RuntimeError: on entering: it has run before.
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        network: MemoryNetwork | None = None,
        tick_time: float = 2.0,
        sync_limit: int = 5,
        init_limit: int = 10,
        latency: float = 0.001,
        seed: int = 0,
    ) -> None:
        if min(size, sync_limit, init_limit) < 1 or not tick_time > 0 or latency < 0:
            raise ValueError(
                "size, sync_limit and init_limit must be at least 1, tick_time above 0, latency at least 0: "
                f"{size=}, {tick_time=}, {sync_limit=}, {init_limit=}, {latency=}"
            )
        self.network: MemoryNetwork = MemoryNetwork() if network is None else network
        """The network on which the replicas listen; pass it to `connect`."""
        random, started_at = Random(seed), time.time()
        session_id = first_session_id(started_at)
        self._ensemble = EnsembleState(
            size=size,
            timing=Timing(tick_time, sync_limit, init_limit),
            latency=latency,
            random=random,
            started_at=started_at,
            first_session_id=session_id,
        )
        for number in range(1, size + 1):
            state = ReplicatedState(tick_time=tick_time, first_session_id=session_id, random=random)
            replica = Replica(self._ensemble, number, state, Looking)
            self._ensemble.replicas[number] = self._ensemble.replica_network.receivers[number] = replica
        self._running: AbstractAsyncContextManager[None] | None = None
        self._changed = anyio.Event()

    # --- its state -----------------------------------------------------------------------------------------

    @property
    def numbers(self) -> list[int]:
        """The numbers of the replicas."""
        return list(self._ensemble.replicas)

    @property
    def connect_string(self) -> str:
        """The connect string of all replicas."""
        return ",".join(self.address(number) for number in self.numbers)

    def address(self, number: int) -> str:
        """Return the connect string of one replica."""
        return f"{self.host(number)}:{_PORT}"

    def host(self, number: int) -> str:
        """Return the host name that a replica listens on, for the faults of `network`."""
        self._replica(number)
        return f"zk{number}"

    @property
    def leader(self) -> int | None:
        """The number of the leader, or None. An older leader that has not noticed its end does not count."""
        leading = [
            replica
            for replica in self._ensemble.replicas.values()
            if isinstance(replica.role, Leading) and replica.role.has_started
        ]
        newest = max(leading, key=lambda replica: replica.accepted_epoch, default=None)
        return None if newest is None else newest.number

    @property
    def followers(self) -> list[int]:
        """The numbers of all replicas but the leader."""
        return [number for number in self.numbers if number != self.leader]

    def is_serving(self, number: int) -> bool:
        """Whether a replica serves clients: it leads or has a leader, as far as it knows."""
        return self._replica(number).is_serving

    def tree(self, number: int) -> DataTree:
        """Return a replica's copy of the znodes, to read only."""
        return self._replica(number).processor.tree

    def attached_to(self, session_id: int) -> list[int]:
        """Return the replicas at which a session has a connection.

        For a while after a move, this includes the replica that the session left.
        """
        return [
            number
            for number, replica in self._ensemble.replicas.items()
            if session_id in replica.processor.attached
        ]

    def ended_at(self, session_id: int) -> float | None:
        """Return when a quorum committed the end of a session, on the loop's clock; None if it is alive.

        At that time its ephemeral znodes are deleted, and other contenders may get its locks.
        """
        return self._ensemble.ended_at.get(session_id)

    def touched_at(self, session_id: int) -> float | None:
        """Return when the leader last touched a session, on the loop's clock.

        The session lives for its timeout from then on. None means that there is no leader, or that the leader
        has not touched the session.
        """
        role = None if self.leader is None else self._replica(self.leader).role
        return role.sessions.touched_at.get(session_id) if isinstance(role, Leading) else None

    def follow_commits(self, on_commit: Callable[[CommittedTransaction], None]) -> None:
        """Call `on_commit` for each past transaction now, and for each later one when a quorum commits it."""
        timing, first_id = self._ensemble.timing, self._ensemble.first_session_id
        state = ReplicatedState(tick_time=timing.tick, first_session_id=first_id, random=Random(0))
        self._ensemble.follow_commits(lambda entry: on_commit(state.commit(entry)))

    # --- faults --------------------------------------------------------------------------------------------
    #
    # These are faults of replicas and between them. `network` has the faults between clients and a `host`.

    def lag(self, number: int, seconds: float) -> None:
        """Let a replica apply commits this many seconds late, so that its reads are stale; 0 ends the lag.

        The replica still votes and answers its leader in time. With `math.inf` it applies no more commits.
        """
        self._replica(number).set_lag(seconds)

    def cut(self, one: int, other: int) -> None:
        """Let nothing arrive between two replicas until `heal`. Messages in transit arrive afterwards."""
        self.block(one, other)
        self.block(other, one)

    def block(self, source: int, target: int) -> None:
        """Let nothing arrive from `source` at `target`; the other direction works."""
        self._ensemble.replica_network.block(self._replica(source).number, self._replica(target).number)

    def isolate(self, number: int) -> None:
        """Cut a replica from all others. Its clients still reach it."""
        for other in self.numbers:
            if other != number:
                self.cut(number, other)

    def heal(self, one: int | None = None, other: int | None = None) -> None:
        """End `cut`, `block` and `isolate` between two replicas; without arguments, between all replicas."""
        if one is None or other is None:
            self._ensemble.replica_network.unblock_all()
        else:
            self._ensemble.replica_network.unblock(one, other)
            self._ensemble.replica_network.unblock(other, one)

    def pause(self, number: int) -> None:
        """Pause a replica's process: it answers nothing, and its timers do not fire."""
        self._replica(number).pause()

    def resume(self, number: int) -> None:
        """Resume a replica's process, starting with all messages and timers that it missed."""
        self._replica(number).resume()
        self._changed.set()
        self._changed = anyio.Event()

    def crash(self, number: int) -> None:
        """End a replica's process. Its clients and the other replicas see their connections close."""
        self._replica(number).crash()
        self.resume(number)

    def restart(self, number: int) -> None:
        """Start a replica again with its log and its copy of the state; if it runs, stop it first."""
        self.crash(number)
        self._replica(number).start_looking()

    def move_leader(self, to: int | None = None) -> None:
        """Let the leader step down in favour of `to` or of another replica.

        A new leader follows once the others have noticed and voted: `serving` waits for it. The new
        leader is `to`, if that is reachable and its log is as complete as the others'.

        Args:
            to: the next leader; None chooses the follower with the lowest number.
        """
        leader = self.leader
        self._ensemble.preferred_leader = self._replica(to or min(self.followers, default=1)).number
        if leader is not None:
            self._replica(leader).start_looking()

    def expire(self, session_id: int) -> None:
        """Let the leader expire a session now; a quorum must commit that.

        Raises:
            KeyError: there is no leader, or the leader does not know the session.
        """
        role = None if self.leader is None else self._replica(self.leader).role
        if not (isinstance(role, Leading) and role.end_session(session_id)):
            raise KeyError(f"no session {session_hex(session_id)}")

    async def serving(self, *numbers: int) -> None:
        """Wait until these replicas serve under one leader; without arguments, all running replicas."""
        await anyio.lowlevel.checkpoint()
        while not self._all_serve(numbers or self._running_numbers()):  # noqa: ASYNC110 - many causes
            await anyio.sleep(_POLL_INTERVAL)

    async def session_ended(self, session_id: int) -> float:
        """Wait until a quorum has committed the end of a session, and return `ended_at`."""
        await anyio.lowlevel.checkpoint()
        while (ended_at := self.ended_at(session_id)) is None:  # noqa: ASYNC110 - any replica may learn it
            await anyio.sleep(_POLL_INTERVAL)
        return ended_at

    def _all_serve(self, numbers: tuple[int, ...]) -> bool:
        leader = self.leader
        return leader is not None and all(self.is_serving(number) for number in (leader, *numbers))

    def _running_numbers(self) -> tuple[int, ...]:
        replicas = self._ensemble.replicas.values()
        return tuple(replica.number for replica in replicas if not isinstance(replica.role, Down))

    def _replica(self, number: int) -> Replica:
        replica = self._ensemble.replicas.get(number)
        if replica is None:
            raise ValueError(f"number must be between 1 and {len(self.numbers)}, not {number}")
        return replica

    # --- running -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("a SimulatedEnsemble runs only once: create another one")
        self._running = self._run()
        await self._running.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._running is not None, "it must be entered before it is left"
        return await self._running.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        with bare_errors():
            async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
                self._ensemble.start()
                tasks.start_soon(self._ensemble.scheduler.run)
                for replica in self._ensemble.replicas.values():
                    serve = partial(self._serve, replica)
                    await stack.enter_async_context(
                        self.network.serve(self.host(replica.number), _PORT, serve)
                    )
                    replica.start_looking()
                try:
                    await self.serving()
                    yield
                finally:
                    tasks.cancel_scope.cancel()

    async def _serve(self, replica: Replica, stream: Stream) -> None:
        """Serve one connection until it ends."""
        output = _Signal()
        connection = ReplicaConnection(replica, stream.peer.host, output.set)
        replica.connections[connection] = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._send, replica, connection, stream, output)
                await self._receive(replica, connection, stream)
                connection.close("its client has closed it")
        finally:
            del replica.connections[connection]
            replica.processor.detach(connection)

    async def _receive(self, replica: Replica, connection: ReplicaConnection, stream: Stream) -> None:
        try:
            while data := await stream.receive():
                await self._wait_until_resumed(replica)
                if isinstance(replica.role, Down):
                    return
                connection.receive(data)
        except OSError:
            return  # the connection was closed by the client or here

    async def _send(
        self, replica: Replica, connection: ReplicaConnection, stream: Stream, output: _Signal
    ) -> None:
        try:
            while True:
                await self._wait_until_resumed(replica)
                if data := connection.data_to_send():
                    await stream.send(data)
                elif connection.is_closing:
                    return
                else:
                    await output.wait()
        except OSError:
            return  # `_receive` sees the same end
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async def _wait_until_resumed(self, replica: Replica) -> None:
        while replica.is_paused:
            await self._changed.wait()


@final
class _Signal:
    """An event that resets when a task has waited for it."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = anyio.Event()

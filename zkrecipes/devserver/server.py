"""The description of a server that users build, and its faults; entering it runs a server."""

from __future__ import annotations

import ssl
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self, final

from zkrecipes.devserver.auth.sasl import SaslUsers
from zkrecipes.devserver.fault_injector import FaultInjector
from zkrecipes.devserver.faults import Faults
from zkrecipes.devserver.initial_state import StateFactory
from zkrecipes.devserver.processor import Processor
from zkrecipes.devserver.requests.reaping import CHECK_INTERVAL
from zkrecipes.devserver.running_server import RunningServer, ServerOptions, run_server
from zkrecipes.net.transport.network import Address, Network, TcpNetwork
from zkrecipes.net.transport.tls_listening import TlsListeningNetwork
from zkrecipes.protocol.server_side import FRAME_SIZE_MAX

__all__ = ["DevServer"]


@final
class DevServer:
    """A ZooKeeper server in this process, in memory, for development and tests. Never for production.

    ```python
    async with DevServer() as server:
        ...  # connect to server.connect_string
    ```

    It behaves like a standalone server of version 3.9. If ZooKeeper allows several behaviours, it shows the
    worst case for its clients: lists of children are shuffled. `faults`, and the methods from `expire` on,
    cause failures on purpose.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        network: the network to listen on; TCP by default.
        tick_time: the length of a tick in seconds; sessions expire in ticks.
        session_timeout_min: the shortest session timeout in seconds; None means two ticks.
        session_timeout_max: the longest session timeout in seconds; None means twenty ticks.
        start_counter: the first sequence number below each parent.
        start_zxid: the zxid at the start; None derives it from the time, so that a restarted server is never
            behind its clients.
        start_time: the server's calendar time at the start, in seconds since 1970; None means now.
        seed: the seed for passwords and for the order of children; None takes a different one each time.
        super_digest: the id of the super user, which has every permission: `zk.digest_id("super", …).id`.
        extended_types: whether clients may create TTL znodes. The default is a real server's
            (`extendedTypesEnabled`): False.
        container_check_interval: the interval in seconds at which the server deletes containers and TTL
            znodes that are due (`znode.container.checkIntervalMs`).
        max_packet_size: the largest request in bytes (`jute.maxbuffer`).
        four_letter_words: the words that the server answers besides `srvr` (`4lw.commands.whitelist`); None
            means all.
        data_dir: the folder that keeps znodes and sessions; the server creates it if necessary. None, the
            default, keeps them in memory only. Two servers must not use one folder at the same time. With a
            folder, each change is on disk before any client learns of it, and after a start, clients have a
            whole session timeout to return. The disk takes real time; a virtual clock that jumps does not
            wait for it.
        connections_per_address_max: the most connections that one address may have (`maxClientCnxns`); 0
            means any number.
        tls: a context with the server's certificate and key: the server then speaks TLS only. If the context
            requests certificates from clients, these become `x509` identities.
        sasl_users: the passwords for SASL DIGEST-MD5, by user name; None means a server without SASL.
        sasl_required: whether clients must authenticate with SASL (`sessionRequireClientSASLAuth`).

    Raises:
        OSError: on entering: the server cannot listen on the address.
        DataDirError: on entering: the data directory cannot be used, and nothing in it was changed. Later,
            from the block: the disk is full or fails; no client has learned of a change that is not on disk.
        RuntimeError: on entering: it has run before. Otherwise: a call or attribute that needs a running
            server, before the block.
        ValueError: a time is out of range, or `sasl_required` has no `sasl_users`.
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
        container_check_interval: float = CHECK_INTERVAL,
        max_packet_size: int = FRAME_SIZE_MAX,
        four_letter_words: Collection[str] | None = None,
        data_dir: Path | None = None,
        connections_per_address_max: int = 0,
        tls: ssl.SSLContext | None = None,
        sasl_users: Mapping[str, str] | None = None,
        sasl_required: bool = False,
    ) -> None:
        if sasl_required and not sasl_users:
            raise ValueError("sasl_required needs sasl_users: without users no client can authenticate")
        if not container_check_interval > 0:
            raise ValueError(
                f"container_check_interval must be above 0 seconds, not {container_check_interval!r}"
            )
        self._address = Address(host, port)
        self._network: Network = TcpNetwork() if network is None else network
        start_time = time.time() if start_time is None else start_time
        random = Random(seed)
        state_factory = StateFactory(
            tick_time=tick_time,
            timeout_min=session_timeout_min,
            timeout_max=session_timeout_max,
            start_counter=start_counter,
            random=random,
            super_digest=super_digest,
            extended_types=extended_types,
            sasl_users=None if sasl_users is None else SaslUsers(sasl_users, is_required=sasl_required),
            schemes={name for name, option in (("sasl", sasl_users), ("x509", tls)) if option is not None},
        )
        self._options = ServerOptions(
            address=self._address,
            network=self._network if tls is None else TlsListeningNetwork(self._network, tls),
            state_factory=state_factory,
            initial_state=state_factory.create(start_time, start_zxid),
            start_time=start_time,
            random=random,
            container_check_interval=container_check_interval,
            max_packet_size=max_packet_size,
            four_letter_words=None if four_letter_words is None else frozenset(four_letter_words),
            data_dir=data_dir,
            connections_per_address_max=connections_per_address_max,
        )
        self._fault_injector = FaultInjector()
        self.faults: Faults = Faults(self._fault_injector)
        """The faults that hit requests and replies."""
        self._running: RunningServer | None = None
        self._context: AbstractAsyncContextManager[RunningServer] | None = None

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._address.host if self._running is None else self._running.address.host

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            RuntimeError: the server chooses the port at its start, and has not started.
        """
        if self._running is None and self._address.port != 0:
            return self._address.port
        return self._server().address.port

    @property
    def network(self) -> Network:
        """The network that it listens on. Clients of a network in memory pass it to `connect`."""
        return self._network

    @property
    def connect_string(self) -> str:
        """The connect string for clients, `host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def processor(self) -> Processor:
        """The server's state (tree, sessions, watches, zxid), for tests that look behind the protocol.

        Its classes are not part of the public API, and may change in any release.
        """
        return self._server().processor

    async def __aenter__(self) -> Self:
        if self._context is not None:
            # The state contains times of the event loop on which the server ran.
            raise RuntimeError("a DevServer runs only once: create another, or use restart()")
        self._context = run_server(self._options, self._fault_injector)
        self._running = await self._context.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._context is not None, "left before it was entered"
        return await self._context.__aexit__(kind, error, trace)

    def expire(self, session_id: int | None = None) -> None:
        """End a session now, as if its timeout had passed.

        Args:
            session_id: the session; None means every session.

        Raises:
            KeyError: no live session has this id.
        """
        self._server().expire(session_id)

    def drop_connections(self) -> None:
        """Drop every connection at once. Sessions stay alive."""
        self._server().drop_connections()

    async def refuse(self) -> None:
        """Stop listening, so that new connections are refused. Existing connections stay."""
        await self._server().refuse()

    async def accept(self) -> None:
        """Listen again, on the same address."""
        await self._server().accept()

    def pause(self) -> None:
        """Stop reading, answering and sending. The server's clock stops as well, so no session expires."""
        self._server().pause()

    def resume(self) -> None:
        """Continue after a pause."""
        self._server().resume()

    def jump(self, seconds: float) -> None:
        """Advance only the server's clock. Sessions that would have expired in this time expire.

        Its calendar advances as well, so TTL znodes and containers age; `reap` removes those that are due.

        Args:
            seconds: the time to advance by.

        Raises:
            ValueError: `seconds` is negative.
        """
        self._server().jump(seconds)

    async def restart(self, *, keep: bool = True, downtime: float = 0.0) -> None:
        """Stop, and start again on the same address.

        Args:
            keep: whether znodes and sessions survive; if so, clients have a whole session timeout to return.
                Otherwise the new zxid is higher than any before, as after a real start in memory.
            downtime: the time between stop and start, in seconds.

        Cancellation: a server cancelled during the downtime stays down until the next restart.
        """
        await self._server().restart(keep=keep, downtime=downtime)

    def become_read_only(self) -> None:
        """Behave like a server of an ensemble that has lost its quorum, and drop every connection.

        The server then accepts only clients that ask for a read-only server. It refuses all changes. Earlier
        sessions do not expire and cannot be attached; `become_writable` ends the new ones.
        """
        self._server().become_read_only()

    def become_writable(self) -> None:
        """Behave normally after `become_read_only`, and drop every connection.

        Clients of earlier sessions have a whole timeout to return.
        """
        self._server().become_writable()

    def reap(self) -> None:
        """Delete the containers and TTL znodes that are due, without waiting for the next check."""
        self._server().reap()

    def _server(self) -> RunningServer:
        if self._running is None:
            raise RuntimeError("the DevServer must be entered first: `async with zk.DevServer() as server:`")
        return self._running

"""Finds a server that attaches a session: host after host, pass after pass.

A server that refuses, stays silent or speaks another protocol counts as down. Its reason is kept for the
error of a `connect()` that finds no server.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, final

import anyio

from zkrecipes.codec.messages import CloseSessionRequest
from zkrecipes.errors import AuthFailedError, ConnectionLossError, ProtocolError, SessionExpiredError
from zkrecipes.net import four_letter, sasl_steps
from zkrecipes.net.capability_cache import CapabilityCache
from zkrecipes.net.connect_string import Host
from zkrecipes.net.connection import NO_ANSWER, Connection
from zkrecipes.net.failed_passes import PassReports
from zkrecipes.net.foreign_protocols import describe_foreign_protocol
from zkrecipes.net.host_list import HostList
from zkrecipes.net.known_addresses import KnownAddresses
from zkrecipes.net.read_write_server import find_read_write_server
from zkrecipes.net.reconnect_pace import Pace
from zkrecipes.net.session import plain_reason
from zkrecipes.net.transport.address import AddressTable
from zkrecipes.net.transport.network import Address, Network, Stream
from zkrecipes.net.transport.tls_errors import TlsError
from zkrecipes.net.transport.tls_network import TlsNetwork
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Broken, Connected, Greeting, Replied, Ticket
from zkrecipes.protocol.sasl import SaslExchange, SaslMechanism
from zkrecipes.protocol.watch_table import WatchTable

__all__ = ["Connector"]

logger: logging.Logger = logging.getLogger("zkrecipes.connection")

_CLOSE_TRIES: Final = 3
_NONCE_SIZE: Final = 24


@final
class _Search(NamedTuple):
    """The inputs of a search for a server."""

    greeting: Greeting
    watches: WatchTable[Any]
    pace: Pace
    waits_for_tickets: bool
    """Whether a client without valid tickets waits for them, as for a server, or raises at once."""


@final
class Connector:
    """The part of a client that opens connections for its sessions.

    Args:
        network: the network of the hosts.
        hosts: chooses the next one; the engine reports which of them served (`HostList.note_success`).
        watches: the client's watches, to be set again on each connection.
        packet_size_max: the largest reply to accept, in bytes.
    """

    def __init__(
        self,
        network: Network,
        hosts: HostList,
        watches: WatchTable[Any],
        parking: Parking,
        packet_size_max: int,
    ) -> None:
        self.hosts = hosts
        self.sasl: SaslMechanism | None = None
        """The mechanism with which each connection authenticates first, if any."""
        self._reasons: dict[Host, str] = {}
        self._trying: Host | None = None
        self._step = ""  # the current step of the attempt at `_trying`
        self._reports = PassReports()
        self._addresses = KnownAddresses(network)
        self._network = network
        self._watches = watches
        self._parking = parking
        self._packet_size_max = packet_size_max
        self._names: AddressTable[str] = AddressTable()
        self.capability_cache: CapabilityCache = CapabilityCache()

    def failure_reasons(self) -> dict[str, str]:
        """Return the reason of each host for not attaching the session at the last try, by `host:port`."""
        unknown = dict.fromkeys(self.hosts.hosts, "not tried yet")
        if self._trying in unknown:
            unknown[self._trying] = (
                "resolving" if self._addresses.is_resolving else f"no answer yet{self._step}"
            )
        return {str(host): self._reasons.get(host, reason) for host, reason in unknown.items()}

    async def attach(self, greeting: Greeting, pace: Pace) -> tuple[Connection, Connected, Address]:
        """Try hosts until one attaches the session. Only the caller limits the time.

        Args:
            greeting: names the session.
            pace: the time limits of its steps.

        Raises:
            SessionExpiredError: a server reports that the session has ended.
            AuthFailedError: a server refused the credentials, or there are no tickets and no session.
        """
        # A session that may be alive is worth waiting for: other programs renew the tickets, and may be late
        # or just writing the file that was read. Without a session, the caller gets the error immediately.
        may_be_alive = greeting.session_id != 0
        return await self._attach(_Search(greeting, self._watches, pace, may_be_alive))

    async def close_session(self, greeting: Greeting, pace: Pace) -> None:
        """Close a session that was given up, on the first server that can be reached.

        The server then deletes its ephemerals at once. Best effort: a session that is not closed expires.

        Args:
            greeting: names the session.
            pace: the time limits of its steps.
        """
        for _ in range(_CLOSE_TRIES):
            try:
                # without the watches, which are for the next session
                connection, *_ = await self._attach(_Search(greeting, WatchTable(), pace, False))
            except (SessionExpiredError, AuthFailedError):
                return
            try:
                with anyio.move_on_after(pace.step_timeout(0, 1)):
                    connection.side.send(Ticket(CloseSessionRequest()))
                    if isinstance(await connection.next_reply(), Replied):
                        return
            finally:
                with anyio.CancelScope(shield=True):
                    await connection.aclose()

    async def ask(self, address: Address, word: bytes) -> bytes:
        """Return the server's answer to a four-letter word, up to the size limit of a reply.

        Raises:
            OSError: the server could not be reached.
        """
        return await four_letter.ask(self._network, address, word, size_max=self._packet_size_max)

    async def addresses_of(self, host: Host) -> list[Address]:
        """Return every address that the host has now; none if its name cannot be resolved."""
        try:
            return await self._network.resolve(host.name, host.port)
        except OSError:
            return []

    async def find_read_write_server(self, is_needed: Callable[[], bool]) -> tuple[Host, Address] | None:
        """Return a host whose server has a quorum, and its address, or None if none is needed."""
        return await find_read_write_server(self._network, lambda: self.hosts.hosts, is_needed)

    async def _attach(self, search: _Search) -> tuple[Connection, Connected, Address]:
        while True:
            if self.hosts.is_pass_over:
                await self._end_pass(search.pace)
            host = self.hosts.next_host()
            try:
                attached = await self._try_host(host, search)
            except (SessionExpiredError, AuthFailedError):
                self._note_answer()
                raise
            if attached is not None:
                self._note_answer()
                return attached

    def _note_answer(self) -> None:
        """Forget the failures: a server works, whatever it answered."""
        self._trying = None
        self._reports.note_success()
        if self._reasons:
            self._reasons.clear()
            self.hosts.note_success()

    async def _end_pass(self, pace: Pace) -> None:
        pause = self.hosts.end_pass(pace.pause_max())
        if self._reasons:
            self.capability_cache.forget_all()
            self._addresses.keep_only(self.hosts.hosts)
            self._reports.note_failure(self.failure_reasons(), pause, anyio.current_time())
        # If no host failed, one attached the session and closed the connection soon after: it is tried again
        # at once, but only once, because something that the client sends may be the cause.
        if self._reasons or self.hosts.passes > 1:
            await anyio.sleep(pause)

    async def _try_host(self, host: Host, search: _Search) -> tuple[Connection, Connected, Address] | None:
        self._trying, self._step, reason = host, "", ""
        try:
            addresses, is_guess = await self._addresses.resolve(
                host,
                search.pace.step_timeout(self.hosts.passes, len(self.hosts.hosts)),
                # An existing session proves that the ensemble is still the same; a new one would prove
                # nothing.
                may_guess=search.greeting.session_id != 0,
            )
        except OSError as error:
            addresses, is_guess, reason = [], False, str(error)
        for address in self.hosts.order_addresses(addresses):
            self._names[address] = host.name
            self.hosts.last_address = address
            step = search.pace.step_timeout(self.hosts.passes, len(self.hosts.hosts), len(addresses))
            try:
                return (*await self._try_address(address, search, step), address)
            except (SessionExpiredError, AuthFailedError) as error:
                if not is_guess:
                    # the server answers, so the next session may begin there
                    self.hosts.prefer(host, address)
                    raise
                reason = (
                    f"resolving: the server at the last known address, {address}, reports: {error.reason}"
                )
            except OSError as error:
                where = f"resolving: the last known address, {address}: " if is_guess else ""
                reason = where + (str(error) or type(error).__name__)
        self._reasons[host] = reason
        logger.info("%s did not attach the session: %s", host, reason, extra={"host": str(host)})
        return None

    async def _try_address(
        self, address: Address, search: _Search, step: float
    ) -> tuple[Connection, Connected]:
        exchange = self._exchange(address)
        with _step_limit(step, "from the KDC " if exchange is not None and exchange.blocks else ""):
            token = None if exchange is None else await _begin(exchange, search)
        while True:
            side = ClientSide(
                search.greeting,
                search.watches,
                now=anyio.current_time(),
                packet_size_max=self._packet_size_max,
                guess=self.capability_cache.guess(address),
                sasl_token=token,
                sasl_suspects="" if exchange is None else exchange.suspects,
            )
            connection = Connection(await self._open(address, step), side, self._parking)
            self._step = ", while greeting"
            try:
                outcome = await connection.greet(exchange, step)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await connection.aclose()
                raise
            if isinstance(outcome, Connected):
                self.capability_cache.note_attached(address, side)
                return connection, outcome
            await connection.aclose()
            if not self.capability_cache.note_end(address, side):
                self.capability_cache.forget(address)
                raise self._reason_of(outcome, connection, search.greeting)
            # The question only showed what the server lacks: try again at once without it.
            exchange = self._exchange(address)
            token = None if exchange is None else await _begin(exchange, search)

    async def _open(self, address: Address, step: float) -> Stream:
        network = self._network
        carrier = network.carrier if isinstance(network, TlsNetwork) else network
        self._step = " to the attempt to connect"
        with _step_limit(step, "to the attempt to connect "):
            stream = await carrier.connect(*address)
        if isinstance(network, TlsNetwork):
            self._step = " in the TLS handshake"
            with _step_limit(step, "in the TLS handshake "):
                stream = await network.secure(stream, address)
        return stream

    def _reason_of(self, broken: Broken, connection: Connection, greeting: Greeting) -> Exception:
        """Return the error that ends the session unchanged; any other becomes a reason against the host."""
        error = broken.error
        if isinstance(error, (SessionExpiredError, AuthFailedError)):
            return error
        protocol = describe_foreign_protocol(connection.first_bytes)
        if protocol:
            return ConnectionAbortedError(protocol)
        if isinstance(error, ProtocolError):
            return ConnectionAbortedError(f"it does not speak ZooKeeper's protocol: {error}")
        if not isinstance(error, ConnectionLossError):
            return ConnectionAbortedError(plain_reason(error))
        has_cause = isinstance(connection.failure, TlsError) or error.reason.startswith(NO_ANSWER)
        hint = "" if connection.first_bytes or has_cause else self._usual_causes(greeting)
        return ConnectionAbortedError(f"{error.reason or error}{hint}")

    def _usual_causes(self, greeting: Greeting) -> str:
        """List the usual causes for closing a connection without an answer, the most usual one first."""
        causes = [
            "it has no quorum or is starting",
            "this address has too many connections to it (maxClientCnxns)",
        ]
        if greeting.last_zxid > 0:
            causes.insert(0, "its data is older than that")
        elif not isinstance(self._network, TlsNetwork):
            causes.append("this is a port for TLS (`tls=`)")
        return f"; usual causes: {', '.join(causes[:-1])}, or {causes[-1]}"

    def _exchange(self, address: Address) -> SaslExchange | None:
        """Return a SASL exchange with the server at `address`, which mechanisms know by its host name."""
        if self.sasl is None:
            return None
        return self.sasl.exchange(self._names.get(address, address.host), os.urandom(_NONCE_SIZE))


async def _begin(exchange: SaslExchange, search: _Search) -> bytes:
    try:
        return await sasl_steps.begin(exchange)
    except AuthFailedError as error:
        if not search.waits_for_tickets:
            raise
        raise ConnectionAbortedError(error.reason) from error


@contextmanager
def _step_limit(seconds: float, request: str) -> Iterator[None]:
    """Limit the time of one step.

    Raises:
        TimeoutError: the step took longer; the message names the unanswered request.
    """
    with anyio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError(f"{NO_ANSWER} {request}within {seconds:.3g} seconds")

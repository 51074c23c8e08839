"""Finding a server that attaches a session: host after host, pass after pass.

A server that refuses, stays silent or speaks nonsense counts as down, with the reason kept for whoever asks
why there is no session.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple, final

import anyio

from zkrecipes.codec.messages import CloseSessionRequest
from zkrecipes.errors import AuthFailedError, ConnectionLossError, ProtocolError, SessionExpiredError
from zkrecipes.net import four_letter, sasl_steps
from zkrecipes.net.capabilities import CapabilityGuesses
from zkrecipes.net.connection import Connection
from zkrecipes.net.full_server import find_full_server
from zkrecipes.net.hosts import Host, HostList
from zkrecipes.net.remembering import remember
from zkrecipes.net.tls_network import TlsNetwork
from zkrecipes.net.transport import Address, Network
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Broken, Connected, Greeting, Replied, Ticket
from zkrecipes.protocol.sasl import SaslExchange, SaslMechanism
from zkrecipes.protocol.watch_table import WatchTable

__all__ = ["Attacher"]

logger: logging.Logger = logging.getLogger("zkrecipes.connection")

_CLOSE_TRIES: Final = 3
_NONCE_SIZE: Final = 24
# How an alert of TLS begins: the record's type, and the first byte of its version.
_TLS_ALERT: Final = b"\x15\x03"


@final
class _Search(NamedTuple):
    """What a server is looked for with.

    `host_timeout` is what one host may take, in seconds. `waits_for_tickets` says what to do when the client
    has nothing to authenticate with: wait, as for a server, or say so at once.
    """

    greeting: Greeting
    watches: WatchTable[Any]
    host_timeout: float
    waits_for_tickets: bool


@final
class Attacher:
    """Opens connections for the sessions of one client.

    Args:
        network: where the hosts are.
        hosts: which of them is next; whoever is served by one says so (`HostList.succeeded`).
        watches: the client's watches, to be re-armed on each connection.
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
        """How each connection authenticates, before anything else."""
        self._reasons: dict[Host, str] = {}
        self._trying: Host | None = None
        self._asked = ""
        self._network = network
        self._watches = watches
        self._parking = parking
        self._packet_size_max = packet_size_max
        self._names: dict[Address, str] = {}
        self.guesses: CapabilityGuesses = CapabilityGuesses()

    def reasons(self) -> dict[str, str]:
        """Why each host has not attached the session the last time that it was tried, by `host:port`."""
        unknown = dict.fromkeys(self.hosts.hosts, "not tried yet")
        if self._trying in unknown:
            unknown[self._trying] = "no answer yet"
        return {str(host): self._reasons.get(host, reason) for host, reason in unknown.items()}

    async def attach(
        self, greeting: Greeting, attempt_timeout: float
    ) -> tuple[Connection, Connected, Address]:
        """Try hosts until one attaches the session. There is no time limit but the caller's.

        Args:
            greeting: which session.
            attempt_timeout: what one host may take, in seconds.

        Raises:
            SessionExpiredError: a server knows the session no longer.
            AuthFailedError: a server refused the credentials, or there are none and no session either.
        """
        # A session that may be alive is worth waiting for: tickets are renewed by others, who may be late, or
        # are about to write what has just been read. Without one the caller had better know at once.
        may_be_alive = greeting.session_id != 0
        return await self._attach(_Search(greeting, self._watches, attempt_timeout, may_be_alive))

    async def close_session(self, greeting: Greeting, attempt_timeout: float) -> None:
        """Close a session that was given up, on whichever server can be reached first.

        Its ephemerals go at once then. Best effort: a session that is not closed ends by itself.

        Args:
            greeting: which session.
            attempt_timeout: what one host may take, in seconds.
        """
        for _ in range(_CLOSE_TRIES):
            try:
                # without the watches, which are for the next session
                connection, *_ = await self._attach(_Search(greeting, WatchTable(), attempt_timeout, False))
            except (SessionExpiredError, AuthFailedError):
                return
            try:
                with anyio.move_on_after(attempt_timeout):
                    connection.side.send(Ticket(CloseSessionRequest()))
                    if isinstance(await connection.next_reply(), Replied):
                        return
            finally:
                with anyio.CancelScope(shield=True):
                    await connection.aclose()

    async def ask(self, address: Address, word: bytes) -> bytes:
        """The server's answer to a four-letter word, as far as a reply may be long.

        Raises:
            OSError: it could not be asked.
        """
        return await four_letter.ask(self._network, address, word, size_max=self._packet_size_max)

    async def addresses_of(self, host: Host) -> list[Address]:
        """Every address that the host has now; none where its name cannot be resolved."""
        try:
            return await self._network.resolve(host.name, host.port)
        except OSError:
            return []

    async def find_full_server(self, is_wanted: Callable[[], bool]) -> tuple[Host, Address] | None:
        """A host whose server has a quorum, and at which address; None when it is no longer wanted."""
        return await find_full_server(self._network, lambda: self.hosts.hosts, is_wanted)

    async def _attach(self, search: _Search) -> tuple[Connection, Connected, Address]:
        while True:
            if self.hosts.is_pass_over:
                await self._end_pass(search.host_timeout)
            host = self.hosts.next_host()
            try:
                attached = await self._try_host(host, search)
            except (SessionExpiredError, AuthFailedError):
                self._found()
                raise
            if attached is not None:
                self._found()
                return attached
            if self.hosts.is_pass_over:
                reasons = "; ".join(f"{name}: {reason}" for name, reason in self.reasons().items())
                logger.warning("no server attached the session in this pass: %s", reasons)

    def _found(self) -> None:
        """A server that works, whatever it said."""
        if self._reasons:
            self._reasons.clear()
            self.hosts.succeeded()

    async def _end_pass(self, host_timeout: float) -> None:
        pause = self.hosts.end_pass()
        if self._reasons:
            self.guesses.forget_all()
        # Where none failed, one attached the session and closed the connection soon after: it is tried again
        # at once, but only once, for something that we send may be the cause.
        if self._reasons or self.hosts.passes > 1:
            # A session that runs out must not wait longer than it can afford.
            await anyio.sleep(min(pause, host_timeout))

    async def _try_host(self, host: Host, search: _Search) -> tuple[Connection, Connected, Address] | None:
        ends_at = anyio.current_time() + search.host_timeout
        reason = ""
        self._trying, self._asked = host, ""
        with anyio.move_on_at(ends_at):
            try:
                addresses = self.hosts.in_order(await self._network.resolve(host.name, host.port))
            except OSError as error:
                addresses = []
                reason = f"the name does not resolve: {error}"
            for index, address in enumerate(addresses):
                reason = ""
                remember(self._names, address, host.name)
                # A name may stand for many servers: one that is silent leaves the others their share.
                share = (ends_at - anyio.current_time()) / (len(addresses) - index)
                with anyio.move_on_after(share):
                    self.hosts.last_address = address
                    try:
                        return (*await self._try_address(address, search), address)
                    except (SessionExpiredError, AuthFailedError):
                        self.hosts.prefer(host, address)  # it serves, so the next session may begin there
                        raise
                    except OSError as error:
                        reason = str(error) or type(error).__name__
        reason = reason or f"no answer {self._asked}within {search.host_timeout:.3g} seconds"
        self._reasons[host] = reason
        logger.info("%s did not attach the session: %s", host, reason, extra={"host": str(host)})
        return None

    async def _try_address(self, address: Address, search: _Search) -> tuple[Connection, Connected]:
        exchange = self._exchange(address)
        self._asked = "from the KDC " if exchange is not None and exchange.blocks else ""
        token = None if exchange is None else await _begin(exchange, search)
        self._asked = ""
        side = ClientSide(
            search.greeting,
            search.watches,
            now=anyio.current_time(),
            packet_size_max=self._packet_size_max,
            guess=self.guesses.of(address),
            sasl_token=token,
            sasl_suspects="" if exchange is None else exchange.suspects,
        )
        connection = Connection(await self._network.connect(*address), side, self._parking)
        try:
            outcome = await connection.greet(exchange)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.aclose()
            raise
        if isinstance(outcome, Connected):
            self.guesses.attached(address, side)
            return connection, outcome
        await connection.aclose()
        if self.guesses.ended(address, side):
            return await self._try_address(address, search)  # at once: it only told what it does not have
        self.guesses.forget(address)
        if connection.first_bytes.startswith(_TLS_ALERT):
            raise ConnectionAbortedError("it answers with an alert of TLS: this is a port for TLS (`tls=`)")
        # A server that waits for TLS closes so; but one that has served the client before has other reasons.
        is_without_a_word = not connection.first_bytes and search.greeting.last_zxid == 0
        is_hint_wanted = is_without_a_word and not isinstance(self._network, TlsNetwork)
        raise _error_of(outcome, hint="; is this a port for TLS?" if is_hint_wanted else "")

    def _exchange(self, address: Address) -> SaslExchange | None:
        """A SASL exchange with the server at `address`, which is known to mechanisms by its name."""
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


def _error_of(broken: Broken, hint: str) -> Exception:
    """What ends the session as it is; anything else only counts against the host.

    Args:
        broken: how the connection ended.
        hint: added to the reason if the connection was lost.
    """
    error = broken.error
    if isinstance(error, (SessionExpiredError, AuthFailedError)):
        return error
    if isinstance(error, ProtocolError):
        return ConnectionAbortedError(f"it does not speak ZooKeeper's protocol: {error}")
    if isinstance(error, ConnectionLossError):
        return ConnectionAbortedError(f"{error.reason or error}{hint}")
    return ConnectionAbortedError(str(getattr(error, "reason", "") or error))

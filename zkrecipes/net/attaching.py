"""Finding a server that attaches a session: host after host, pass after pass.

A server that refuses, stays silent or speaks nonsense counts as down, with the reason kept for whoever asks
why there is no session.
"""

from __future__ import annotations

import logging
from typing import Any, final

import anyio

from zkrecipes.codec.messages import CloseSessionRequest
from zkrecipes.enums import ServerGeneration
from zkrecipes.errors import AuthFailedError, SessionExpiredError
from zkrecipes.net.capabilities import find_generation
from zkrecipes.net.connection import Connection
from zkrecipes.net.hosts import Host, HostList
from zkrecipes.net.transport import Address, Network
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Broken, Connected, Greeting, Ticket
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["Attacher"]

logger = logging.getLogger(__name__)


@final
class Attacher:
    """Opens connections for the sessions of one client.

    Args:
        network: where the hosts are.
        hosts: which of them is next.
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
        self.reasons: dict[str, str] = {}
        """Why each host did not attach the session the last time that it was tried, by `host:port`."""
        self._network = network
        self._watches = watches
        self._parking = parking
        self._packet_size_max = packet_size_max
        self._generations: dict[Address, ServerGeneration] = {}

    async def attach(
        self, greeting: Greeting, attempt_timeout: float
    ) -> tuple[Connection, Connected, Address]:
        """Try hosts until one attaches the session. There is no time limit but the caller's.

        Args:
            greeting: which session.
            attempt_timeout: what one host may take, in seconds.

        Raises:
            SessionExpiredError: a server knows the session no longer.
            AuthFailedError: a server refused the credentials.
        """
        while True:
            host = self.hosts.next_host()
            attached = await self._try_host(host, greeting, attempt_timeout)
            if attached is not None:
                self.hosts.succeeded()
                self.reasons.clear()
                return attached
            if self.hosts.is_pass_over:
                reasons = "; ".join(f"{name}: {reason}" for name, reason in self.reasons.items())
                logger.warning("no server attached the session in this pass: %s", reasons)
                # A session that runs out must not wait longer than it can afford.
                await anyio.sleep(min(self.hosts.pause(), attempt_timeout))

    async def close_session(self, greeting: Greeting, attempt_timeout: float) -> None:
        """Close a session that was given up, on whichever server is next, so that its ephemerals go at once.

        Best effort: the session ends by itself when no server can be reached.
        """
        with anyio.move_on_after(attempt_timeout):
            try:
                attached = await self._try_host(self.hosts.next_host(), greeting, attempt_timeout)
            except (SessionExpiredError, AuthFailedError):
                return
            if attached is None:
                return
            connection, *_ = attached
            try:
                connection.side.send(Ticket(CloseSessionRequest()))
                await connection.next_reply()
            finally:
                await connection.aclose()

    async def generation(self, address: Address) -> ServerGeneration:
        """What the server at `address` can do; asked once.

        Raises:
            OSError: it could not be asked.
        """
        known = self._generations.get(address)
        if known is None:
            known = await find_generation(self._network, address, self._parking)
            self._generations[address] = known
        return known

    async def _try_host(
        self, host: Host, greeting: Greeting, attempt_timeout: float
    ) -> tuple[Connection, Connected, Address] | None:
        reason = f"no answer within {attempt_timeout:.3g} seconds"
        with anyio.move_on_after(attempt_timeout):
            try:
                for address in await self._network.resolve(host.name, host.port):
                    try:
                        return (*await self._try_address(address, greeting), address)
                    except OSError as error:
                        reason = str(error) or type(error).__name__
            except OSError as error:
                reason = f"the name does not resolve: {error}"
        self.reasons[str(host)] = reason
        logger.info("%s did not attach the session: %s", host, reason)
        return None

    async def _try_address(self, address: Address, greeting: Greeting) -> tuple[Connection, Connected]:
        generation = self._generations.get(address)
        if generation is None and self._has_persistent_watches():
            generation = await self.generation(address)
        side = ClientSide(
            greeting,
            self._watches,
            now=anyio.current_time(),
            packet_size_max=self._packet_size_max,
            generation=generation,
        )
        connection = Connection(await self._network.connect(*address), side, self._parking)
        try:
            outcome = await connection.greet()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.aclose()
            raise
        if isinstance(outcome, Connected):
            return connection, outcome
        await connection.aclose()
        raise _error_of(outcome)

    def _has_persistent_watches(self) -> bool:
        return bool(self._watches.paths(WatchKind.PERSISTENT) or self._watches.paths(WatchKind.RECURSIVE))


def _error_of(broken: Broken) -> Exception:
    """What ends the session as it is; anything else only counts against the host."""
    error = broken.error
    if isinstance(error, (SessionExpiredError, AuthFailedError)):
        return error
    return ConnectionAbortedError(str(getattr(error, "reason", "") or error))

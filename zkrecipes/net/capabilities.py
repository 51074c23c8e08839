"""What a server can do, found out once per address by a probe that is alone on its connection.

A 3.4 server closes the connection on an opcode that it does not know, so newer opcodes are never tried on a
connection that others use. First the word `srvr` is asked, which every release answers unless it is
forbidden; a server that does not answer it is given a session of its own and asked newer and newer requests.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final

import anyio

from zkrecipes.codec.messages import (
    CheckWatchesRequest,
    CloseSessionRequest as CloseSession,
    GetAllChildrenNumberRequest,
    Request,
    WhoAmIRequest,
)
from zkrecipes.enums import ServerGeneration, WatcherType
from zkrecipes.errors import AuthFailedError, UnimplementedError
from zkrecipes.net import four_letter, sasl_steps
from zkrecipes.net.connection import Connection
from zkrecipes.net.transport import Address, Network
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Connected, Greeting, Replied, Ticket
from zkrecipes.protocol.sasl import SaslExchange
from zkrecipes.protocol.watch_table import WatchTable

__all__ = ["find_generation"]

logger = logging.getLogger("zkrecipes.connection")

_VERSION: Final = re.compile(rb"Zookeeper version: *(\d+)\.(\d+)\D")
_PROBE_TIMEOUT: Final = 4.0
# A connection that breaks may do so on an unknown opcode, or by chance; what is found out counts for long.
_TRIES: Final = 2
# From the newest on; the request must be harmless and known to exactly the generations from there.
_PROBES: Final[tuple[tuple[ServerGeneration, Request[Any]], ...]] = (
    (ServerGeneration.V3_7, WhoAmIRequest()),
    (ServerGeneration.V3_6, GetAllChildrenNumberRequest("/zookeeper")),
    (ServerGeneration.V3_5, CheckWatchesRequest("/zookeeper", WatcherType.ANY)),
)


NewExchange = Callable[[], SaslExchange | None]
"""Gives the SASL exchange for one connection; None where clients do not authenticate so."""


async def find_generation(
    network: Network, address: Address, parking: Parking, exchange: NewExchange = lambda: None
) -> ServerGeneration:
    """Ask the server at `address` what it can do.

    Raises:
        OSError: it could not be asked.
    """
    generation = await _ask_version(network, address)
    if generation is None:
        generation = await _try_requests(network, address, parking, exchange)
    logger.debug("the server at %s:%d is of generation %s", *address, generation.name)
    return generation


async def _ask_version(network: Network, address: Address) -> ServerGeneration | None:
    try:
        answer = await four_letter.ask(network, address, b"srvr", is_enough=_VERSION.search)
    except OSError:
        return None  # if it cannot be reached, the requests tell
    found = _VERSION.search(answer)
    return None if found is None else generation_of(int(found[1]), int(found[2]))


def generation_of(major: int, minor: int) -> ServerGeneration:
    """The generation of a release."""
    known = [each for each in ServerGeneration if each <= major * 100 + minor]
    return max(known, default=ServerGeneration.V3_4)


async def _try_requests(
    network: Network, address: Address, parking: Parking, exchange: NewExchange
) -> ServerGeneration:
    for generation, request in _PROBES:
        for _ in range(_TRIES):
            is_known = await _is_known(network, address, parking, request, exchange())
            if is_known:
                return generation
            if is_known is not None:
                break
    return ServerGeneration.V3_4


async def _is_known(
    network: Network,
    address: Address,
    parking: Parking,
    request: Request[Any],
    exchange: SaslExchange | None,
) -> bool | None:
    """Whether the server knows the request; None where the connection broke on it."""
    watches: WatchTable[Any] = WatchTable()
    side = ClientSide(
        Greeting(_PROBE_TIMEOUT),
        watches,
        now=anyio.current_time(),
        packet_size_max=four_letter.SIZE_MAX,
        # a server may answer nothing before that
        sasl_token=None if exchange is None else await _begin(exchange),
    )
    connection = Connection(await network.connect(*address), side, parking)
    try:
        if not isinstance(await connection.greet(exchange), Connected):
            raise ConnectionRefusedError(f"{address.host}:{address.port} gave no session to a probe")
        probe = Ticket(request)
        side.send(probe)
        side.send(Ticket(CloseSession()))
        replied = await connection.next_reply()
        if not isinstance(replied, Replied):
            return None
        return getattr(replied.error, "code", 0) != UnimplementedError.code
    finally:
        await connection.aclose()


async def _begin(exchange: SaslExchange) -> bytes:
    try:
        return await sasl_steps.begin(exchange)
    except AuthFailedError as error:
        # A probe ends no client: the next connection does, if it is still so.
        raise ConnectionRefusedError(error.reason) from error

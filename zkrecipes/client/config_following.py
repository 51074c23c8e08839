"""Follows the ensemble's own list of members, and spreads over them with all the other clients that do."""

from __future__ import annotations

import logging
import random
from typing import Final, final

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.pauses import Pauses
from zkrecipes.errors import (
    NoAuthError,
    NoNodeError,
    SessionClosedError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.net.connect_string import Host
from zkrecipes.net.dynamic_config import parse_dynamic_config
from zkrecipes.net.session_engine import SessionEngine

__all__ = ["ConfigFollower"]

logger: logging.Logger = logging.getLogger("zkrecipes.connection")

_CONFIG_PATH: Final = "/zookeeper/config"
_MOVES_WITHIN: Final = 2.0
"""Seconds: those that move do it within this time, not all at once."""


@final
class ConfigFollower:
    """Keeps a client's hosts those of `/zookeeper/config`, for as long as `run` runs.

    Args:
        client: without a chroot.
        engine: its engine.
        rng: draws the moment of a move.
    """

    def __init__(self, client: Client, engine: SessionEngine, rng: random.Random) -> None:
        self._client = client
        self._engine = engine
        self._rng = rng
        self._has_members = False

    async def run(self) -> None:
        """Follow until the client is over, or until it is clear that there is nothing to follow."""
        pauses = Pauses()
        while self._engine.final_error is None:
            try:
                async with self._client.get_and_watch(_CONFIG_PATH) as (node, changed):
                    await self._take(parse_dynamic_config(node.data))
                    pauses.reset()
                    await changed.wait()
            except (NoNodeError, NoAuthError) as error:  # servers before 3.5 have none
                logger.warning("the ensemble's members cannot be followed: %s", error)
                return
            except SessionExpiredError:
                continue
            except SessionClosedError:
                return
            except ZooKeeperError as error:
                if error.is_transient:
                    await pauses.wait()
                    continue
                logger.info("the ensemble's members are no longer followed: %s", error)
                return

    async def _take(self, hosts: tuple[Host, ...]) -> None:
        known = self._engine.connector.hosts
        if not hosts:
            return  # a server that stands alone lists nobody; some name no port for clients
        is_first, self._has_members = not self._has_members, True
        if set(hosts) == set(known.hosts):
            return
        names = ", ".join(map(str, hosts))
        if is_first:
            # What was there until now was somebody's connect string: perhaps one name for all, so no moves.
            # It has worked, and the members' addresses may lead nowhere from here: it stays in reserve.
            known.replace(hosts, spare=known.hosts)
            logger.info("the ensemble's members are %s", names)
            return
        target = known.rebalance(hosts, await self._where_it_is(known.hosts))
        logger.info("the ensemble's members are %s now%s", names, f": moving to {target}" if target else "")
        if target is not None:
            await anyio.sleep(self._rng.uniform(0, _MOVES_WITHIN))
            self._engine.move_to(target, "the ensemble's members have changed")

    async def _where_it_is(self, hosts: tuple[Host, ...]) -> Host | None:
        """Whose server the client is attached to; by address, as a connect string may use other names."""
        for host in hosts:
            if self._engine.address in await self._engine.connector.addresses_of(host):
                return host
        return None

"""Follows the ensemble's list of members, and keeps the clients that do so evenly spread over them."""

from __future__ import annotations

import logging
import random
from typing import Final, final

import anyio

from zkrecipes.client.backoff import Backoff
from zkrecipes.client.client import Client
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
_MOVE_DELAY_MAX: Final = 2.0
"""Seconds within which clients move, so that they do not all move at once."""


@final
class ConfigFollower:
    """A follower of `/zookeeper/config`: while `run` runs, the client's hosts are those of the configuration.

    Args:
        client: a client without a chroot.
        engine: its engine.
        rng: chooses the delay of a move.
    """

    def __init__(self, client: Client, engine: SessionEngine, rng: random.Random) -> None:
        self._client = client
        self._engine = engine
        self._rng = rng
        self._has_members = False

    async def run(self) -> None:
        """Follow the configuration until the client has ended, or it turns out that there is none."""
        pauses = Backoff()
        while self._engine.final_error is None:
            try:
                async with self._client.get_and_watch(_CONFIG_PATH) as (node, changed):
                    await self._take(parse_dynamic_config(node.data))
                    pauses.reset()
                    await changed.wait()
            except (NoNodeError, NoAuthError) as error:  # servers before 3.5 have none
                logger.warning(
                    "could not follow the ensemble's members: %s (keeping the hosts of the connect string)",
                    error,
                )
                return
            except SessionExpiredError:
                continue
            except SessionClosedError:
                return
            except ZooKeeperError as error:
                if error.is_transient:
                    await pauses.wait()
                    continue
                logger.info(
                    "stopped following the ensemble's members: %s (keeping the last known hosts)", error
                )
                return

    async def _take(self, hosts: tuple[Host, ...]) -> None:
        known = self._engine.connector.hosts
        if not hosts:
            return  # a standalone server lists no members; some members name no port for clients
        is_first, self._has_members = not self._has_members, True
        if set(hosts) == set(known.hosts):
            return
        names = ", ".join(map(str, hosts))
        if is_first:
            # The client does not move: until now its hosts were those of a connect string, perhaps one name
            # for all servers. That string has worked, and the members' addresses may be unreachable, so it
            # stays in reserve.
            known.replace(hosts, spare=known.hosts)
            logger.info("the ensemble's members are %s", names)
            return
        target = known.rebalance(hosts, await self._current_host(known.hosts))
        logger.info(
            "the ensemble's members changed to %s%s", names, f": moving to {target}" if target else ""
        )
        if target is not None:
            await anyio.sleep(self._rng.uniform(0, _MOVE_DELAY_MAX))
            self._engine.move_to(target, "the ensemble's members have changed")

    async def _current_host(self, hosts: tuple[Host, ...]) -> Host | None:
        """Return the host of the attached server, found by address: a connect string may use other names."""
        for host in hosts:
            if self._engine.address in await self._engine.connector.addresses_of(host):
                return host
        return None

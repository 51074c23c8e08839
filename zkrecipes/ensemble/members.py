"""Several Apache ZooKeeper servers that form one ensemble on loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, final

import anyio

from zkrecipes.ensemble.errors import ServerStartError
from zkrecipes.ensemble.four_letter import ServerStatus
from zkrecipes.ensemble.installation import Installation, find_installation
from zkrecipes.ensemble.ports import free_ports
from zkrecipes.ensemble.server import ApacheServer
from zkrecipes.ensemble.zoo_cfg_writer import Peer, Setting

__all__ = ["ApacheEnsemble"]

_HOST = "127.0.0.1"
_POLL_INTERVAL = 0.05
_SETTLE_LIMIT = 30.0


@final
class ApacheEnsemble:
    """An ensemble of real Apache ZooKeeper servers on 127.0.0.1 that run while the block runs.

    ```python
    async with ApacheEnsemble(size=3) as ensemble:
        async with zk.connect(ensemble.connect_string) as client: ...
        leader = await ensemble.leader()
        leader.kill()
        await ensemble.leader()  # another one
        await ensemble.heal()
    ```

    Entering waits until every member serves. As with `ApacheServer`, no part of it belongs to an event loop.

    Args:
        size: the number of members; usually odd.
        settings: zoo.cfg's keys and values for all members, such as `{"tickTime": 500, "syncLimit": 5}`.
        properties: Java system properties for all members.
        java_options: further options of `java` for all members.
        installation: the installation to run; None for the result of `find_installation`.

    Raises:
        ServerNotFoundError: in the constructor: ZooKeeper or Java is not installed.
        ServerStartError: on entering: a member ended, or does not serve after 30 s.
        ValueError: the size is below one, or a setting is one that this class sets itself.

    **Cancellation**: a cancelled start ends all members; leaving always ends them.
    """

    def __init__(
        self,
        *,
        size: int = 3,
        settings: Mapping[str, Setting] | None = None,
        properties: Mapping[str, Setting] | None = None,
        java_options: Sequence[str] = (),
        installation: Installation | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        if installation is None:
            installation = find_installation()
        ports = iter(free_ports(2 * size))
        peers = {number: Peer(_HOST, next(ports), next(ports)) for number in range(1, size + 1)}
        self._members = tuple(
            ApacheServer(
                settings=settings,
                properties=properties,
                java_options=java_options,
                installation=installation,
                server_id=number,
                peers=peers,
            )
            for number in peers
        )

    def __repr__(self) -> str:
        return f"<ApacheEnsemble {self.connect_string}>"

    @property
    def members(self) -> tuple[ApacheServer, ...]:
        """The servers, in the order of their ids."""
        return self._members

    @property
    def connect_string(self) -> str:
        """The connect string with every member."""
        return ",".join(member.connect_string for member in self._members)

    def member(self, address: str) -> ApacheServer:
        """Return the member at an address such as `127.0.0.1:2181`.

        Raises:
            KeyError: no member has that address.
        """
        for member in self._members:
            if member.connect_string == address:
                return member
        raise KeyError(f"no member has the address {address}")

    async def __aenter__(self) -> Self:
        self.open()
        try:
            await self.start()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Create the members' folders without starting servers; for callers that cannot use `async with`."""
        try:
            for member in self._members:
                member.open()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Kill all members and remove their folders."""
        for member in self._members:
            member.close()

    async def start(self) -> None:
        """Start all members that do not run, and wait until all serve under one leader.

        Raises:
            ServerStartError: a member ended, or does not serve after 30 s.
        """
        for member in self._members:
            if not member.is_running:
                member.launch()
        for member in self._members:
            await member.wait_until_serving()
        with anyio.move_on_after(_SETTLE_LIMIT):
            while not await self._is_complete():  # noqa: ASYNC110 - the servers do not notify us
                await anyio.sleep(_POLL_INTERVAL)
            return
        raise ServerStartError(
            f"the members {self.connect_string} do not follow one leader after {_SETTLE_LIMIT:g} s",
            self._members[0].log_tail(),
        )

    async def heal(self) -> None:
        """Resume paused members, start ended ones, and wait until all serve.

        Raises:
            ServerStartError: a member does not serve again.
        """
        for member in self._members:
            member.resume()
        await self.start()

    async def leader(self) -> ApacheServer:
        """Return the member that leads; wait until there is one.

        There is no time limit: without a quorum there never is a leader, so use `anyio.fail_after`. If two
        members claim to lead (one was paused or cut off and has not noticed yet), this is the one elected
        later.
        """
        while True:
            leaders = [(member, status) for member, status in await self._statuses() if _leads(status)]
            if leaders:
                return max(leaders, key=lambda pair: _epoch(pair[1]))[0]
            await anyio.sleep(_POLL_INTERVAL)

    async def followers(self) -> list[ApacheServer]:
        """Return the members that follow the leader now, without those that do not answer or do not serve."""
        return [member for member, status in await self._statuses() if status.mode == "follower"]

    async def _is_complete(self) -> bool:
        """Whether there is one leader that all other members follow.

        The members' own statuses are not enough: a member that was paused during an election continues to
        report its old role until it notices.
        """
        leaders = [member for member, status in await self._statuses() if _leads(status)]
        if len(leaders) != 1:
            return False
        if len(self._members) == 1:
            return True
        synced = (await leaders[0].metrics()).get("zk_synced_followers", "")
        return synced.partition(".")[0] == str(len(self._members) - 1)

    async def _statuses(self) -> list[tuple[ApacheServer, ServerStatus]]:
        # One after another, because they are few and only a paused member is slow to answer.
        asked = [(member, await member.status()) for member in self._members if member.is_running]
        return [(member, status) for member, status in asked if status is not None]


def _leads(status: ServerStatus) -> bool:
    return status.mode in {"leader", "standalone"}  # an ensemble of one reports `standalone`


def _epoch(status: ServerStatus) -> int:
    """Return the epoch, the upper half of the zxid. It grows with each election (`ZxidUtils`, 3.8)."""
    return status.zxid >> 32

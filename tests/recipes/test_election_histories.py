"""Election in generated histories: never two leaders, only true reports, and every candidate leads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest
from hypothesis import given, settings, strategies as st

import zkrecipes as zk
from tests.recipes.fault_sweep import ReceivedRequest, World, jumping_backend
from tests.recipes.histories import Step, Worker, histories, play
from zkrecipes.recipes.following.latest_value import LatestReader
from zkrecipes.recipes.locking.lock_layouts import ELECTIONS, ElectionLayoutName
from zkrecipes.recipes.locking.queue_order import in_order

DIRECTORY = "/services/leader"
STAYS = {"/services", DIRECTORY}
NAMES = st.sampled_from(["a", "b", "c"])

Leader = tuple[str, bytes] | None
"""A leader's znode and its data; None for no leader."""


class _Service:
    """Each worker is a candidate that also observes, from before it queues up until after it has led."""

    layout: ElectionLayoutName = "kazoo"

    def __init__(self, there: World) -> None:
        self._there = there
        self._leaders: list[Leader] = [None]
        """The leaders on the server, in this order."""
        there.before_request = self._look

    def enter(self, client: zk.Client, worker: Worker) -> AbstractAsyncContextManager[zk.Hold]:
        return self._stand(client, worker.wish)

    def check(self, inside: Sequence[Worker]) -> None:
        assert len(inside) == 1, "two leaders at once"

    async def change(self, client: zk.Client, number: int, inside: Sequence[Worker]) -> None:
        """Read the leader: it must have led at some time between the request and the answer."""
        del inside
        self._look()
        asked_at = len(self._leaders) - 1
        leader = await self._election(client, "observer").leader(sync=number < 5)
        self._look()
        assert _leader(leader) in self._leaders[asked_at:]

    @asynccontextmanager
    async def _stand(self, client: zk.Client, name: str) -> AsyncIterator[zk.Hold]:
        election = self._election(client, name)
        own = ""
        async with election.changes() as leaders:
            observer = _Observer(self._leaders, leaders)
            lost: zk.LeadershipLostError | None = None
            try:
                async with election.lead() as leadership:
                    own = leadership.path
                    while observer.path != own:
                        await observer.hear()
                    yield leadership
            except zk.LeadershipLostError as loss:
                lost = loss
            while observer.path == own:
                await observer.hear()
            if lost is not None:
                raise zk.LockLostError(own, reason="as an election's") from lost  # known to `play`

    def _election(self, client: zk.Client, name: str) -> zk.Election:
        return zk.Election(client, DIRECTORY, data=name.encode(), layout=self.layout)

    def _look(self, _: ReceivedRequest | None = None) -> None:
        """Record the leader. It is called before each request, and so between any two changes."""
        tree = self._there.server.processor.tree
        directory = tree.find(DIRECTORY)
        names = () if directory is None else directory.children or ()
        leader: Leader = None
        for candidate in in_order(names, ELECTIONS[self.layout])[:1]:
            path = f"{DIRECTORY}/{candidate.name}"
            leader = (path, tree.get(path).data or b"")
        if leader != self._leaders[-1]:
            self._leaders.append(leader)


class _CuratorsService(_Service):
    layout = "curator-latch"


class _Observer:
    """Follow `Election.changes`; fail when a report was never true, or is older than the report before it."""

    def __init__(self, leaders: list[Leader], reader: LatestReader[zk.Contender | None]) -> None:
        self.path = ""
        self._leaders = leaders
        self._reader = reader
        self._reported = 0

    async def hear(self) -> None:
        """Take the next report."""
        leader = _leader(await anext(self._reader))
        self.path = "" if leader is None else leader[0]
        assert leader in self._leaders[self._reported :], f"{leader} did not lead after {self._reported}"
        self._reported = self._leaders.index(leader, self._reported)


def _leader(contender: zk.Contender | None) -> Leader:
    return None if contender is None else (contender.path, contender.data)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("recipe", [_Service, _CuratorsService])
@settings(max_examples=25)
@given(steps=histories(NAMES))
def test_never_two_leaders_and_observers_get_true_reports(
    backend: str, recipe: type[_Service], steps: list[Step]
) -> None:
    name, options = jumping_backend(backend)
    anyio.run(play, steps, recipe, STAYS, backend=name, backend_options=options)

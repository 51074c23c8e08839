"""A real client that holds a real mutex on a simulated ensemble, a rival that wants it, and faults.

The fault schedules are those of the model of the proof of holds (`tests/simulation`). They are written for a
model of named machines; here a simulated ensemble takes the model's place, and the holder is the client.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import trio
from trio.testing import MockClock

import zkrecipes as zk
from tests.simulation.ensemble_model import Operation
from tests.simulation.fault_schedules import SCHEDULES, TELLING_WHEN_TO_LOCK
from tests.simulation.hold_model import Settings
from tests.simulation.holder_model import NAME as HOLDER
from zkrecipes.net.holds import Holds
from zkrecipes.protocol.events import Connected, Ticket
from zkrecipes.protocol.hold_proof import CHECK_EVERY, CHECK_UNANSWERED_AFTER
from zkrecipes.testing import SimulatedEnsemble

if TYPE_CHECKING:
    from tests.simulation.hold_model import World

__all__ = ["FaultTarget", "Outcome", "run_schedule"]


class Outcome:
    """The outcome of a run; times are on the loop's clock."""

    def __init__(self) -> None:
        self.began_at = math.nan
        self.claimed_until = -math.inf
        """The latest `valid_until` that the hold ever had."""
        self.left_at = math.nan
        """The end of the holder's body."""
        self.session_ended_at: float | None = None
        self.rival_began_at: float | None = None

    @property
    def is_conclusive(self) -> bool:
        """Whether the holder held the lock, and the rival got it because the holder's session ended."""
        return not math.isnan(self.began_at) and None not in (self.session_ended_at, self.rival_began_at)

    @property
    def had_two_holders(self) -> bool:
        """Whether the rival's body started before the holder's ended."""
        return self.is_conclusive and self.rival_began_at is not None and self.rival_began_at < self.left_at

    @property
    def slack(self) -> float:
        """The time between the end of the hold's validity and that of the session."""
        assert self.session_ended_at is not None
        return self.session_ended_at - self.claimed_until


class FaultTarget:
    """The operations for fault schedules, under the names of the model."""

    def __init__(self, ensemble: SimulatedEnsemble, settings: Settings, rng: random.Random) -> None:
        self.simulated = ensemble
        self.settings = settings
        self.rng = rng
        self.timeout = settings.timeout
        self.outcome = Outcome()
        self.may_lock = trio.Event()
        self.has_begun = trio.Event()
        self.session_id = 0
        self.leader = str(ensemble.leader)
        self.followers = [str(number) for number in ensemble.followers]
        self.first = rng.choice([self.leader, *self.followers[:2]])
        names = [str(number) for number in ensemble.numbers]
        self.network = HolderLinks(self, names)
        self.holder = SimpleNamespace(
            check_every=CHECK_EVERY,
            leave_after=CHECK_UNANSWERED_AFTER,
            on_answer=lambda sent_at, operation: None,
            on_request=lambda operation: None,
            take_lock=self.may_lock.set,
            server=None,
        )
        self.ensemble = SimpleNamespace(
            servers=[SimpleNamespace(name=name) for name in names],
            server=lambda name: SimpleNamespace(
                crash=lambda *, silently=False: ensemble.crash(int(name)),
                restart=partial(self._restart, int(name)),
            ),
            touched_at=0.0,
        )
        self._nursery: trio.Nursery | None = None
        self._holds: set[int] = set()

    def start(self, schedule: Callable[[World], None], nursery: trio.Nursery) -> None:
        """Start the faults of the schedule."""
        self._nursery = nursery
        schedule(cast("World", self))

    def stop(self) -> None:
        """Stop the faults."""
        self._holds.clear()

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Make a call this much later."""
        assert self._nursery is not None
        self._nursery.start_soon(self._act_after, delay, action)

    async def _act_after(self, delay: float, action: Callable[[], None]) -> None:
        await trio.sleep(max(delay, 0.0))
        self.observe()
        action()

    def observe(self) -> None:
        """Update the values that schedules read."""
        touched_at = self.simulated.touched_at(self.session_id)
        if touched_at is not None:
            self.ensemble.touched_at = touched_at
        self.holder.server = self.network.holders_server()

    def _restart(self, number: int) -> None:
        self.simulated.restart(number)

    # --- what the client says of itself --------------------------------------------------------------------

    def tap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Observe the holder's answers, its writes, and the proofs that it derives from them."""
        attached, answered, evidence, take_due_checks = (
            Holds.attached,
            Holds.answered,
            Holds.evidence,
            Holds.take_due_checks,
        )

        def on_attached(holds: Holds, connected: Connected) -> None:
            if not self.session_id:  # the holder is the first
                self.session_id = connected.session_id
                self._holds.add(id(holds))
            attached(holds, connected)

        def on_answered(holds: Holds, sent_at: float, committed_sent_at: float, now: float) -> None:
            answered(holds, sent_at, committed_sent_at, now)
            if id(holds) in self._holds:
                self._claim(holds.proof.valid_until)
                is_write = committed_sent_at >= sent_at
                self.observe()
                self.holder.on_answer(sent_at, Operation.CHECK if is_write else Operation.PING)

        def on_evidence(holds: Holds) -> object:
            if id(holds) in self._holds:
                self.observe()
                self.holder.on_request(Operation.WRITE)
            return evidence(holds)

        def on_due_checks(holds: Holds, now: float) -> list[Ticket]:
            tickets = take_due_checks(holds, now)
            if tickets and id(holds) in self._holds:
                self.observe()
                self.holder.on_request(Operation.CHECK)
            return tickets

        monkeypatch.setattr(Holds, "attached", on_attached)
        monkeypatch.setattr(Holds, "answered", on_answered)
        monkeypatch.setattr(Holds, "evidence", on_evidence)
        monkeypatch.setattr(Holds, "take_due_checks", on_due_checks)

    def _claim(self, valid_until: float) -> None:
        outcome = self.outcome
        if not math.isnan(outcome.began_at) and math.isnan(outcome.left_at):
            outcome.claimed_until = max(outcome.claimed_until, valid_until)

    # --- the two -------------------------------------------------------------------------------------------

    async def hold(self, client: zk.Client) -> None:
        """Hold the lock until it is lost."""
        outcome = self.outcome
        await self.may_lock.wait()
        with suppress(zk.LockLostError, zk.SessionExpiredError):
            async with zk.Mutex(client, "/lock") as hold:
                outcome.began_at = trio.current_time()
                self.session_id = client.session.id  # it may have changed since the start
                self.has_begun.set()
                self._claim(hold.valid_until)
                try:
                    await trio.sleep_forever()
                finally:
                    outcome.left_at = trio.current_time()

    async def rival(self, client: zk.Client) -> None:
        """Contend for the lock, and hold it once."""
        await self.has_begun.wait()
        while self.outcome.rival_began_at is None:
            with suppress(zk.LockLostError, zk.SessionExpiredError, zk.ConnectionLossError):
                async with zk.Mutex(client, "/lock"):
                    self.outcome.rival_began_at = trio.current_time()


class HolderLinks:
    """The links between replicas and those of the holder, with separate directions."""

    def __init__(self, scene: FaultTarget, names: list[str]) -> None:
        self.machines = {
            HOLDER: SimpleNamespace(),
            **{name: SimpleNamespace(pause=partial(self._pause, int(name))) for name in names},
        }
        self._scene = scene
        self._ensemble = scene.simulated
        self._blocked: set[tuple[str, str]] = set()

    @property
    def now(self) -> float:
        return trio.current_time()

    def block(self, source: str, target: str) -> None:
        self._blocked.add((source, target))
        if HOLDER in (source, target):
            self._apply(target if source == HOLDER else source)
        else:
            self._ensemble.block(int(source), int(target))

    def unblock(self, source: str, target: str) -> None:
        self._blocked.discard((source, target))
        if HOLDER in (source, target):
            self._apply(target if source == HOLDER else source)
        else:
            self._ensemble.heal(int(source), int(target))
            for still in ((source, target), (target, source)):
                if still in self._blocked:
                    self._ensemble.block(int(still[0]), int(still[1]))

    def cut(self, one: str, other: str) -> None:
        self.block(one, other)
        self.block(other, one)

    def heal(self, one: str, other: str) -> None:
        self.unblock(one, other)
        self.unblock(other, one)

    def isolate(self, name: str, *, except_from: tuple[str, ...] = ()) -> None:
        for other in self.machines:
            if other != name and other not in except_from:
                self.cut(name, other)

    def holders_server(self) -> str | None:
        links = [link for link in self._ensemble.network.links if link.source == "holder" and link.is_open]
        return links[-1].server.host.removeprefix("zk") if links else None

    def _apply(self, server: str) -> None:
        """Hold back the holder's bytes in blocked directions, and prevent new connections."""
        network, host = self._ensemble.network, self._ensemble.host(int(server))
        up, down = (HOLDER, server) in self._blocked, (server, HOLDER) in self._blocked
        network.heal(source="holder", host=host)
        if up or down:
            network.black_hole(source="holder", host=host)
        for link in network.links:
            if link.source == "holder" and link.server.host == host:
                for direction, is_held in ((link.to_server, up), (link.to_client, down)):
                    (direction.hold if is_held else direction.release)()

    def _pause(self, number: int, lasts: float) -> None:
        self._ensemble.pause(number)
        self._scene.after(lasts, partial(self._ensemble.resume, number))


def settings_of(rng: random.Random) -> Settings:
    """Return a rather bad configuration."""
    tick = rng.choice((1.0, 2.0, 3.0))
    delay = rng.choice((0.002, 0.02, 0.02 * tick, 0.1 * tick))
    return Settings(
        voters=rng.choice((3, 3, 5)),
        tick=tick,
        timeout_ticks=rng.choice((2, 2, 3, 4, 5)),
        sync_limit=rng.choice((2, 5, 10)),
        is_tick_known=rng.random() < 0.3,
        delay_max=delay,
        timer_late_max=0.0,
    )


def run_schedule(schedule: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Run a holder, a rival and a fault schedule; the outcome is a function of the seed.

    The random choices are the client's order of hosts and its jitter, and trio's order of the tasks of a
    pass.
    """
    monkeypatch.setattr("zkrecipes.client.connect._RNG", random.Random(seed))
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", SimpleNamespace(shuffle=lambda batch: None))
    return trio.run(_run_on_ensemble, schedule, seed, monkeypatch, clock=MockClock(autojump_threshold=0))


async def _run_on_ensemble(schedule: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    rng = random.Random(f"{schedule} {seed}")
    settings = settings_of(rng)
    tick_time = settings.tick if settings.is_tick_known else None
    async with SimulatedEnsemble(
        settings.voters,
        tick_time=settings.tick,
        sync_limit=settings.sync_limit,
        latency=settings.delay_max / 2,
        seed=seed,
    ) as ensemble:
        scene = FaultTarget(ensemble, settings, rng)
        scene.tap(monkeypatch)
        network, first = ensemble.network, ensemble.host(int(scene.first))
        for number in ensemble.numbers:
            if ensemble.host(number) != first:
                network.refuse(source="holder", host=ensemble.host(number))
        connect = partial(
            zk.connect, ensemble.connect_string, session_timeout=settings.timeout, connect_timeout=None
        )
        async with (
            connect(network=network.view("holder"), tick_time=tick_time) as holder,
            connect(network=network.view("rival")) as rival,
            trio.open_nursery() as nursery,
        ):
            network.heal()
            nursery.start_soon(scene.hold, holder)
            is_told = schedule in TELLING_WHEN_TO_LOCK and rng.random() < 0.7
            if not is_told:
                scene.may_lock.set()
            await trio.sleep(2 * settings.tick + rng.uniform(0, settings.timeout))
            scene.start(SCHEDULES[schedule], nursery)
            with trio.move_on_after(6 * settings.timeout + 3 * settings.sync_limit * settings.tick):
                await scene.rival(rival)
            scene.outcome.session_ended_at = ensemble.ended_at(scene.session_id)
            if math.isnan(scene.outcome.left_at):
                scene.outcome.left_at = math.inf
            scene.stop()
            nursery.cancel_scope.cancel()
            network.heal()
            ensemble.heal()
    return scene.outcome

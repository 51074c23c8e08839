"""One run of the model: an ensemble, a holder, a fault schedule, and the time between both ends.

The invariant: the transaction that ends the session, and so releases the lock, is committed no earlier than
the end of the hold. `slack` is the time from the end of the hold to that transaction; if it is negative,
there were two holders. A run is a function of its seed.

    python -m tests.simulation.hold_model --runs 2000                       # all schedules
    python -m tests.simulation.hold_model --schedule flap --replay 17       # one run, with its events
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.simulation.ensemble_model import Ensemble, Server
from tests.simulation.fault_schedules import SCHEDULES, TELLING_WHEN_TO_LOCK
from tests.simulation.holder_model import Holder, Plan
from tests.simulation.network_model import Network
from tests.simulation.unsound_holders import (
    ConnectedHolder,
    NoHalfTickHolder,
    OneWriteHolder,
    OwnTouchHolder,
    SimpleHolder,
    UncommittedHolder,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HOLDERS: dict[str, type[Holder]] = {
    "ours": Holder,
    "simple": SimpleHolder,
    "own_touch": OwnTouchHolder,
    "one_write": OneWriteHolder,
    "uncommitted": UncommittedHolder,
    "no_half_tick": NoHalfTickHolder,
    "connected": ConnectedHolder,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The ensemble's configuration and its faults; times in seconds."""

    voters: int = 3
    observers: int = 0
    tick: float = 2.0
    timeout_ticks: float = 2.0
    sync_limit: int = 5
    init_limit: int = 10
    is_tick_known: bool = False
    """Whether the holder knows the tick, so that it need not assume that half of it is T/4."""
    rounds_up: bool = True
    """Whether sessions end in buckets; otherwise they end a timeout after the touch, the worst bucket."""
    delay_min: float = 0.0001
    delay_max: float = 0.005
    recovery_max: float = 0.005
    """The longest time after a heal until held messages move."""
    timer_late_max: float = 0.001
    fsync_max: float = 0.002
    drift_max: float = 0.0

    @property
    def timeout(self) -> float:
        return self.tick * self.timeout_ticks

    @property
    def half_tick_known(self) -> float | None:
        return self.tick / 2 if self.is_tick_known else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run."""

    seed: int
    schedule: str
    settings: Settings
    plan: Plan
    slack: float | None
    """The slack in session timeouts; None if the holder never held or the session never ended."""
    trace: list[str]

    @property
    def is_violation(self) -> bool:
        return self.slack is not None and self.slack < 0


class World:
    """An ensemble, a holder attached to it, and the operations for fault schedules."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        rng: random.Random,
        holder: type[Holder],
        *,
        traced: bool = False,
    ) -> None:
        self.settings, self.rng, self.timeout = settings, rng, settings.timeout
        self.network = Network(settings, rng)
        if traced:
            self.network.trace = []
        self.ensemble = Ensemble(settings, self.network)
        self.holder = holder(self.ensemble, plan, lambda: self.first)
        self.leader = ""
        self.first = ""
        self.followers: list[str] = []

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.network.after(delay, action)

    def run(self, schedule: Callable[[World], None]) -> float | None:
        """Run the scheduled faults, and measure the slack in session timeouts."""
        if not self._starts():
            return None
        schedule(self)
        stop = self.network.now + 4 * self.timeout + 3 * self.settings.sync_limit * self.settings.tick
        while self.network.now < stop and not (self.ensemble.closed_at is not None and self.holder.is_over):
            self.network.run_until(self.network.now + self.settings.tick / 2)
        if self.ensemble.closed_at is None or not self.holder.has_held:
            return None
        return (self.ensemble.closed_at - self.holder.ended_at) / self.timeout

    def _starts(self) -> bool:
        """Start: elect a leader, let all servers serve, and attach the holder for about two timeouts."""
        tick, run_until = self.settings.tick, self.network.run_until
        leader: Server | None = None
        while leader is None or not all(server.is_serving for server in self.ensemble.servers):
            run_until(self.network.now + 0.1)
            leader = self.ensemble.leader()
            if self.network.now > 60 * tick:
                return False
        self.leader = leader.name
        self.followers = [server.name for server in self.ensemble.voters if server is not leader]
        observers = [server.name for server in self.ensemble.observers]
        self.first = self.rng.choice([self.leader, *self.followers[:2], *observers * 3])
        self.after(self.rng.uniform(0, tick), self.holder.connect)
        run_until(self.network.now + 2 * tick + self.timeout + self.rng.uniform(0, self.timeout + tick))
        return self.holder.is_attached


def settings_of(rng: random.Random) -> Settings:
    """Return a rather bad configuration."""
    tick = rng.choice((1.0, 2.0, 3.0))
    delay_max = rng.choice((0.002, 0.02, 0.02 * tick, 0.1 * tick, 0.25 * tick))
    return Settings(
        voters=rng.choice((3, 3, 5)),
        observers=rng.choice((0, 0, 0, 1)),
        tick=tick,
        timeout_ticks=rng.choice((2, 2, 3, 4, 5, 8, 10, 20)),
        sync_limit=rng.choice((2, 5, 10)),
        is_tick_known=rng.random() < 0.3,
        rounds_up=rng.random() < 0.5,
        delay_max=delay_max,
        recovery_max=rng.choice((delay_max, 0.25 * tick)),
        drift_max=rng.choice((0.0, 0.0, 0.005, 0.015)),
    )


def plan_of(rng: random.Random, settings: Settings) -> Plan:
    """Return the holder's plan: half of the holds are old when the faults start, half start during them."""
    # The faults start between one and two timeouts after the first connection, give or take some ticks.
    faults_begin = (
        1 + (2 * settings.tick + rng.uniform(0, settings.timeout + settings.tick)) / settings.timeout
    )
    return Plan(
        lock_after=rng.choice(
            (0.0, rng.uniform(0, 0.5), faults_begin + rng.uniform(-0.5, 0.5), rng.uniform(1, 4))
        ),
        has_waited=rng.random() < 0.3,
        reads_every=rng.choice((None, None, 1 / 4, 1 / 30)),
        writes_every=rng.choice((None, None, None, 1 / 3, 1 / 30)),
    )


def run_model(holder: str, schedule: str, seed: int, *, traced: bool = False) -> Outcome:
    """Run the model once; the same arguments give the same outcome."""
    choices = random.Random(f"{schedule} {seed}")
    settings = settings_of(choices)
    plan = plan_of(choices, settings)
    if schedule in TELLING_WHEN_TO_LOCK and choices.random() < 0.7:
        plan = replace(plan, lock_after=None)
    # chosen separately, because seeds identify the runs of the other holders
    has_others = holder == "ours" and random.Random(f"others {schedule} {seed}").random() < 0.25
    plan = replace(plan, has_others=has_others)
    world = World(settings, plan, choices, HOLDERS[holder], traced=traced)
    slack = world.run(SCHEDULES[schedule])
    return Outcome(seed, schedule, settings, plan, slack, world.network.trace or [])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--holder", choices=HOLDERS, default="ours")
    parser.add_argument("--schedule", choices=SCHEDULES, action="append")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--replay", type=int, metavar="SEED", help="print the events of this seed's run")
    arguments = parser.parse_args()
    for schedule in arguments.schedule or SCHEDULES:
        if arguments.replay is not None:
            outcome = run_model(arguments.holder, schedule, arguments.replay, traced=True)
            lines = [*outcome.trace, f"{outcome.settings}", f"{outcome.plan}", f"slack {outcome.slack}"]
            sys.stdout.write("\n".join(lines) + "\n")
            continue
        outcomes = [
            run_model(arguments.holder, schedule, arguments.seed + run) for run in range(arguments.runs)
        ]
        sys.stdout.write(summary(schedule, outcomes) + "\n")
        sys.stdout.flush()


def summary(schedule: str, outcomes: list[Outcome]) -> str:
    measured = [(outcome.slack, outcome.seed) for outcome in outcomes if outcome.slack is not None]
    violations = sum(slack < 0 for slack, _ in measured)
    least, seed = min(measured, default=(float("nan"), -1))
    return (
        f"{schedule:22s} runs {len(outcomes):6d}  measured {len(measured):6d}  violations {violations:5d}"
        f"  least slack {least:+.4f} T (seed {seed})"
    )


if __name__ == "__main__":
    main()

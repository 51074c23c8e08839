"""Histories of a double barrier, each checked against its promises.

`make histories` simulates thousands of them. Here is a sample, and the history that an earlier barrier
failed.
"""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

import zkrecipes as zk
from tests.recipes.double_barrier_checker import Member, check
from tests.recipes.double_barrier_recorder import Recorder
from tests.recipes.double_barrier_simulation import Outcome, simulate_on_a_server, simulate_on_an_ensemble
from tests.recipes.fault_sweep import TIMEOUT, World, world
from tests.sweeps import sample

SECONDS = 8.0
PATH = "/steps"


def judge(outcome: Outcome) -> None:
    assert not outcome.violations, "\n".join(map(str, outcome.violations))
    assert not outcome.left


@pytest.mark.sweep
@pytest.mark.parametrize("seed", sample(range(0, 160, 10), 8, "on a server"))
def test_histories_on_a_server(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    outcomes = [simulate_on_a_server(seed + number, SECONDS) for number in range(10)]
    for outcome in outcomes:
        judge(outcome)
    assert sum(outcome.completed for outcome in outcomes) > 20


@pytest.mark.sweep
@pytest.mark.parametrize("seed", sample(range(0, 40, 5), 4, "on an ensemble"))
def test_histories_on_an_ensemble(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    outcomes = [simulate_on_an_ensemble(seed + number, SECONDS) for number in range(5)]
    for outcome in outcomes:
        judge(outcome)
    assert sum(outcome.completed for outcome in outcomes) > 20


def test_a_history_replays_from_its_seed() -> None:
    assert simulate_on_a_server(3, SECONDS) == simulate_on_a_server(3, SECONDS)
    assert simulate_on_an_ensemble(3, SECONDS) == simulate_on_an_ensemble(3, SECONDS)


# --- a crash and a restart -------------------------------------------------------------------------------


async def take_part(
    there: World,
    recorder: Recorder,
    name: str,
    source: str,
    stays: list[float],
    task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Enter once for each of `stays`, and stay inside for that many seconds."""
    async with there.connect(source) as client:
        member = recorder.register(name, client)
        task_status.started(member)
        for seconds in stays:
            with recorder.call(member):
                async with zk.DoubleBarrier(client, PATH, parties=2, identifier=name):
                    with recorder.block(member):
                        await trio.sleep(seconds)


@pytest.mark.trio
@pytest.mark.parametrize("restarted", ["B", "C"])
async def test_a_member_crashes_inside_and_is_restarted_at_once(
    restarted: str, autojump_clock: MockClock
) -> None:
    """It must not be inside one round while the other members are inside the next one."""
    recorder = Recorder(PATH)
    async with world() as there, trio.open_nursery() as nursery:
        recorder.follow_server(there.server)
        nursery.start_soon(take_part, there, recorder, "A", "a", [3.0] * 4)
        async with trio.open_nursery() as doomed:
            member = await doomed.start(take_part, there, recorder, "B", "b", [1000.0])
            await trio.sleep(1)
            there.network.cut(source="b")
            recorder.crashed(member)
            doomed.cancel_scope.cancel()
        await trio.sleep(4)
        nursery.start_soon(take_part, there, recorder, restarted, "b again", [14.0, 3.0, 3.0])
        await trio.sleep(6 * TIMEOUT)
        recorder.settled()
        assert check(recorder.events, parties=2) == []

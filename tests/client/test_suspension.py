"""A suspended machine: the loop's clock stops, and the clocks of the servers continue."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, virtual_time, world
from zkrecipes.net import suspend_detection

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

Suspend = Callable[[float], None]


@pytest.fixture
def suspend(monkeypatch: pytest.MonkeyPatch) -> Suspend:
    """Let this many seconds pass without a change of the loop's clock."""
    uncounted = [7.0]
    monkeypatch.setattr(suspend_detection, "uncounted_time", lambda: uncounted[0])

    def let_pass(seconds: float) -> None:
        uncounted[0] += seconds

    return let_pass


async def test_a_holder_that_was_suspended_for_too_long_learns_it_from_check(suspend: Suspend) -> None:
    """Case 20."""
    async with world() as there, there.connect("a") as client:
        with pytest.raises(zk.LockLostError):  # noqa: PT012 - where it comes out is the point
            async with zk.Mutex(client, "/lock") as hold:
                hold.check()
                suspend(TIMEOUT)
                with pytest.raises(zk.LockLostError):
                    hold.check()
                await anyio.sleep_forever()


async def test_a_holder_that_does_not_look_is_cancelled_at_the_next_sign_of_life(suspend: Suspend) -> None:
    """Case 20."""
    async with world() as there, there.connect("a") as client:
        begun = 0.0
        with pytest.raises(zk.LockLostError):  # noqa: PT012 - where it comes out is the point
            async with zk.Mutex(client, "/lock"):
                begun = anyio.current_time()
                suspend(TIMEOUT)
                await anyio.sleep_forever()
        assert anyio.current_time() - begun <= TIMEOUT / 16 + 0.01


async def test_a_hold_outlives_a_short_suspension(suspend: Suspend) -> None:
    async with world() as there, there.connect("a") as client, zk.Mutex(client, "/lock") as hold:
        session = client.session
        suspend(TIMEOUT / 4)
        before = hold.remaining()
        await anyio.sleep(TIMEOUT / 4)
        assert client.session is session
        assert client.stats().connections == 2  # what waited in the old one proves nothing
        assert hold.remaining() > before - TIMEOUT / 8  # it was proven again in the interim
        hold.check()


async def test_a_suspension_takes_its_time_from_what_is_proven(suspend: Suspend) -> None:
    async with world() as there, there.connect("a") as client, zk.Mutex(client, "/lock") as hold:
        await anyio.sleep(TIMEOUT / 4)
        before = hold.remaining()
        suspend(TIMEOUT / 8)
        hold.check()
        assert hold.remaining() == pytest.approx(before - TIMEOUT / 8)


async def test_a_session_that_cannot_have_lived_through_it_is_not_taken_for_alive(
    suspend: Suspend, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 20."""
    async with world() as there, there.connect("a") as client:
        first = client.session
        await there.server.refuse()
        suspend(2 * TIMEOUT)
        there.server.expire(first.id)
        await anyio.sleep(TIMEOUT)
        assert first.state is zk.SessionState.EXPIRED
        await there.server.accept()
        assert await client.exists("/") is not None
        assert client.session is not first
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    (line,) = [record for record in warnings if record.message.startswith("the machine was suspended")]
    assert line.name == "zkrecipes.session"


async def test_a_suspension_while_a_server_is_sought_proves_nothing_either(suspend: Suspend) -> None:
    async with world() as there, there.connect("a") as client:
        await there.server.refuse()
        there.server.drop_connections()
        await anyio.sleep(0.1)
        suspend(TIMEOUT / 4)
        await there.server.accept()
        await anyio.sleep(TIMEOUT / 4)
        assert client.state is zk.SessionState.CONNECTED


def test_time_that_two_looks_take_is_no_suspension(suspend: Suspend) -> None:
    looked = suspend_detection.SuspendDetector()
    suspend(0.05)
    assert looked.since_last_look() == 0
    suspend(0.06)
    assert looked.since_last_look() == pytest.approx(0.11)
    assert looked.since_last_look() == 0


def test_the_clock_that_counts_is_the_machines() -> None:
    assert suspend_detection.uncounted_time() > -0.01  # two clocks, one after the other

"""The server's clock, which can stand still."""

from __future__ import annotations

from zkrecipes.devserver.server_clock import ServerClock


class _World:
    now = 50.0

    def read(self) -> float:
        return self.now


def test_it_runs_with_its_source_and_has_its_own_calendar() -> None:
    world = _World()
    clock = ServerClock(world.read, 1_000_000.0)
    world.now += 2.5
    assert clock.now() == 52.5
    assert clock.time() == 1_000_002.5
    assert clock.read() == (52.5, 1_000_002_500)


def test_it_stands_while_paused() -> None:
    world = _World()
    clock = ServerClock(world.read, 0.0)
    clock.pause()
    assert clock.is_paused
    world.now += 10
    clock.pause()
    assert clock.now() == 50.0
    clock.resume()
    clock.resume()
    world.now += 1
    assert clock.now() == 51.0
    assert clock.time() == 1.0

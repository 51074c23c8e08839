"""The forecast whether a hold stays proven, from the proof, the round trip and the next check."""

from __future__ import annotations

import math
from itertools import product

import pytest

from zkrecipes.protocol.hold_checks import HoldChecks
from zkrecipes.protocol.hold_forecast import ROUND_TRIP_MAX, will_last
from zkrecipes.protocol.hold_proof import CANCEL_BEFORE_END, HoldProof

T = 16.0
PINGS = T / 3
ROUND_TRIPS = [hundredths / 100 for hundredths in (1, 2, 4, 6, 7, 8, 9, 10)]


class Client:
    """A client on a constant link: it pings while it has no hold, and sends checks later."""

    def __init__(self, round_trip: float) -> None:
        self.round_trip = round_trip * T
        self.proof = HoldProof()
        self.checks = HoldChecks(self.proof)
        self.proof.attached(sent_at=0.0, timeout=T)
        self.checks.attached(self.round_trip)
        self.now = self.round_trip

    def idle_until(self, end: float) -> None:
        sent_at = self.now
        while sent_at + self.round_trip < end:
            self.proof.answered(sent_at=sent_at, now=sent_at + self.round_trip, committed=False)
            sent_at += PINGS
        self.now = max(self.now, end)

    def write(self) -> None:
        proves_until, sent_at = self.proof.write_proves_until, self.now
        self.now += self.round_trip
        self.proof.answered(sent_at=sent_at, now=self.now, committed=True)
        self.proof.write_committed(proves_until)

    def check(self) -> None:
        self.now = max(self.now, self.checks.next_deadline())
        assert self.checks.take_due(self.now) == [("/lock",)]
        sent_at = self.now
        self.now += self.round_trip
        self.proof.answered(sent_at=sent_at, now=self.now, committed=True)
        self.checks.succeeded(self.now)

    @property
    def cancel_at(self) -> float:
        return self.proof.valid_until - CANCEL_BEFORE_END * T


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("idle", [fortieth / 40 * T for fortieth in range(40)])
def test_a_hold_that_begins_is_kept_and_each_begins(round_trip: float, idle: float) -> None:
    client = Client(round_trip)
    client.idle_until(idle)
    client.write()  # the creation of its znode
    created_at = client.now
    if client.checks.will_last(client.now):
        client.checks.add_found("/lock", client.now)
    else:
        client.checks.add("/lock")
        while not client.checks.is_proven("/lock", client.now):
            client.check()
            assert client.now < created_at + T
    for _ in range(40):
        before = client.cancel_at
        client.check()
        assert client.now < before, "it was lost"


@pytest.mark.parametrize("round_trip", [0.115, 0.13, 0.16, 0.2])
def test_beyond_the_bound_no_hold_begins(round_trip: float) -> None:
    for idle in range(16):
        client = Client(round_trip)
        client.idle_until(idle)
        client.write()
        assert not client.checks.will_last(client.now)
        client.checks.add("/lock")
        for _ in range(40):
            client.check()
            assert not client.checks.is_proven("/lock", client.now)


def test_on_a_fast_link_a_hold_begins_with_the_first_check() -> None:
    """The forecast must not delay a hold on a fast link."""
    for idle in range(0, 160, 3):
        client = Client(0.001)
        client.idle_until(idle / 10 * T)
        client.checks.add("/lock")
        for _ in range(2):
            client.check()
        assert client.checks.is_proven("/lock", client.now)


def test_a_forecast_changes_nothing() -> None:
    client = Client(0.08)
    client.idle_until(T)
    client.write()
    copy = client.proof.copy()
    client.checks.will_last(client.now)
    for name in HoldProof.__slots__:
        assert getattr(client.proof, name) == getattr(copy, name)


def test_a_missing_proof_does_not_last() -> None:
    assert not will_last(HoldProof(), now=0.0, next_check_at=-math.inf)
    proof = HoldProof()
    proof.attached(sent_at=0.0, timeout=T)
    assert not will_last(proof, now=1.0, next_check_at=1.0)


def test_the_documented_bound_holds() -> None:
    assert ROUND_TRIP_MAX in ROUND_TRIPS
    assert list(product(ROUND_TRIPS, [ROUND_TRIP_MAX]))[-1] == (ROUND_TRIP_MAX, ROUND_TRIP_MAX)

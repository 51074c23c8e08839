"""The heartbeat of checks, with a timeout of 16 s: a check every second, a server is left after two."""

from __future__ import annotations

import math

import pytest

from zkrecipes.protocol.hold_checks import HoldChecks
from zkrecipes.protocol.hold_proof import VALID_FOR, HoldProof

T = 16.0
EVERY, LEAVE = T / 16, T / 8
VALID = VALID_FOR * T
SOON = -math.inf
NEVER = math.inf


def attached_at(now: float, *paths: str) -> tuple[HoldProof, HoldChecks]:
    proof = HoldProof()
    checks = HoldChecks(proof)
    proof.attached(sent_at=now, timeout=T)
    checks.attached()
    for path in paths:
        checks.add(path)
    return proof, checks


def send(checks: HoldChecks, now: float) -> tuple[str, ...]:
    paths = checks.due(now)
    assert paths is not None
    checks.sent(paths, now)
    return paths


def steady_at(now: float, *paths: str) -> tuple[HoldProof, HoldChecks]:
    """One check was sent and answered at that time, and the next is an ordinary one."""
    proof, checks = attached_at(now, *paths)
    send(checks, now)
    assert checks.succeeded(now) == paths
    return proof, checks


def test_without_holds_or_connection_nothing_is_due() -> None:
    checks = HoldChecks(HoldProof())
    assert (checks.due(0.0), checks.next_deadline(), checks.unanswered(0.0)) == (None, NEVER, False)
    checks.add("/a")
    assert (checks.due(0.0), checks.next_deadline(), checks.unanswered(0.0)) == (None, NEVER, False)
    _, checks = attached_at(0.0)
    assert (checks.due(0.0), checks.next_deadline(), checks.unanswered(0.0)) == (None, NEVER, False)


def test_a_fresh_hold_is_checked_at_once_and_then_every_sixteenth() -> None:
    proof, checks = attached_at(0.0, "/a")
    assert checks.next_deadline() == SOON
    assert send(checks, 3.0) == ("/a",)
    assert checks.due(3.0) is None
    assert not checks.is_proven("/a", 3.1)
    assert checks.succeeded(3.1) == ("/a",)
    assert proof.valid_until == VALID
    assert checks.is_proven("/a", 3.1)
    assert checks.next_deadline() == 3.0 + EVERY
    assert checks.due(3.99) is None
    assert send(checks, 4.0) == ("/a",)


def test_all_holds_are_named_in_the_order_in_which_they_came() -> None:
    _, checks = steady_at(0.0, "/b", "/a")
    checks.add("/c")
    assert checks.paths == ("/b", "/a", "/c")
    assert send(checks, 0.1) == ("/b", "/a", "/c")


def test_a_check_waits_for_its_predecessor_and_is_then_sent_at_once() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    assert checks.due(2.5) is None
    checks.succeeded(2.5)
    assert checks.next_deadline() == 2.0
    assert checks.due(2.5) == ("/a",)


def test_a_hold_is_proven_only_when_a_check_has_found_its_node_and_time_is_left() -> None:
    proof, checks = steady_at(0.0, "/a")
    end = VALID - T / 8
    assert proof.valid_until == VALID
    assert checks.is_proven("/a", end - 0.01)
    assert not checks.is_proven("/a", end)
    send(checks, 1.0)
    checks.add("/b")
    assert checks.succeeded(1.1) == ("/a",)
    assert not checks.is_proven("/b", 1.1)
    assert send(checks, 1.1) == ("/a", "/b")
    checks.succeeded(1.2)
    assert checks.is_proven("/b", 1.2)
    checks.discard("/b")
    assert not checks.is_proven("/b", 1.2)


def test_a_demand_is_answered_by_a_check_sent_after_it() -> None:
    _, checks = steady_at(0.0, "/a")
    assert checks.demand() == 2
    assert checks.next_deadline() == SOON
    send(checks, 0.5)
    assert checks.demand() == 3  # the one on its way may have been committed before
    assert checks.next_deadline() == 0.5 + LEAVE
    checks.succeeded(0.6)
    assert checks.succeeded_number == 2
    send(checks, 0.6)
    checks.succeeded(0.7)
    assert checks.succeeded_number == 3
    assert checks.next_deadline() == 0.6 + EVERY


def test_on_a_session_long_without_writes_two_checks_prove_a_hold() -> None:
    proof, checks = attached_at(0.0)
    for at in (20.0, 25.0, 30.0):
        proof.answered(sent_at=at, now=at, committed=False)
    checks.add("/a")
    send(checks, 32.0)
    proof.answered(sent_at=32.0, now=32.1, committed=True)
    checks.succeeded(32.1)
    assert not checks.is_proven("/a", 32.1)
    assert checks.next_deadline() == SOON
    send(checks, 32.1)
    proof.answered(sent_at=32.1, now=32.2, committed=True)
    checks.succeeded(32.2)
    assert proof.valid_until == 25.0 + VALID
    assert checks.is_proven("/a", 32.2)
    assert checks.next_deadline() == 32.1 + EVERY


def test_two_checks_at_once_are_all_when_they_prove_nothing() -> None:
    proof, checks = attached_at(0.0, "/a")
    send(checks, 20.0)
    checks.succeeded(20.1)
    send(checks, 20.1)
    checks.succeeded(20.2)
    assert proof.valid_until == VALID
    assert checks.next_deadline() == 20.1 + EVERY
    send(checks, 21.1)
    checks.succeeded(21.2)
    assert checks.next_deadline() == 21.1 + EVERY


def test_a_server_is_left_when_a_check_stays_unanswered() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    assert checks.next_deadline() == 1.0 + LEAVE
    assert not checks.unanswered(2.99)
    assert checks.unanswered(3.0)


def test_answers_to_what_was_sent_before_the_check_give_the_server_more_time() -> None:
    _, checks = steady_at(0.0, "/a")
    checks.replied_to_earlier(0.5)
    assert checks.next_deadline() == EVERY
    send(checks, 1.0)
    checks.replied_to_earlier(2.5)
    assert checks.next_deadline() == 2.5 + LEAVE
    assert not checks.unanswered(4.0)
    assert checks.unanswered(4.5)


def test_a_server_is_not_left_for_holds_that_are_over() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    checks.discard("/a")
    assert not checks.unanswered(9.0)
    assert checks.next_deadline() == NEVER
    assert checks.succeeded(9.0) == ("/a",)
    assert not checks.is_proven("/a", 9.0)


@pytest.mark.parametrize(("index", "lost", "rest"), [(0, "/a", ("/b", "/c")), (2, "/c", ("/a", "/b"))])
def test_a_failure_loses_one_hold_and_checks_the_rest_at_once(
    index: int, lost: str, rest: tuple[str, ...]
) -> None:
    proof, checks = attached_at(0.0, "/a", "/b", "/c")
    send(checks, 0.0)
    assert checks.failed(index) == lost
    assert proof.valid_until == -math.inf
    assert checks.succeeded_number == 0
    assert not any(checks.is_proven(path, 0.1) for path in ("/a", "/b", "/c"))
    assert checks.next_deadline() == SOON
    assert send(checks, 0.1) == rest
    checks.succeeded(0.2)
    assert all(checks.is_proven(path, 0.2) for path in rest)


def test_the_last_hold_lost_leaves_nothing_to_check() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    assert checks.failed(0) == "/a"
    assert checks.next_deadline() == NEVER


def test_a_failure_on_a_hold_that_is_over_loses_nothing() -> None:
    _, checks = steady_at(0.0, "/a", "/b")
    send(checks, 1.0)
    checks.discard("/a")
    assert checks.failed(0) is None
    assert send(checks, 1.1) == ("/b",)


def test_a_failure_that_names_no_hold_waits_for_the_next_check() -> None:
    proof, checks = steady_at(0.0, "/a")
    proved = proof.valid_until
    send(checks, 1.0)
    assert checks.failed(None) is None
    assert checks.paths == ("/a",)
    assert proof.valid_until == proved
    assert checks.next_deadline() == 1.0 + EVERY


def test_discarding_what_is_not_held_does_nothing() -> None:
    _, checks = steady_at(0.0, "/a")
    checks.discard("/x")
    assert checks.paths == ("/a",)


def test_a_reconnect_checks_at_once_and_keeps_the_holds() -> None:
    proof, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    proof.detached()
    checks.detached()
    assert (checks.due(2.0), checks.next_deadline(), checks.unanswered(9.0)) == (None, NEVER, False)
    assert checks.is_proven("/a", 2.0)
    proof.attached(sent_at=2.0, timeout=T)
    checks.attached()
    assert send(checks, 2.1) == ("/a",)
    checks.succeeded(2.2)
    assert proof.valid_until == 2.0 + VALID


def test_an_answer_to_no_check_is_an_error() -> None:
    _, checks = steady_at(0.0, "/a")
    with pytest.raises(RuntimeError, match="no check is on its way"):
        checks.succeeded(1.0)
    with pytest.raises(RuntimeError, match="no check is on its way"):
        checks.failed(0)

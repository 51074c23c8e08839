"""The heartbeat of checks, with a timeout of 16 s: a round every second, and two to leave a server."""

from __future__ import annotations

import math

import pytest

from zkrecipes.codec.messages import CheckRequest
from zkrecipes.codec.multi import MultiRequest
from zkrecipes.protocol.hold_checks import PART_SIZE_MAX, HoldChecks, split_into_parts
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
    (paths,) = checks.take_due(now)
    return paths


def steady_at(now: float, *paths: str) -> tuple[HoldProof, HoldChecks]:
    """Return a proof and its checks, after one check was sent and answered at that time."""
    proof, checks = attached_at(now, *paths)
    send(checks, now)
    assert checks.succeeded(now) == paths
    return proof, checks


def test_without_holds_or_connection_nothing_is_due() -> None:
    checks = HoldChecks(HoldProof())
    assert (checks.take_due(0.0), checks.next_deadline(), checks.is_overdue(0.0)) == ([], NEVER, False)
    checks.add("/a")
    assert (checks.take_due(0.0), checks.next_deadline(), checks.is_overdue(0.0)) == ([], NEVER, False)
    _, checks = attached_at(0.0)
    assert (checks.take_due(0.0), checks.next_deadline(), checks.is_overdue(0.0)) == ([], NEVER, False)


def test_a_fresh_hold_is_checked_at_once_and_then_every_sixteenth() -> None:
    proof, checks = attached_at(0.0, "/a")
    assert checks.next_deadline() == SOON
    assert send(checks, 3.0) == ("/a",)
    assert checks.take_due(3.0) == []
    assert not checks.is_proven("/a", 3.1)
    assert checks.succeeded(3.1) == ("/a",)
    assert proof.valid_until == VALID
    assert checks.is_proven("/a", 3.1)
    assert checks.next_deadline() == 3.0 + EVERY
    assert checks.take_due(3.99) == []
    assert send(checks, 4.0) == ("/a",)


def test_a_round_names_all_holds_in_the_order_in_which_they_were_added() -> None:
    _, checks = steady_at(0.0, "/b", "/a")
    checks.add_found("/c", 0.1)
    assert checks.paths == ("/b", "/a", "/c")
    assert send(checks, EVERY) == ("/b", "/a", "/c")


def test_the_first_check_of_new_holds_names_only_them_and_does_not_delay_the_round() -> None:
    _, checks = steady_at(0.0, "/b", "/a")
    checks.add("/c")
    checks.add("/d")
    assert checks.next_deadline() == SOON
    assert send(checks, 0.1) == ("/c", "/d")
    checks.succeeded(0.2)
    assert checks.is_proven("/d", 0.2)
    assert checks.next_deadline() == EVERY
    assert send(checks, EVERY) == ("/b", "/a", "/c", "/d")


def test_a_round_that_is_due_also_names_the_new_holds() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, EVERY)
    checks.add("/b")
    checks.succeeded(2.5)
    assert send(checks, 2.5) == ("/a", "/b")
    checks.succeeded(2.6)
    assert checks.next_deadline() == 2.5 + EVERY


def test_a_new_hold_that_is_over_before_its_first_check_is_not_checked() -> None:
    _, checks = steady_at(0.0, "/a")
    checks.add("/b")
    checks.discard("/b")
    assert checks.next_deadline() == EVERY
    assert checks.take_due(0.1) == []


def test_a_check_waits_for_its_predecessor_and_is_then_sent_at_once() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    assert checks.take_due(2.5) == []
    checks.succeeded(2.5)
    assert checks.next_deadline() == 2.0
    assert checks.take_due(2.5) == [("/a",)]


def test_a_hold_is_proven_only_when_a_check_has_found_its_node_and_time_is_left() -> None:
    proof, checks = steady_at(0.0, "/a")
    assert proof.valid_until == VALID
    # this test reports no answer to the proof, so the forecast has only its own checks
    assert checks.is_proven("/a", 6.0)
    assert not checks.is_proven("/a", 8.0)
    send(checks, 1.0)
    checks.add("/b")
    assert checks.succeeded(1.1) == ("/a",)
    assert not checks.is_proven("/b", 1.1)
    assert send(checks, 1.1) == ("/b",)
    checks.succeeded(1.2)
    assert checks.is_proven("/b", 1.2)
    checks.discard("/b")
    assert not checks.is_proven("/b", 1.2)


def test_a_requested_check_names_only_its_hold() -> None:
    _, checks = steady_at(0.0, "/a", "/b")
    assert checks.ask("/b") == 2
    assert send(checks, 0.5) == ("/b",)
    checks.succeeded(0.6)
    assert (checks.found_number("/a"), checks.found_number("/b")) == (1, 2)
    assert checks.next_deadline() == EVERY


def test_a_request_during_a_check_in_flight_is_answered_by_the_next_check() -> None:
    _, checks = steady_at(0.0, "/a")
    assert checks.ask("/a") == 2
    assert checks.next_deadline() == SOON
    send(checks, 0.5)
    assert checks.ask("/a") == 3  # the one in flight may have been committed before
    assert checks.next_deadline() == 0.5 + LEAVE
    checks.succeeded(0.6)
    assert checks.found_number("/a") == 2
    send(checks, 0.6)
    checks.succeeded(0.7)
    assert checks.found_number("/a") == 3
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


def test_at_most_two_checks_leave_immediately() -> None:
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
    assert not checks.is_overdue(2.99)
    assert checks.is_overdue(3.0)


def test_answers_to_earlier_requests_give_the_server_more_time() -> None:
    _, checks = steady_at(0.0, "/a")
    checks.replied_to_earlier(0.5)
    assert checks.next_deadline() == EVERY
    send(checks, 1.0)
    checks.replied_to_earlier(2.5)
    assert checks.next_deadline() == 2.5 + LEAVE
    assert not checks.is_overdue(4.0)
    assert checks.is_overdue(4.5)


def test_bytes_of_an_earlier_reply_give_the_server_time_while_a_move_can_still_save_the_holds() -> None:
    proof, checks = steady_at(0.0, "/a")
    assert proof.valid_until == 15.0  # the bodies are cancelled at 13 s, so a move must begin at 9 s
    checks.heard_earlier(0.5)
    assert checks.next_deadline() == EVERY
    send(checks, 1.0)
    checks.heard_earlier(2.5)
    assert checks.next_deadline() == 2.5 + LEAVE
    checks.heard_earlier(8.9)
    assert checks.next_deadline() == 9.0
    assert not checks.is_overdue(8.99)
    assert checks.is_overdue(9.0)


def test_bytes_of_an_earlier_reply_never_shorten_the_time() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, 8.5)
    checks.heard_earlier(8.6)
    assert checks.next_deadline() == 8.5 + LEAVE
    checks.replied_to_earlier(8.7)
    assert checks.next_deadline() == 8.7 + LEAVE


def test_a_server_is_not_left_for_holds_that_are_over() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    checks.discard("/a")
    assert not checks.is_overdue(9.0)
    assert checks.next_deadline() == NEVER
    assert checks.succeeded(9.0) == ("/a",)
    assert not checks.is_proven("/a", 8.0)


@pytest.mark.parametrize(("index", "lost", "rest"), [(0, "/a", ("/b", "/c")), (2, "/c", ("/a", "/b"))])
def test_a_failure_loses_one_hold_and_checks_the_rest_at_once(
    index: int, lost: str, rest: tuple[str, ...]
) -> None:
    proof, checks = attached_at(0.0, "/a", "/b", "/c")
    send(checks, 0.0)
    assert checks.failed(index, 0.1) == lost
    assert proof.valid_until == -math.inf
    assert not any(checks.is_proven(path, 0.1) for path in ("/a", "/b", "/c"))
    assert checks.next_deadline() == SOON
    assert send(checks, 0.1) == rest
    checks.succeeded(0.2)
    assert all(checks.is_proven(path, 0.2) for path in rest)


def test_the_last_hold_lost_leaves_nothing_to_check() -> None:
    _, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    assert checks.failed(0, 1.1) == "/a"
    assert checks.next_deadline() == NEVER


def test_a_failure_on_a_hold_that_is_over_loses_nothing() -> None:
    _, checks = steady_at(0.0, "/a", "/b")
    send(checks, 1.0)
    checks.discard("/a")
    assert checks.failed(0, 1.1) is None
    assert send(checks, 1.1) == ("/b",)


def test_a_failure_that_names_no_hold_waits_for_the_next_check() -> None:
    proof, checks = steady_at(0.0, "/a")
    proved = proof.valid_until
    send(checks, 1.0)
    assert checks.failed(None, 1.1) is None
    assert checks.paths == ("/a",)
    assert proof.valid_until == proved
    assert checks.next_deadline() == 1.0 + EVERY


def test_requesting_a_check_of_an_unknown_path_has_no_effect() -> None:
    _, checks = steady_at(0.0, "/a")
    deadline = checks.next_deadline()
    checks.ask("/b")
    assert checks.next_deadline() == deadline


def test_discarding_an_unknown_path_has_no_effect() -> None:
    _, checks = steady_at(0.0, "/a")
    checks.discard("/x")
    assert checks.paths == ("/a",)


def test_a_reconnect_checks_at_once_and_keeps_the_holds() -> None:
    proof, checks = steady_at(0.0, "/a")
    send(checks, 1.0)
    proof.detached()
    checks.detached()
    assert (checks.take_due(2.0), checks.next_deadline(), checks.is_overdue(9.0)) == ([], NEVER, False)
    assert checks.is_proven("/a", 2.0)
    proof.attached(sent_at=2.0, timeout=T)
    checks.attached()
    assert send(checks, 2.1) == ("/a",)
    checks.succeeded(2.2)
    assert proof.valid_until == 2.0 + VALID


def test_an_answer_to_no_check_is_an_error() -> None:
    _, checks = steady_at(0.0, "/a")
    with pytest.raises(RuntimeError, match="a check must be in flight"):
        checks.succeeded(1.0)
    with pytest.raises(RuntimeError, match="a check must be in flight"):
        checks.failed(0, 1.0)


# --- parts ---------------------------------------------------------------------------------------------


def test_a_round_is_split_into_parts_that_any_server_takes() -> None:
    paths = [f"/locks/é{number:04}/" + "x" * 50 for number in range(2500)]
    parts = list(split_into_parts(paths))
    sizes = [
        len(MultiRequest(tuple(CheckRequest(path, -1) for path in part)).encode_frame(1)) for part in parts
    ]
    assert [path for part in parts for path in part] == paths
    assert len(parts) == 4
    assert all(PART_SIZE_MAX - 100 < size <= PART_SIZE_MAX for size in sizes[:-1])
    assert list(split_into_parts([])) == []
    assert list(split_into_parts(["/" + "x" * PART_SIZE_MAX, "/b"])) == [
        ("/" + "x" * PART_SIZE_MAX,),
        ("/b",),
    ]


LONG = ["/" + letter * (PART_SIZE_MAX // 2) for letter in "abc"]
A, B, C = LONG


def test_the_parts_of_a_round_are_sent_together_and_any_of_them_proves_the_session() -> None:
    proof, checks = attached_at(0.0, *LONG)
    assert checks.take_due(1.0) == [(A,), (B,), (C,)]
    assert checks.take_due(9.0) == []
    checks.succeeded(1.1)
    assert proof.valid_until == VALID
    assert [checks.is_found(path) for path in LONG] == [True, False, False]
    checks.succeeded(1.2)
    checks.succeeded(1.3)
    assert [checks.found_number(path) for path in LONG] == [1, 2, 3]
    assert checks.next_deadline() == 1.0 + EVERY


def test_each_part_has_as_much_time_as_a_check_from_the_answer_to_the_one_before() -> None:
    _, checks = attached_at(0.0, *LONG)
    checks.take_due(1.0)
    assert checks.next_deadline() == 1.0 + LEAVE
    checks.succeeded(2.5)
    assert checks.next_deadline() == 2.5 + LEAVE
    checks.failed(None, 3.0)
    assert not checks.is_overdue(4.99)
    assert checks.is_overdue(5.0)


def test_a_part_that_fails_loses_its_hold_and_leaves_the_other_parts_alone() -> None:
    _, checks = attached_at(0.0, *LONG)
    checks.take_due(1.0)
    checks.succeeded(1.1)
    assert checks.failed(0, 1.2) == B
    checks.succeeded(1.3)
    assert checks.paths == (A, C)
    assert checks.next_deadline() == 1.0 + EVERY


def test_only_the_first_part_is_repeated_at_once_for_a_proof() -> None:
    _, checks = attached_at(0.0, *LONG)
    checks.take_due(20.0)  # nothing is proven at that time, so a second check may follow immediately
    for now in (20.1, 20.2, 20.3):
        checks.succeeded(now)
    assert checks.take_due(20.3) == [(A,)]


def test_many_nodes_gone_at_once_are_found_in_few_checks() -> None:
    """An administrator may remove a directory of locks; each failure names one."""
    paths = [f"/{number}" for number in range(1000)]
    gone = set(paths[::2])
    _, checks = attached_at(0.0, *paths)
    flights = names = 0
    now = 0.0
    while checks.next_deadline() == SOON:
        flights += 1
        for part in checks.take_due(now):
            names += len(part)
            missing = [index for index, path in enumerate(part) if path in gone]
            if missing:
                assert checks.failed(missing[0], now) == part[missing[0]]
            else:
                checks.succeeded(now)
    assert set(checks.paths) == set(paths) - gone
    assert (flights, names) == (28, 20_153)


# --- slow links ----------------------------------------------------------------------------------------


def slow_link(round_trip: float) -> tuple[HoldProof, HoldChecks]:
    proof = HoldProof()
    checks = HoldChecks(proof)
    proof.attached(sent_at=0.0, timeout=T)
    checks.attached(greeting_took=round_trip)
    checks.add("/a")
    return proof, checks


@pytest.mark.parametrize(("round_trip", "leaves_after"), [(1.0, LEAVE), (1.5, 3.0), (3.0, 6.0), (7.0, 8.0)])
def test_a_server_behind_a_long_link_is_not_left_for_that(round_trip: float, leaves_after: float) -> None:
    proof, checks = slow_link(round_trip)
    send(checks, 10.0)
    assert checks.next_deadline() == 10.0 + leaves_after
    proof.answered(sent_at=10.0, now=10.5, committed=False)  # but it can be faster
    assert checks.next_deadline() == 10.0 + LEAVE


def test_a_link_is_slow_when_three_checks_in_a_row_were() -> None:
    _, checks = slow_link(0.1)
    now = 0.0
    seen = []
    for takes in (1.4, 1.4, 0.1, 1.4, 1.4, 1.4, 0.1):
        send(checks, now)
        checks.succeeded(now + takes)
        seen.append(checks.is_link_slow)
        now += 2.0
    assert seen == [False, False, False, False, False, True, False]


def test_the_parts_of_one_check_count_once_towards_a_slow_link() -> None:
    proof = HoldProof()
    proof.attached(sent_at=0.0, timeout=T)
    checks = HoldChecks(proof, part_size_max=100)
    checks.attached()
    for name in range(20):
        checks.add(f"/locks/{name:02}")
    parts = checks.take_due(0.0)
    assert len(parts) > 5
    for now in (0.1, *[1.5] * (len(parts) - 1)):  # the loop was blocked after the first part's answer
        checks.succeeded(now)
        assert not checks.is_link_slow
    for sent_at in (2.0, 4.0, 6.0):
        assert not checks.is_link_slow
        for _ in checks.take_due(sent_at):
            checks.succeeded(sent_at + 1.5)
    assert checks.is_link_slow

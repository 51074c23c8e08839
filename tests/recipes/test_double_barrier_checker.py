"""The checker of the double barrier's histories: right ones pass, and each promise that is broken is found.

Both kinds are written by hand, one wrong history or more for each rule, and made up by a small model of a
correct barrier, which can make one wrong move.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from tests.recipes.double_barrier_checker import (
    Arrived,
    Event,
    Member,
    ReadyCreated,
    Rule,
    ZnodeCreated,
    ZnodeDeleted,
    check,
)
from tests.recipes.double_barrier_model import WRONG_MOVES, Model
from tests.recipes.double_barrier_stories import Story

A, B, C = Member("A"), Member("B"), Member("C")
B_AGAIN = Member("B", 2)
CURATOR = Member("curator", is_ours=False)


# --- right histories -------------------------------------------------------------------------------------


def test_rounds_one_after_another() -> None:
    story = Story().enter(A, B).go(A, B).enter(B, A).go(A, B).settle()
    assert story.check() == []


def test_a_member_may_create_its_znode_and_ready_in_one_transaction() -> None:
    story = Story().come(A).come(B).ready(B, together=True).begin(A, B).go(A, B).settle()
    assert story.check() == []


def test_more_members_than_parties_may_be_in_a_round() -> None:
    assert Story().come(A, B, C).ready(A).begin(B, A, C).go(C, A, B).settle().check() == []


def test_ready_may_be_removed_by_the_first_that_leaves() -> None:
    story = Story().enter(A, B).end(A).remove_ready(A).delete(A)
    assert story.end(B).delete(B).leave(B, A).settle().check() == []


def test_a_member_waits_for_one_that_is_still_inside() -> None:
    assert Story().enter(A, B).end(A).delete(A).settle().check() == []


def test_a_latecomer_waits_without_a_znode() -> None:
    story = Story().enter(A, B).arrive(C).settle().go(A, B).create(C).come(A).ready(A).begin(C, A)
    assert story.go(A, C).settle().check() == []


def test_a_latecomer_withdraws_a_znode_that_was_created_just_after_ready() -> None:
    story = Story().come(A, B).arrive(C).ready(B).create(C).begin(A, B).delete(C).settle().go(A, B)
    assert story.create(C).settle().check() == []


def test_a_young_znode_may_stay_if_ready_is_removed_before_its_member_looks() -> None:
    story = Story().enter(A, B).arrive(C).create(C).go(A, B).come(A).ready(A).begin(A, C).go(A, C).settle()
    assert story.check() == []


def test_a_member_that_gives_up_while_it_waits() -> None:
    assert Story().come(A).delete(A).leave(A).enter(B, C).go(B, C).settle().check() == []


def test_a_member_that_crashes_inside_is_waited_for_until_its_session_ends() -> None:
    story = Story().enter(A, B).crash(B).end(A).delete(A).settle().expire(B).remove_ready(A).leave(A)
    assert story.settle().check() == []


def test_a_member_that_crashes_and_is_restarted_takes_part_in_the_next_round() -> None:
    story = Story().enter(A, B).crash(B).arrive(B_AGAIN).end(A).delete(A).expire(B).remove_ready(A).leave(A)
    assert story.create(B_AGAIN).come(A).ready(A).begin(A, B_AGAIN).go(A, B_AGAIN).settle().check() == []


def test_a_member_that_crashes_while_it_waits_counts_until_its_session_ends() -> None:
    assert Story().come(A).crash(A).enter(B).end(B).delete(B).expire(A).check() == []


def test_a_leftover_ready_is_removed_by_a_newcomer() -> None:
    story = Story().enter(A, B).crash(A).crash(B).arrive(C).expire(A).expire(B).remove_ready(C).create(C)
    assert story.settle().check() == []


def test_a_block_is_cancelled_before_its_session_expires() -> None:
    story = Story().enter(A, B).end(B).expire(B).leave(B).end(A).delete(A).remove_ready(A).leave(A)
    assert story.settle().check() == []


def test_a_block_may_outlive_a_session_that_was_ended_by_decree() -> None:
    story = Story().enter(A, B).expire(B, by_decree=True).end(A).delete(A).remove_ready(A).leave(A)
    assert story.enter(C, A).end(B).leave(B).check() == []


def test_a_block_may_outlive_a_znode_that_an_administrator_deleted() -> None:
    assert Story().enter(A, B).delete(B, by=C).end(B).leave(B).check() == []


def test_a_curator_member_that_comes_late_is_no_fault_of_ours() -> None:
    story = Story().enter(A, B).come(CURATOR).begin(CURATOR).end(CURATOR).end(A).delete(A).end(B).delete(B)
    assert story.delete(CURATOR).remove_ready(CURATOR).leave(CURATOR, A, B).settle().check() == []


def test_a_curator_member_is_a_party() -> None:
    story = Story().come(A, CURATOR).ready(CURATOR).begin(CURATOR, A).end(A, CURATOR).delete(A)
    assert story.delete(CURATOR).remove_ready(CURATOR).leave(A, CURATOR).settle().check() == []


def test_a_wrong_ready_of_curators_is_no_violation_while_no_member_of_ours_enters() -> None:
    story = Story().come(A, CURATOR).ready(CURATOR).begin(CURATOR)
    assert story.check(parties=3) == []


# --- wrong histories -------------------------------------------------------------------------------------


def test_two_rounds_at_the_same_time() -> None:
    # `ready` is removed and created again while B is inside.
    story = Story().enter(A, B).end(A).delete(A).remove_ready(A).leave(A).come(A, C).ready(A).begin(A)
    assert story.rules() == [Rule.OUT, Rule.OVERLAP]


def test_a_round_without_its_parties() -> None:
    assert Story().enter(A).rules() == [Rule.PARTIES]


def test_a_member_that_has_left_does_not_count() -> None:
    story = Story().enter(A, B).end(A, B).delete(A).remove_ready(A).leave(A).come(C).ready(C)
    assert story.rules() == [Rule.PARTIES]


def test_a_member_enters_although_no_round_has_begun() -> None:
    assert Story().come(A, B).begin(A).rules() == [Rule.PARTIES]


def test_a_round_begins_while_a_member_may_still_enter_the_last_one() -> None:
    story = Story().come(A, B, C).ready(B).begin(A, B).go(A, B).come(A, B).ready(B)
    assert story.rules() == [Rule.OUT]


def test_a_round_begins_while_a_crashed_member_has_its_znode() -> None:
    story = Story().enter(A, B).crash(B).end(A).delete(A).remove_ready(A).leave(A).come(A, B_AGAIN).ready(A)
    assert story.rules() == [Rule.OUT]


def test_a_latecomer_enters() -> None:
    assert Story().enter(A, B).come(C).begin(C).rules() == [Rule.LATECOMER]


def test_a_latecomer_inside_keeps_the_next_round_from_beginning() -> None:
    story = Story().enter(A, B).crash(B).come(B_AGAIN).begin(B_AGAIN).end(A).delete(A).expire(B)
    story.remove_ready(A).leave(A).come(A, C).ready(A).begin(A)
    assert story.rules() == [Rule.LATECOMER, Rule.OUT, Rule.OVERLAP]


def test_a_restarted_member_enters_the_round_again() -> None:
    assert Story().enter(A, B).crash(B).come(B_AGAIN).begin(B_AGAIN).rules() == [Rule.LATECOMER]


def test_a_latecomer_keeps_its_znode() -> None:
    assert Story().enter(A, B).come(C).settle().rules() == [Rule.LATECOMER]


def test_a_stranger_creates_ready() -> None:
    assert Story().come(A, B).ready(C).rules() == [Rule.READY]


def test_a_stranger_takes_a_live_ready_for_a_leftover() -> None:
    assert Story().enter(A, B).arrive(C).remove_ready(C).rules() == [Rule.READY]


def test_a_late_removal_of_the_last_ready_hits_the_next_one() -> None:
    story = Story().enter(A, B).go(A, B).enter(A, B).remove_ready(A)
    assert story.rules() == [Rule.READY]


def test_a_late_removal_hits_the_next_ready_before_its_member_enters() -> None:
    story = Story().enter(A, B).go(A, B).come(A, B).ready(B).remove_ready(A).begin(A)
    assert story.rules() == [Rule.READY]


def test_a_block_that_outlives_its_session() -> None:
    assert Story().enter(A, B).expire(B).rules() == [Rule.GUARD]


def test_a_member_deletes_its_znode_before_its_block_ends() -> None:
    assert Story().enter(A, B).delete(B).rules() == [Rule.GUARD]


def test_a_member_deletes_the_znode_of_another_member() -> None:
    assert Story().enter(A, B).delete(B, by=A).rules() == [Rule.GUARD]


def test_a_block_that_begins_after_its_session() -> None:
    assert Story().come(A, B).ready(A).expire(B).begin(B).rules() == [Rule.GUARD]


def test_a_block_that_begins_without_a_znode() -> None:
    assert Story().enter(A, B).arrive(C).begin(C).rules() == [Rule.GUARD]


def test_the_znode_of_an_earlier_passage_does_not_let_a_member_in_again() -> None:
    story = Story().enter(A, B).end(A).leave(A).arrive(A).begin(A)
    assert story.rules() == [Rule.GUARD]


def test_enough_members_wait_and_no_round_begins() -> None:
    assert Story().come(A, B).settle().rules() == [Rule.PROGRESS]


def test_enough_members_wait_for_a_leftover_ready() -> None:
    story = Story().enter(A, B).end(A, B).delete(A).delete(B).leave(A, B).arrive(A).arrive(C).settle()
    assert story.rules() == [Rule.PROGRESS]


def test_a_member_that_never_enters_its_round() -> None:
    assert Story().come(A, B).ready(B).begin(B).settle().rules() == [Rule.PROGRESS]


def test_a_member_that_never_leaves() -> None:
    story = Story().enter(A, B).end(A, B).delete(A).delete(B).leave(B).settle()
    assert story.rules() == [Rule.PROGRESS]


def test_a_znode_that_stays_when_its_member_has_left() -> None:
    assert Story().come(A).leave(A).settle().rules() == [Rule.PROGRESS]


def test_our_member_enters_by_a_wrong_ready_of_curators() -> None:
    assert Story().come(A, CURATOR).ready(CURATOR).begin(CURATOR, A).rules(parties=3) == [Rule.PARTIES]


def test_a_curator_member_that_came_late_is_no_party_of_the_next_round() -> None:
    story = Story().enter(A, B).come(CURATOR).begin(CURATOR).go(A, B).come(A).ready(A)
    assert story.rules() == [Rule.PARTIES]


def test_the_znode_of_our_waiting_member_keeps_a_curator_member_from_leaving() -> None:
    story = Story().come(A, CURATOR).ready(A).begin(A, CURATOR).go(A).come(A).end(CURATOR).settle()
    assert story.rules() == [Rule.PROGRESS]


def test_a_violation_names_its_rule_and_shows_its_events() -> None:
    story = Story().enter(A)
    (found,) = story.check()
    assert found.index == 2
    assert found.events[-1] == ReadyCreated(2, story.session(A))
    assert "PARTIES at event 2: round 1 begins with 1 of 2 members" in str(found)
    assert "ZnodeCreated(zxid=1" in str(found)


# --- recordings that cannot be true ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "story",
    [
        Story().begin(A),
        Story().arrive(A).arrive(A),
        Story().arrive(A).end(A),
        Story().enter(A, B).leave(A),
        Story().enter(A, B).begin(A),
        Story().enter(A, B).ready(C),
        Story().remove_ready(A),
        Story().come(A).delete(A).delete(A),
        Story().come(A).crash(A).begin(A),
    ],
    ids=lambda story: type(story.events[-1]).__name__,
)
def test_a_wrong_recording_is_refused(story: Story) -> None:
    with pytest.raises(ValueError, match="cannot have happened here"):
        story.check()


def test_a_transaction_cannot_follow_the_moment_at_which_a_member_has_seen_it() -> None:
    events: list[Event] = [Arrived(A, 5), ZnodeCreated(5, "a", 1, A)]
    with pytest.raises(ValueError, match="a member has seen it before"):
        check(events, 2)


def test_a_session_ends_before_its_znodes_go() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        check([ZnodeCreated(1, "a", 1, A), ZnodeDeleted(2, "a", None)], 2)


# --- histories that are made up ----------------------------------------------------------------------------

numbers = st.lists(st.integers(0, 99), max_size=80)
sizes = st.tuples(st.integers(1, 3), st.sampled_from(["AB", "ABC", "ABCD"]))


@given(size=sizes, before=numbers, after=numbers)
def test_right_histories_pass(size: tuple[int, str], before: list[int], after: list[int]) -> None:
    model = Model(*size)
    for number in before:
        model.step(number)
    model.settle(stay=True)
    for number in after:
        model.step(number)
    model.settle(stay=False)
    assert model.story.check(size[0]) == []


@pytest.mark.parametrize("name", WRONG_MOVES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])
@given(before=numbers, seed=st.integers(0, 999))
def test_a_wrong_move_is_found(name: str, before: list[int], seed: int) -> None:
    parties = 2
    model, rng = Model(parties, "ABCDE"), random.Random(seed)
    for number in before:
        model.step(number)
    right = len(model.story.events)
    for _ in range(200):
        if model.wrong(name):
            break
        model.step(rng.randrange(1000))
        right = len(model.story.events)
    else:
        assume(False)
    found = model.story.check(parties)
    assert [violation for violation in found if violation.index < right] == []
    assert {violation.rule for violation in found} >= WRONG_MOVES[name]

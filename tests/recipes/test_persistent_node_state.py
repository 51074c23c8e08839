"""The next step of a persistent node: one table for each decision, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

import zkrecipes as zk
from zkrecipes.recipes.persistent_node_state import (
    DataVersion,
    KnownState,
    Look,
    OnConflict,
    Step,
    is_ours,
    next_step,
    step_after_look,
)

OLD, NEW = DataVersion(1, b"data"), DataVersion(2, b"data")
OURS, THEIRS, LATER = 50, 60, 70
"""The czxids of our znode, of another client's znode, and of the znode after that."""
SESSION, OLD_SESSION, OTHER_SESSION = 0xA, 0xB, 0xC

NOTHING = KnownState(OLD)
"""Before the first create."""
TAKEN = replace(NOTHING, attempted=OLD, is_taken=True)
"""After a create that found the name taken."""
EXISTS = KnownState(OLD, written=OLD, attempted=OLD, czxid=OURS, version=3)
"""Our znode has the wanted data."""
OUTDATED = replace(EXISTS, wanted=NEW)
"""Our znode has older data."""


def stat(czxid: int, owner: int = OTHER_SESSION, version: int = 0) -> zk.Stat:
    return zk.Stat(czxid, czxid, 0, 0, version, 0, 0, owner, 0, 0, czxid)


@pytest.mark.parametrize(
    ("known", "step"),
    [
        pytest.param(NOTHING, Step.CREATE, id="nothing is known"),
        pytest.param(NOTHING.while_creating(), Step.CREATE, id="a create is unsettled"),
        pytest.param(TAKEN, Step.LOOK, id="the name is taken"),
        pytest.param(EXISTS, Step.LOOK, id="nothing to write"),
        pytest.param(OUTDATED, Step.SET, id="an update"),
        pytest.param(replace(OUTDATED, version=None), Step.LOOK, id="an update over an unknown version"),
        pytest.param(replace(OUTDATED, is_look_due=True), Step.LOOK, id="an update during a write"),
        pytest.param(EXISTS.without_znode(), Step.CREATE, id="our znode was deleted"),
        pytest.param(replace(EXISTS, written=NEW), Step.SET, id="the same bytes are wanted again"),
    ],
)
def test_next_step(known: KnownState, step: Step) -> None:
    assert next_step(known) is step


@pytest.mark.parametrize(
    ("known", "look", "step"),
    [
        pytest.param(EXISTS, Look(stat(OURS)), Step.WAIT_FOR_CHANGE, id="as it should be"),
        pytest.param(OUTDATED, Look(stat(OURS)), Step.SET, id="an update"),
        pytest.param(EXISTS, Look(None), Step.PUT_BACK, id="deleted"),
        pytest.param(EXISTS, Look(stat(THEIRS)), Step.PUT_BACK, id="deleted, and created by another client"),
        pytest.param(
            EXISTS, Look(stat(THEIRS), is_owned=True), Step.PUT_BACK, id="created by this client elsewhere"
        ),
        pytest.param(
            EXISTS, Look(stat(OURS), is_session_over=True), Step.PUT_BACK, id="still shown after its session"
        ),
    ],
)
@pytest.mark.parametrize("on_conflict", ["wait", "raise", "replace"])
def test_look_at_our_znode(known: KnownState, look: Look, step: Step, on_conflict: OnConflict) -> None:
    assert step_after_look(known, look, on_conflict) is step


UNSETTLED = replace(TAKEN, unsettled=OLD)
WRITTEN = replace(TAKEN, written=OLD)
AGAIN = replace(WRITTEN, reported=THEIRS)


@pytest.mark.parametrize(
    ("known", "look", "wait", "refuse", "replacing"),
    [
        pytest.param(TAKEN, Look(None), *[Step.CREATE] * 3, id="free again"),
        pytest.param(
            replace(TAKEN, taken_by=THEIRS), Look(stat(LATER)), *[Step.CREATE] * 3, id="another znode"
        ),
        pytest.param(
            TAKEN, Look(stat(THEIRS)), Step.WAIT_FOR_NAME, Step.REFUSE, Step.REPLACE, id="another client's"
        ),
        pytest.param(
            replace(TAKEN, taken_by=THEIRS),
            Look(stat(THEIRS, version=7)),
            Step.WAIT_FOR_NAME,
            Step.REFUSE,
            Step.REPLACE,
            id="another client's, changed by its owner",
        ),
        pytest.param(
            WRITTEN, Look(stat(THEIRS)), *[Step.WAIT_FOR_NAME] * 3, id="another client's, put back later"
        ),
        pytest.param(
            AGAIN,
            Look(stat(THEIRS)),
            Step.WAIT_FOR_NAME,
            Step.WAIT_FOR_NAME,
            Step.REPLACE,
            id="another client's, after a second",
        ),
        pytest.param(UNSETTLED, Look(stat(OURS), is_owned=True), *[Step.ADOPT] * 3, id="a lost reply"),
        pytest.param(
            UNSETTLED,
            Look(stat(THEIRS), is_owned=True, is_claimed=True),
            Step.WAIT_FOR_NAME,
            Step.REFUSE,
            Step.REPLACE,
            id="another persistent node of this client",
        ),
        pytest.param(
            TAKEN,
            Look(stat(THEIRS), is_owned=True),
            Step.WAIT_FOR_NAME,
            Step.REFUSE,
            Step.REPLACE,
            id="this client's, made by other code",
        ),
        pytest.param(
            TAKEN, Look(stat(THEIRS), is_owned=True, is_leftover=True), *[Step.INHERIT] * 3, id="resumed"
        ),
        pytest.param(
            TAKEN,
            Look(stat(THEIRS), is_owned=True, is_leftover=True, is_claimed=True),
            Step.WAIT_FOR_NAME,
            Step.REFUSE,
            Step.REPLACE,
            id="resumed, and inherited by another persistent node",
        ),
        pytest.param(
            replace(TAKEN, old_sessions=(OLD_SESSION,)),
            Look(stat(THEIRS, OLD_SESSION)),
            *[Step.REPLACE] * 3,
            id="of our old session",
        ),
        pytest.param(
            WRITTEN, Look(stat(THEIRS), is_undeletable=True), *[Step.REPLACE] * 3, id="could not be deleted"
        ),
    ],
)
def test_look_at_a_taken_name(
    known: KnownState, look: Look, wait: Step, refuse: Step, replacing: Step
) -> None:
    assert step_after_look(known, look, "wait") is wait
    assert step_after_look(known, look, "raise") is refuse
    assert step_after_look(known, look, "replace") is replacing


def test_a_create_that_is_answered_settles_the_ones_before_it() -> None:
    known = NOTHING.while_creating().while_creating().after_create(OURS)
    assert known == replace(EXISTS, version=0, is_look_due=True)


def test_a_refused_create_leaves_the_ones_before_it_unsettled() -> None:
    lost = NOTHING.while_creating()
    assert lost.while_creating().after_refused_create(lost).unsettled is OLD
    assert NOTHING.while_creating().after_refused_create(NOTHING, is_taken=True) == TAKEN


@pytest.mark.parametrize("is_same", [True, False])
def test_an_adopted_znode_has_the_wanted_data_only_if_no_create_carried_others(is_same: bool) -> None:
    lost = KnownState(NEW if is_same else OLD).while_creating()
    again = replace(lost, wanted=NEW).while_creating()
    known = again.after_refused_create(lost, is_taken=True)
    assert known.has_one_unsettled is is_same
    adopted = known.after_adoption(stat(OURS, SESSION, version=3))
    assert (adopted.czxid, adopted.version, adopted.unsettled, adopted.is_taken) == (OURS, 3, None, False)
    assert adopted.written is (NEW if is_same else None)


def test_an_inherited_znode_is_written_next() -> None:
    known = TAKEN.after_adoption(stat(OURS, SESSION, version=3))
    assert known.written is None
    assert next_step(known) is Step.LOOK
    assert step_after_look(known, Look(stat(OURS)), "wait") is Step.SET


def test_a_look_follows_each_write() -> None:
    written = OUTDATED.after_set(NEW, 4)
    assert (written.written, written.version) == (NEW, 4)
    assert next_step(replace(written, wanted=DataVersion(3, b""))) is Step.LOOK


def test_rejected_data_are_wanted_no_more_unless_newer_data_are() -> None:
    assert OUTDATED.after_rejection(NEW).wanted is OLD
    newest = DataVersion(3, b"")
    assert replace(OUTDATED, wanted=newest).after_rejection(NEW).wanted is newest


def test_an_ended_session_takes_the_unsettled_creates_with_it_and_is_remembered() -> None:
    known = NOTHING.while_creating().after_session_change(OLD_SESSION)
    assert (known.unsettled, known.old_sessions) == (None, (OLD_SESSION,))
    assert known.after_session_change(0).old_sessions == (OLD_SESSION,)
    for session in range(1, 100):
        known = known.after_session_change(session)
    assert known.old_sessions == tuple(range(84, 100))


@pytest.mark.parametrize(
    ("known", "look", "expected"),
    [
        pytest.param(EXISTS, Look(stat(OURS)), True, id="its czxid"),
        pytest.param(EXISTS, Look(stat(THEIRS), is_owned=True), False, id="another czxid"),
        pytest.param(EXISTS, Look(None), False, id="absent"),
        pytest.param(TAKEN, Look(stat(OURS), is_owned=True), False, id="nothing is unsettled"),
        pytest.param(UNSETTLED, Look(stat(OURS), is_owned=True), True, id="a lost reply"),
        pytest.param(UNSETTLED, Look(stat(OURS)), False, id="another owner"),
        pytest.param(
            UNSETTLED, Look(stat(OURS), is_owned=True, is_claimed=True), False, id="claimed by another"
        ),
    ],
)
def test_which_znode_is_ours(known: KnownState, look: Look, expected: bool) -> None:
    assert is_ours(known, look) is expected

"""The checker of watch histories: the histories that it accepts, and those that it refuses."""

from __future__ import annotations

import pytest

from tests.client.watch_history import (
    CHANGED,
    CHILDREN,
    CREATED,
    DELETED,
    RESYNC,
    Change,
    ReceivedEvent,
    Record,
    Watch,
)
from zkrecipes.enums import EventType

# A history is one line. Changes are c(reated), d(eleted), s(et) of /n, or k(id created), each done
# immediately. Events of the watch are C, D, S, K, or R for a RESYNC. A | marks the entering of the watch.
CHANGES = {"c": (CREATED, "/n"), "d": (DELETED, "/n"), "s": (CHANGED, "/n"), "k": (CREATED, "/n/kid")}
TOLD: dict[str, EventType] = {"C": CREATED, "D": DELETED, "S": CHANGED, "K": CHILDREN, "R": RESYNC}


def watch_of(kind: str, history: str) -> Watch:
    record = Record()
    watch = Watch(record, kind, "/n")
    for letter in history:
        if letter == "|":
            watch.entered = record.moment()
        elif letter in CHANGES:
            record.changes.append(Change(*CHANGES[letter], record.moment(), record.moment()))
        else:
            watch.received.append(ReceivedEvent(TOLD[letter], "/n", record.moment()))
    return watch


@pytest.mark.parametrize(
    "history", ["|", "|sS", "|ssSS", "|sSsS", "s|", "s|S", "s|sS", "|kK", "|csdCSD", "c|ssSS"]
)
def test_a_persistent_watch_yields_each_change_in_order_and_once(history: str) -> None:
    assert watch_of("persistent", history).complaint(0) is None


@pytest.mark.parametrize(
    "history", ["|R", "|sR", "|sSsR", "|sRsS", "|ssSRsS", "|sdRcC", "|sRS", "|sRsRsS", "|sSRR", "|ssSR"]
)
def test_it_yields_resync_for_the_changes_that_it_may_have_missed(history: str) -> None:
    assert watch_of("persistent", history).complaint(2) is None


@pytest.mark.parametrize(
    "history",
    [
        "|s",
        "|ssS",
        "|S",
        "|sSS",
        "|sdDS",
        "|Rs",
        "|sRs",
        "|sSRss",
        "|RsRssS",
        "|csdCD",
        "s|sSSS",
        "|sD",
        "|kS",
    ],
)
def test_what_is_lost_invented_repeated_or_out_of_order_is_found(history: str) -> None:
    assert watch_of("persistent", history).complaint(2) is not None


@pytest.mark.parametrize(("history", "is_wrong"), [("|R", True), ("|sR", True), ("|sS", False)])
def test_without_a_reconnect_there_is_no_resync(history: str, is_wrong: bool) -> None:
    assert (watch_of("persistent", history).complaint(0) is not None) == is_wrong


@pytest.mark.parametrize(
    ("kind", "history", "is_wrong"),
    [
        ("data", "|", False),
        ("data", "|sS", False),
        ("data", "s|S", False),
        ("data", "|s", True),
        ("data", "|S", True),
        ("data", "|kS", True),
        ("exists", "|cC", False),
        ("exists", "|c", True),
        ("children", "|kK", False),
        ("children", "|sK", True),
        ("children", "|k", True),
        ("children", "|s", False),
    ],
)
def test_a_one_shot_watch_fires_if_and_only_if_something_may_have_changed(
    kind: str, history: str, is_wrong: bool
) -> None:
    assert (watch_of(kind, history).complaint(1) is not None) == is_wrong


def test_a_change_that_was_done_before_the_watch_was_asked_for_explains_nothing() -> None:
    record = Record()
    record.changes.append(Change(CHANGED, "/n", record.moment(), record.moment()))
    watch = Watch(record, "data", "/n")
    watch.entered = record.moment()
    assert watch.complaint(0) is None
    watch.received.append(ReceivedEvent(CHANGED, "/n", record.moment()))
    assert watch.complaint(0) is not None


def test_a_watch_that_has_no_answer_while_all_is_at_rest_is_lost() -> None:
    assert Watch(Record(), "data", "/n").complaint(0) is not None


def test_an_emulated_watch_reports_at_least_one_of_its_changes() -> None:
    assert watch_of("persistent", "|ssS").complaint(0, is_emulated=True) is None
    assert watch_of("persistent", "|ss").complaint(0, is_emulated=True) is not None

"""The log while no server can be reached."""

from __future__ import annotations

import logging

import pytest

from zkrecipes.net.failed_passes import PassReports


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_the_first_failure_is_logged_at_once_with_the_next_step(caplog: pytest.LogCaptureFixture) -> None:
    PassReports().note_failure({"a:1": "refused", "b:2": "no answer"}, 1.25, now=0.0)
    text = "could not connect to any server: a:1: refused; b:2: no answer (retrying in 1.2 s)"
    assert _warnings(caplog) == [text]


def test_repeated_failures_are_logged_ever_more_rarely_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reports = PassReports()
    for tenths in range(3600):
        # a longer wait is not a new reason
        reports.note_failure({"a:1": f"no answer within {tenths} seconds"}, 0.1, now=tenths / 10)
    warnings = _warnings(caplog)
    assert len(warnings) == 10
    assert "(21 times so far; retrying in 0.1 s)" in warnings[1]
    assert len(caplog.records) == 3600


def test_another_reason_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    reports = PassReports()
    for reason in ("refused", "refused", "no answer", "refused", "no answer"):
        reports.note_failure({"a:1": reason}, 0.1, now=0.0)
    assert len(_warnings(caplog)) == 2


def test_reasons_that_keep_changing_are_logged_at_once_only_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reports = PassReports()
    for number in range(100):
        reports.note_failure({"a:1": chr(ord("A") + number)}, 0.1, now=0.0)
    assert len(_warnings(caplog)) == 10


def test_a_failure_after_a_success_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    reports = PassReports()
    for _ in range(2):
        reports.note_failure({"a:1": "refused"}, 0.1, now=0.0)
        reports.note_success()
    assert len(_warnings(caplog)) == 2
    assert "times so far" not in caplog.text

"""A whole client whose server is misheard: every call ends, and once the line is clear all is well again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.fuzz.corrupted_replies import run_world

WORLDS = 10
"""For each of the tests that share them: 2000 answers are mutated in all."""


@pytest.fixture(autouse=True)
def no_warnings_of_lost_connections() -> Iterator[None]:
    """There are thousands."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("share", range(10))
def test_a_client_survives_whatever_it_hears(share: int) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(share * WORLDS, (share + 1) * WORLDS):
        outcomes += run_world(number)
    # The mutations must neither be harmless nor leave nothing but errors.
    assert 0.2 < outcomes["result"] / outcomes.total() < 0.95, outcomes
    assert outcomes["ConnectionLossError"], outcomes


def test_a_world_is_the_same_each_time() -> None:
    assert run_world(1) == run_world(1)

"""A whole client whose replies are corrupted: every call ends, and the client recovers afterwards."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.fuzz.corrupted_replies import run_world
from tests.sweeps import sample

WORLDS = 10
"""The number of worlds for each test in a whole sweep; all tests together mutate 2000 chunks."""
SAMPLE = 4


@pytest.fixture(autouse=True)
def no_warnings_of_lost_connections() -> Iterator[None]:
    """Silence thousands of warnings."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.sweep
@pytest.mark.parametrize("share", range(10))
def test_a_client_survives_corrupted_replies(share: int) -> None:
    outcomes: Counter[str] = Counter()
    worlds = range(share * WORLDS, (share + 1) * WORLDS)
    for number in sample(worlds, SAMPLE, f"corrupted replies {share}"):
        outcomes += run_world(number)
    # The mutations must not be harmless, and must not cause only errors.
    assert 0.2 < outcomes["result"] / outcomes.total() < 0.95, outcomes
    assert outcomes["ConnectionLossError"], outcomes


def test_a_world_is_the_same_each_time() -> None:
    assert run_world(1) == run_world(1)

"""Generated histories of several sessions: the dev server sends the same frames as a real server.

A run is the same each time. Environment variables select more histories, or others:
`ZKRECIPES_DIFFERENTIAL_EXAMPLES=5000 ZKRECIPES_DIFFERENTIAL_SEED=7`. A history that fails is shrunk and
printed as a list of steps, which `@example` can keep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.devserver.differential.conftest import Pair, serving_pair
from tests.devserver.differential.known_differences import normalized, without_known_differences
from tests.devserver.differential.play import next_root, play
from tests.devserver.differential.steps import History, histories

pytestmark = pytest.mark.apache

EXAMPLES = int(os.environ.get("ZKRECIPES_DIFFERENTIAL_EXAMPLES", "200"))
SEED = int(os.environ.get("ZKRECIPES_DIFFERENTIAL_SEED", "0"))


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two separate servers: a session left by another test would expire in the middle of a history."""
    with serving_pair() as pair:
        yield pair


@pytest.mark.timeout(400 + EXAMPLES)  # the first is for shrinking a history that fails
@seed(SEED)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(histories())
def test_both_servers_say_the_same_in_a_history(pair: Pair, history: History) -> None:
    history = without_known_differences(history, pair.version)
    root = next_root()
    from_apache = play(history, pair.apache, root)
    from_dev = play(history, pair.dev, root)
    alike = [[normalized(each, pair.version) for each in answers] for answers in (from_apache, from_dev)]
    for number, (real, ours) in enumerate(zip(*alike, strict=True)):
        assert ours == real, (
            f"step {number} of a history of seed {SEED}, {real.step}, was answered otherwise\n"
            f"by Apache ZooKeeper {pair.version}: {real.frames}\n"
            f"by the dev server: {ours.frames}"
        )

"""The recipes of Curator without a counterpart here: two Java clients run each of them on the dev server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.interop.curator import CURATOR_JARS, require_curator
from tests.java_program import compile_java
from zkrecipes.devserver import DevServer
from zkrecipes.testing import ThreadedDevServer

pytestmark = pytest.mark.interop

RECIPES = [
    "CuratorCache",
    "DistributedAtomicLong",
    "DistributedAtomicValue",
    "DistributedDelayQueue",
    "DistributedIdQueue",
    "DistributedPriorityQueue",
    "DistributedQueue",
    "InterProcessMultiLock",
    "InterProcessSemaphoreMutex",
    "NodeCache",
    "PathChildrenCache",
    "PersistentNode",
    "PersistentTtlNode",
    "PersistentWatcher",
    "SharedCount",
    "SharedValue",
    "SimpleDistributedQueue",
    "TreeCache",
]
_LIMIT = 55


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The result of each recipe."""
    require_curator()
    source = Path(__file__).with_name("java") / "CuratorTour.java"
    program = compile_java("CuratorTour", [source], CURATOR_JARS, tmp_path_factory.mktemp("curator"))
    server = DevServer(tick_time=0.5, extended_types=True, container_check_interval=0.1)
    with ThreadedDevServer(server) as running:
        done = subprocess.run(
            program.command(running.connect_string),
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT,
        )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_of_curators_does_on_the_dev_server_what_it_promises(
    recipe: str, results: dict[str, str]
) -> None:
    assert results[recipe] == "ok"


def test_all_of_them_were_tried(results: dict[str, str]) -> None:
    assert sorted(results) == RECIPES

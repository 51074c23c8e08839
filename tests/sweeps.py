"""Sweeps: one check over many cases. `make test` draws a sample of them by a seed, `make sweep` tries all.

`SWEEP_SEED=7 make test` draws another sample. The header of the test run shows the seed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from random import Random
from typing import Final, TypeVar

__all__ = ["IS_WHOLE", "describe_sweeps", "sample"]

T = TypeVar("T")

IS_WHOLE: Final = os.environ.get("WHOLE_SWEEP") == "1"
"""Whether every sweep tries all of its cases."""
_SEED: Final = os.environ.get("SWEEP_SEED", "1")


def sample(cases: Sequence[T], count: int, name: str) -> list[T]:
    """Return `count` of the cases in their order, or all of them in a whole sweep.

    Args:
        cases: all cases.
        count: the size of the sample.
        name: the name of the sweep, so that two sweeps over the same cases draw different ones.
    """
    if IS_WHOLE or count >= len(cases):
        return list(cases)
    indices = Random(f"{_SEED}/{name}").sample(range(len(cases)), count)
    return [cases[index] for index in sorted(indices)]


def describe_sweeps() -> str:
    """Return a line for the header of the test run."""
    if IS_WHOLE:
        return "sweeps: all cases"
    return f"sweeps: a sample drawn by SWEEP_SEED={_SEED} (`make sweep` tries all cases)"

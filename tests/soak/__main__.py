"""`python -m tests.soak`: a soak on three real servers; `make soak` is the same.

The exit code is 1 if the soak found a fault.
"""

# ruff: noqa: T201 - a program

from __future__ import annotations

import argparse
import logging
import sys
import time
import uuid
from functools import partial

import anyio

from tests.conftest import JAVA_OPTIONS, PROPERTIES, SETTINGS
from tests.soak.run import Report, soak
from zkrecipes.ensemble import ApacheEnsemble


def main() -> int:
    """Run a soak, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="decides what is cut")
    parser.add_argument("--backend", choices=["trio", "asyncio"], default="trio")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # lost connections are intended
    print(f"seed {options.seed}, {options.minutes:g} minutes on {options.backend}", flush=True)
    report = anyio.run(_soak, options.seed, 60 * options.minutes, backend=options.backend)
    print(report)
    return 1 if report.faults else 0


async def _soak(seed: int, seconds: float) -> Report:
    servers = ApacheEnsemble(size=3, settings=SETTINGS, properties=PROPERTIES, java_options=JAVA_OPTIONS)
    root = f"/soak-{uuid.uuid4().hex[:8]}"
    async with servers as ensemble:
        return await soak(
            ensemble, root, seed=seed, seconds=seconds, pause_every=15, report_line=partial(print, flush=True)
        )


if __name__ == "__main__":
    sys.exit(main())

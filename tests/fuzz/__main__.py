"""Runs millions of fuzz cases on every processor: `python -m tests.fuzz`, or `make fuzz`.

Most cases test the client side; one in five hundred is a world of a whole client. The program stops at the
first case that fails, prints its name, and exits with code 1.
"""

# ruff: noqa: T201 - this is a program

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed

from tests.fuzz.cases import CONVERSATIONS, CaseError, run_case, run_cases
from tests.fuzz.corrupted_replies import run_world

_BATCH = 5_000
_WORLD_EVERY = 500
_REPORT_EVERY = 100_000


def main() -> int:
    """Run one case or many, and return the exit code."""
    options = _options()
    if options.case is not None:
        name, _, number = options.case.rpartition(":")
        run_case(CONVERSATIONS[name], int(number))
        print(f"{options.case}: nothing wrong")
        return 0
    if options.world is not None:
        print(f"world {options.world}: {dict(run_world(options.world))}")
        return 0
    return _run_many(options.cases, options.first, options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--cases", type=int, default=3_000_000, help="number of cases, over all conversations"
    )
    parser.add_argument("--first", type=int, default=int(time.time()) * 1000, help="the first case's number")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of processes")
    parser.add_argument("--case", help="run only this case, as a failure names it")
    parser.add_argument("--world", type=int, help="run only this world of a whole client")
    return parser.parse_args()


def _run_many(cases: int, first: int, jobs: int) -> int:
    begun, done = time.monotonic(), 0
    print(f"{cases} cases on {jobs} processes; numbers from --first {first}", flush=True)
    with ProcessPoolExecutor(jobs) as pool:
        batches: dict[Future[None], int] = {
            pool.submit(_run_batch, name, numbers): len(numbers) for name, numbers in _batches(cases, first)
        }
        for batch in as_completed(batches):
            try:
                batch.result()
            except CaseError:
                traceback.print_exc()
                pool.shutdown(cancel_futures=True)
                return 1
            done += batches[batch]
            if done // _REPORT_EVERY > (done - batches[batch]) // _REPORT_EVERY:
                print(f"{done} cases, {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{done} cases, {time.monotonic() - begun:.0f} s: nothing wrong")
    return 0


def _batches(cases: int, first: int) -> Iterator[tuple[str, range]]:
    """Generate the same numbers for each conversation in turn."""
    while cases > 0:
        for name in CONVERSATIONS:
            size = min(_BATCH, cases)
            if size > 0:
                yield name, range(first, first + size)
            cases -= size
        first += _BATCH


def _run_batch(name: str, numbers: range) -> None:
    logging.disable(logging.WARNING)  # refused sessions are what the worlds test
    run_cases(CONVERSATIONS[name], numbers)
    for number in range(numbers.start, numbers.stop, _WORLD_EVERY):
        # the conversations have the same numbers, so offset them
        run_world(number + list(CONVERSATIONS).index(name))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.fuzz`: millions of cases, on every processor; `make fuzz` is the same.

Most are of the client side, and one in five hundred is a world of a whole client. It ends with the first case
that fails, whose name is printed, and with exit code 1.
"""

# ruff: noqa: T201 - a program

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
_TOLD_EVERY = 100_000


def main() -> int:
    """Run one case or many; the exit code."""
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
        "--cases", type=int, default=3_000_000, help="how many, of all conversations together"
    )
    parser.add_argument("--first", type=int, default=int(time.time()) * 1000, help="the first case's number")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes")
    parser.add_argument("--case", help="run this one alone, as it was named by a failure")
    parser.add_argument("--world", type=int, help="run this world of a whole client alone")
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
            if done // _TOLD_EVERY > (done - batches[batch]) // _TOLD_EVERY:
                print(f"{done} cases, {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{done} cases, {time.monotonic() - begun:.0f} s: nothing wrong")
    return 0


def _batches(cases: int, first: int) -> Iterator[tuple[str, range]]:
    """The same numbers for each conversation, in turn."""
    while cases > 0:
        for name in CONVERSATIONS:
            size = min(_BATCH, cases)
            if size > 0:
                yield name, range(first, first + size)
            cases -= size
        first += _BATCH


def _run_batch(name: str, numbers: range) -> None:
    logging.disable(logging.WARNING)  # that no server attached a session is what it is about
    run_cases(CONVERSATIONS[name], numbers)
    for number in range(numbers.start, numbers.stop, _WORLD_EVERY):
        # each conversation comes with the same numbers
        run_world(number + list(CONVERSATIONS).index(name))


if __name__ == "__main__":
    sys.exit(main())

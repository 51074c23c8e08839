"""The workloads, with the number of their operations and of those in flight at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DATA: Final = b"x" * 100
READ_PATH: Final = "/bench/read"
LOCK_PATH: Final = "/bench/lock"
MADE_PATH: Final = "/bench/made"
WIDE_PATH: Final = "/bench/wide"
WATCHED_PATHS: Final = [f"/bench/watched/n{number:04}" for number in range(1000)]


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload: `times` operations, `window` of them (or contenders) at once."""

    name: str
    description: str
    times: int
    window: int
    servers: tuple[str, ...] = ("default",)


WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload("sequential_get", "one get of 100 bytes after another", 3000, 1),
        Workload("pipelined_get", "gets of 100 bytes, 1000 at once", 50_000, 1000, ("default", "w0")),
        Workload(
            "pipelined_create",
            "ephemeral sequential znodes of 100 bytes, 1000 at once",
            20_000,
            1000,
            ("w0",),
        ),
        Workload("multi_of_10", "transactions of ten creates, 100 at once", 3000, 100, ("w0",)),
        Workload("children_of_1000", "lists of 1000 names, 100 at once", 3000, 100, ("w0",)),
        Workload("watches_1000", "1000 watches of one client fire; p50 is of all of them", 1000, 1000),
        Workload("watches_200_clients", "one znode changes that 200 clients in a process watch", 200, 200),
        Workload("idle_clients", "200 clients in a process, doing nothing", 200, 200),
        Workload("lock_uncontended", "acquire and release, alone", 500, 1),
        Workload("lock_16_contenders", "acquire and release, 16 contenders on one client", 480, 16),
        Workload("lock_16_clients", "acquire and release, 16 contenders, each with a client", 480, 16),
        Workload(
            "lock_hand_off",
            "acquire and release, 2 contenders; p50 is from a release to the next acquire",
            300,
            2,
        ),
    )
}

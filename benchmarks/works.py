"""The works: what is measured, how often, and how many requests may be under way at once."""

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
class Work:
    """One work: `times` operations, `window` of them (or contenders) at once."""

    name: str
    says: str
    times: int
    window: int
    servers: tuple[str, ...] = ("default",)


WORKS: Final = {
    work.name: work
    for work in (
        Work("sequential_get", "one get of 100 bytes after the other", 3000, 1),
        Work("pipelined_get", "gets of 100 bytes, 1000 at once", 50_000, 1000, ("default", "w0")),
        Work(
            "pipelined_create",
            "ephemeral sequential znodes of 100 bytes, 1000 at once",
            20_000,
            1000,
            ("w0",),
        ),
        Work("multi_of_10", "transactions of ten creates, 100 at once", 3000, 100, ("w0",)),
        Work("children_of_1000", "lists of 1000 names, 100 at once", 3000, 100, ("w0",)),
        Work("watches_1000", "1000 watches of one client fire; p50 is of all of them", 1000, 1000),
        Work("watches_200_clients", "one znode changes that 200 clients in a process watch", 200, 200),
        Work("idle_clients", "200 clients in a process, doing nothing", 200, 200),
        Work("lock_uncontended", "acquire and release, alone", 500, 1),
        Work("lock_16_contenders", "acquire and release, 16 contenders on one client", 480, 16),
        Work("lock_16_clients", "acquire and release, 16 contenders, each with a client", 480, 16),
        Work("lock_hand_off", "the same with two; p50 is from a release to the next entry", 300, 2),
    )
}

"""Decides whether a client moves when the list of servers changes, so that all serve about as many clients.

Each client decides alone, at random, without knowing of the others, and yet no more clients move than must
(Shraer, Reed, Malkhi and Junqueira, "Dynamic Reconfiguration of Primary/Backup Clusters", USENIX ATC 2012,
section 4; the Java client's `StaticHostProvider.updateServerList` decides in the same way). The assumption is
that clients were spread evenly before; then each server's share is 1/(number of servers) afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Hashable, Sequence
from typing import TypeVar

__all__ = ["host_to_move_to"]

H = TypeVar("H", bound=Hashable)


def host_to_move_to(old: Collection[H], new: Sequence[H], current: H | None, rng: random.Random) -> H | None:
    """Return the server that a client should move to, or None if it should stay.

    Args:
        old: the servers until now.
        new: the servers from now on; at least one.
        current: the one of `old` that the client is attached to, or None.
        rng: draws the decision.
    """
    staying = [host for host in new if host in old]
    added = [host for host in new if host not in old]
    is_served = current in staying
    if not added:
        return None if is_served else rng.choice(staying)
    if len(new) > len(old):
        # each of the old servers keeps len(old) of its len(new) clients, and the others move to added servers
        if is_served and rng.random() < len(old) / len(new):
            return None
        return rng.choice(added)
    if is_served:
        return None
    return rng.choice(staying if rng.random() < _share_of_staying(old, new, staying) else added)


def _share_of_staying(old: Collection[H], new: Sequence[H], staying: Sequence[H]) -> float:
    """Return the part of the removed servers' clients that the staying servers need for a full share."""
    removed = len(old) - len(staying)
    if removed <= 0 or not staying:
        return 0.0
    # Each staying server has 1/len(old) of all clients and needs 1/len(new): this is the difference for all
    # staying servers, as a part of removed/len(old).
    return len(staying) * (len(old) - len(new)) / (len(new) * removed)

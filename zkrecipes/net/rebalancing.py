"""Who moves when the list of servers changes, so that all of them serve about as many clients afterwards.

Each client decides by itself, by chance: none knows of the others, and yet no more of them move than must
(Shraer, Reed, Malkhi and Junqueira, "Dynamic Reconfiguration of Primary/Backup Clusters", USENIX ATC 2012,
section 4; the Java client's `StaticHostProvider.updateServerList` does it). What must hold: clients were
spread evenly before, and each server's share is 1/(number of servers) afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Hashable, Sequence
from typing import TypeVar

__all__ = ["host_to_move_to"]

H = TypeVar("H", bound=Hashable)


def host_to_move_to(old: Collection[H], new: Sequence[H], current: H | None, rng: random.Random) -> H | None:
    """Where a client should go, or None if it should stay where it is.

    Args:
        old: the servers until now.
        new: the servers from now on; at least one.
        current: the one that the client is attached to; None if it is attached to none of `old`.
        rng: decides.
    """
    staying = [host for host in new if host in old]
    added = [host for host in new if host not in old]
    is_served = current in staying
    if not added:
        return None if is_served else rng.choice(staying)
    if len(new) > len(old):
        # each of the old ones keeps len(old) clients of len(new), and the rest goes to the added ones
        if is_served and rng.random() < len(old) / len(new):
            return None
        return rng.choice(added)
    if is_served:
        return None
    return rng.choice(staying if rng.random() < _share_of_staying(old, new, staying) else added)


def _share_of_staying(old: Collection[H], new: Sequence[H], staying: Sequence[H]) -> float:
    """Of those whose server is gone, the part that the servers that stay must take to have a full share."""
    gone = len(old) - len(staying)
    if gone <= 0 or not staying:
        return 0.0
    # Each that stays has 1/len(old) of all clients and shall have 1/len(new): the difference, for all that
    # stay, as a part of gone/len(old).
    return len(staying) * (len(old) - len(new)) / (len(new) * gone)

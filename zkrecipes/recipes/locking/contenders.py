"""Who stands in a queue: the contenders of a lock or an election, as anybody may see them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Node, recipe_api
from zkrecipes.enums import Perms
from zkrecipes.errors import NoNodeError
from zkrecipes.paths import join
from zkrecipes.recipes.locking.queue import LockQueue, QueueNode
from zkrecipes.recipes.locking.queue_order import QueuedName, in_order
from zkrecipes.recipes.locking.single_use import Holder

__all__ = [
    "Contender",
    "check_contender",
    "check_identifier",
    "contender_at",
    "leave_and_see",
    "list_contenders",
    "read_contenders",
]


@final
@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody in the queue of a lock or an election.

    Attributes:
        identifier: what the contender calls itself: its znode's data as text.
        path: its znode, as the client sees it.
        fencing_token: what its hold has, or will have.
        session_id: the session that owns its znode.
        data: its znode's data.
    """

    identifier: str
    path: str
    fencing_token: int
    session_id: int
    data: bytes = b""


async def list_contenders(queue: LockQueue) -> list[Contender]:
    """Everybody in the queue, first come first; empty where there is no queue yet."""
    try:
        children = await queue.client.get_children(queue.directory)
    except NoNodeError:
        return []
    return await read_contenders(queue, in_order(children, queue.layout))


async def read_contenders(queue: LockQueue, entries: Iterable[QueuedName]) -> list[Contender]:
    """The contenders behind these entries, without those that have left meanwhile."""
    paths = [join(queue.directory, entry.name) for entry in entries]
    async with queue.client.pipeline() as pipe:
        nodes = [pipe.get(path) for path in paths]
    found = []
    for path, node in zip(paths, nodes, strict=True):
        if isinstance(node.error, NoNodeError):
            continue
        found.append(contender_at(path, node.result()))
    return found


async def leave_and_see(place: QueueNode) -> Holder | None:
    """Leave the queue, and return the contender that was first in it, as read in the same round trip.

    None if there is none in front; without an identifier if it has gone, or cannot be read now.
    """
    path, asked = place.first, place.read_first()
    is_first = path == place.path
    await place.leave()
    if asked is not None and not asked.is_done:
        asked.drop()
    if not path or is_first:
        return None
    if asked is not None and asked.is_done and asked.error is None:
        return Holder(path, contender_at(path, asked.result()).identifier)
    if place.watched is not None and place.watched[0] == path:
        return Holder(path, contender_at(*place.watched).identifier)
    return Holder(path, None)


def contender_at(path: str, node: Node) -> Contender:
    """The contender whose znode was read; data that are no text are shown with replacement characters."""
    data = b"" if node.data is None else node.data
    identifier = data.decode(errors="replace")
    return Contender(identifier, path, node.stat.czxid, node.stat.ephemeral_owner, data)


def check_identifier(identifier: str | None) -> str:
    """What a contender calls itself: host and process id unless it is told.

    Raises:
        TypeError: it is not a string.
        ValueError: it cannot be written in UTF-8.
    """
    if identifier is None:
        return f"{socket.gethostname()}:{os.getpid()}"
    if not isinstance(identifier, str):
        raise TypeError(f"an identifier is a str, not {type(identifier).__name__}: {identifier!r}")
    identifier.encode()
    return identifier


def check_contender(
    client: Client, path: str, data: bytes, acl: Sequence[ACL] | None
) -> Sequence[ACL] | None:
    """Return `acl` if contenders can have it, and can hold `data`.

    Raises:
        TypeError: the data are not bytes.
        ValueError: there are too many of them; or nobody could read the contenders, and the checks that prove
            a hold would be refused.
    """
    operations = recipe_api(client).operations
    operations.create(path, data, acl=acl)
    entries = operations.default_acl if acl is None else acl
    if not any(entry.perms & Perms.READ for entry in entries):
        raise ValueError(f"the ACL of a lock must give its owner READ: {entries!r}")
    return acl

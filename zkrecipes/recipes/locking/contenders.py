"""The contenders of a lock or an election, as any client can read them, and checks of their arguments."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Node, recipe_api
from zkrecipes.enums import Perms
from zkrecipes.errors import NoNodeError
from zkrecipes.paths import join
from zkrecipes.recipes.locking.queue import LockQueue, QueueNode
from zkrecipes.recipes.locking.queue_order import QueuedName, in_order

__all__ = [
    "Contender",
    "Holder",
    "check_contender",
    "check_identifier",
    "leave_and_read_holder",
    "list_contenders",
    "read_contenders",
    "to_contender",
]


@final
@dataclass(frozen=True, slots=True)
class Contender:
    """A contender in the queue of a lock or an election.

    Attributes:
        identifier: the contender's name for itself: its znode's data as text.
        path: its znode, as the client sees it.
        fencing_token: the token of its hold, or of the hold that it waits for.
        session_id: the session that owns its znode.
        data: its znode's data.
    """

    identifier: str
    path: str
    fencing_token: int
    session_id: int
    data: bytes = b""


@final
class Holder(NamedTuple):
    """The first contender in the queue when another contender gave up."""

    path: str
    identifier: str | None
    """The first contender's identifier; None if it could not be read."""


async def list_contenders(queue: LockQueue) -> list[Contender]:
    """Return the contenders in the queue, first come first; an empty list if the directory does not exist."""
    try:
        children = await queue.client.get_children(queue.directory)
    except NoNodeError:
        return []
    return await read_contenders(queue, in_order(children, queue.layout))


async def read_contenders(queue: LockQueue, names: Iterable[QueuedName]) -> list[Contender]:
    """Return the contenders with these names, except those that have left since the names were listed."""
    paths = [join(queue.directory, each.name) for each in names]
    async with queue.client.pipeline() as pipe:
        nodes = [pipe.get(path) for path in paths]
    found = []
    for path, node in zip(paths, nodes, strict=True):
        if isinstance(node.error, NoNodeError):
            continue
        found.append(to_contender(path, node.result()))
    return found


async def leave_and_read_holder(node: QueueNode) -> Holder | None:
    """Leave the queue, and return its first contender, read in the same round trip.

    Returns:
        None if no contender was in front. The identifier is None if the first contender has left, or could
        not be read in time.
    """
    path, read = node.first, node.read_first()
    is_first = path == node.path
    await node.leave()
    if read is not None and not read.is_done:
        read.drop()
    if not path or is_first:
        return None
    if read is not None and read.is_done and read.error is None:
        return Holder(path, to_contender(path, read.result()).identifier)
    if node.watched is not None and node.watched[0] == path:
        return Holder(path, to_contender(*node.watched).identifier)
    return Holder(path, None)


def to_contender(path: str, node: Node) -> Contender:
    """Return the contender of a znode; bytes that are not UTF-8 become replacement characters."""
    data = b"" if node.data is None else node.data
    identifier = data.decode(errors="replace")
    return Contender(identifier, path, node.stat.czxid, node.stat.ephemeral_owner, data)


def check_identifier(identifier: str | None) -> str:
    """Return the identifier of a contender: by default the host name and the process id.

    Raises:
        TypeError: `identifier` is not a string.
        ValueError: `identifier` cannot be encoded in UTF-8.
    """
    if identifier is None:
        return f"{socket.gethostname()}:{os.getpid()}"
    if not isinstance(identifier, str):
        raise TypeError(f"identifier must be a str, not {type(identifier).__name__}: {identifier!r}")
    identifier.encode()
    return identifier


def check_contender(
    client: Client, path: str, data: bytes, acl: Sequence[ACL] | None
) -> Sequence[ACL] | None:
    """Return `acl` if a contender with this ACL and data can be created and can prove its hold.

    Raises:
        TypeError: the data is not bytes.
        ValueError: the data is too large; or the ACL does not give READ, so that the checks that prove a hold
            would be refused.
    """
    api = recipe_api(client)
    api.operations.create(path, data, acl=acl)
    entries = api.default_acl if acl is None else acl
    if not any(entry.perms & Perms.READ for entry in entries):
        raise ValueError(f"the ACL of a lock must give its owner READ, got {entries!r}")
    return acl

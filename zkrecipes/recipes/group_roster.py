"""The members of a group, kept up to date while znodes of its directory change."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, final

from zkrecipes.client.client import Client
from zkrecipes.paths import join
from zkrecipes.recipes.following.snapshots import Snapshot, SnapshotDict
from zkrecipes.recipes.following.tree_follower import TreeNode
from zkrecipes.recipes.group_layouts import GroupLayout
from zkrecipes.recipes.znodes.unexpected_children import is_first_report

__all__ = ["Member", "MemberData", "Roster"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_OWNER_OF_CONTAINER: Final = -(2**63)
"""The owner in the stat of a container (`EphemeralType.CONTAINER_EPHEMERAL_OWNER`)."""


class Member(NamedTuple):
    """The data of a member, and the creation of its znode."""

    data: bytes
    czxid: int


@final
class Roster:
    """The members by name.

    If several znodes have the same member name, as kazoo's may, the newest one counts.

    Args:
        client: the client for which each unexpected znode is logged once.
        directory: the path of the group.
        layout: the names of the members' znodes.
    """

    def __init__(self, client: Client, directory: str, layout: GroupLayout) -> None:
        self._client = client
        self._directory = directory
        self._layout = layout
        self._znodes: dict[str, dict[str, Member]] = {}  # by name of the member, then of the znode
        self._members: SnapshotDict[Member] = SnapshotDict()

    def put(self, znode: str, found: TreeNode | None) -> None:
        """Record the new state of a znode of the directory; None means that it was deleted."""
        name = self._layout.member_name(znode)
        if name is None:
            if found is not None:
                self.log_once(znode, "its name is not that of a member")
            return
        znodes = self._znodes.setdefault(name, {})
        if found is None:
            znodes.pop(znode, None)
        elif found.stat.ephemeral_owner in (0, _OWNER_OF_CONTAINER):
            self.log_once(znode, "it is not ephemeral")
            znodes.pop(znode, None)
        else:
            znodes[znode] = Member(found.data, found.stat.czxid)
        if znodes:
            self._members[name] = max(znodes.values(), key=lambda member: member.czxid)
        else:
            del self._znodes[name]
            self._members.discard(name)

    def snapshot(self) -> Snapshot[Member]:
        """Return the members by name."""
        return self._members.snapshot()

    def log_once(self, znode: str, why: str) -> None:
        """Log, once for each client, the reason why a znode is left out."""
        path = join(self._directory, znode)
        if is_first_report(self._client, self._directory, f"/{znode}"):
            logger.warning(
                "%s is not a member of the group (ignoring it): %s", path, why, extra={"path": path}
            )


@final
class MemberData(Mapping[str, bytes]):
    """The data of each member by name. It never changes."""

    __slots__ = ("_members",)

    def __init__(self, members: Snapshot[Member]) -> None:
        self._members = members

    def __getitem__(self, name: str) -> bytes:
        return self._members[name].data

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return repr(dict(self))

"""Group: who is there, with what data, and what changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Node, Pending, async_block, check_client, recipe_api
from zkrecipes.errors import NoAuthError, NoNodeError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.following.latest_value import LatestReader
from zkrecipes.recipes.following.snapshots import Snapshot
from zkrecipes.recipes.following.tree_follower import TreeFollower, TreeNode, View
from zkrecipes.recipes.following.windowed import ask_each
from zkrecipes.recipes.group_layouts import GroupLayoutName, group_layout
from zkrecipes.recipes.group_roster import Member, MemberData, Roster
from zkrecipes.recipes.persistent_node import OnConflict, PersistentNode

__all__ = ["Group", "GroupChange", "GroupChanges"]


@final
@dataclass(frozen=True, slots=True)
class GroupChange:
    """The group as it is now, and how it differs from the change that was handed out before.

    Attributes:
        members: each member's data, by name; it never changes. Beyond 512 members the order means nothing.
        joined: names that were not there before.
        left: names that are no longer there.
        updated: names whose data are others, or who left and came back meanwhile.
    """

    members: Mapping[str, bytes]
    joined: frozenset[str]
    left: frozenset[str]
    updated: frozenset[str]


@final
class Group:
    """The members of a group, each an ephemeral znode: who is there, with what data, and what changes.

        group = zk.Group(client, "/workers")
        async with group.join("worker-7", b"10.0.0.7:9000"):
            async with group.changes() as changes:
                async for change in changes:
                    print(sorted(change.members), change.joined, change.left)

    Building it does no I/O, and tasks may share it. Children of the directory that are no members' (they are
    not ephemeral, or named otherwise) are ignored, and named in the log once.

    A member's znode is there until its session has expired: a member that died is seen up to a session
    timeout longer, and one that lives may be gone for a moment while its session is renewed. Whoever must be
    alone needs a lock or an election.

    Args:
        client: whose sessions hold the memberships.
        path: a directory of its own, made when somebody joins; no other data belongs there.
        layout: `"curator"`, the default: a member's znode has the member's name, as with Curator's
            `GroupMember`; `"kazoo"`: as with kazoo's `ShallowParty`. kazoo's own members may share a name:
            then the newest of them is shown.
        acl: of the members' znodes; it must give their owner READ. None: the client's default.

    Raises:
        ValueError: the path or the layout cannot be right.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        layout: GroupLayoutName = "curator",
        acl: Sequence[ACL] | None = None,
    ) -> None:
        check_client(client)
        self.path: str = check_path(path)
        self._client = client
        self._layout = group_layout(layout)
        self._acl = acl

    def join(self, name: str, data: bytes = b"", *, on_conflict: OnConflict = "wait") -> PersistentNode:
        """Be a member for as long as the block runs: `async with group.join("worker-7", b"…") as member`.

        Entering waits until the membership is there. It is put back by itself in a new session, and when
        somebody deletes it. `await member.update(data)` changes its data.

        Args:
            name: unique among the members, and without a slash.
            data: what the others see.
            on_conflict: what to do while somebody else holds the name, as after the restart of a pod whose
                old session still lives: `"wait"` until it goes, and log its owner and age; `"raise"`; or
                `"replace"` it.

        Raises:
            ValueError: the name cannot be a znode's, or there is too much data.

        Entering raises:
            NodeExistsError: somebody else holds the name, with `on_conflict="raise"`.
            ZooKeeperError: the server refused, or the client is over.

        Cancellation: no znode is left behind; the removal goes on in the background.
        """
        path = join(self.path, self._layout.node_name(name))
        return PersistentNode(
            self._client,
            path,
            data,
            on_conflict=on_conflict,
            acl=self._acl,
            container=self._layout.is_container,
        )

    async def members(self) -> dict[str, bytes]:
        """Everybody's data, by name; empty where there is no group yet.

        As the server knows it that the client is attached to, which may lag: `client.sync` lets it catch up.

        Raises:
            NoAuthError: the directory may not be listed. A member that may not be read is left out.
        """
        try:
            nodes = await self._client.get_children(self.path)
        except NoNodeError:
            return {}
        roster, api = self._roster(), recipe_api(self._client)

        async def take(node: str, pending: Pending[Node]) -> None:
            try:
                data, stat = await pending.wait()
            except NoNodeError:
                return
            except NoAuthError:
                roster.log_once(node, "it may not be read")
                return
            roster.put(node, TreeNode(b"" if data is None else data, stat))

        operations = api.operations.for_listed()
        await ask_each(nodes, lambda node: api.submit(operations.get(join(self.path, node))), take)
        return dict(MemberData(roster.snapshot()))

    @async_block("group.changes()", "changes")
    async def changes(self) -> AsyncIterator[GroupChanges]:
        """Follow the group: an async iterator that begins with the group as it is.

        A slow reader gets the newest state, and what happened meanwhile is folded into one change. Nothing is
        lost across reconnects and new sessions. Several tasks need a block each.

        Entering raises:
            ZooKeeperError: the client is over.
        """
        follower = TreeFollower(self._client, self.path, is_group=True)
        async with recipe_api(self._client).background(follower.run):
            yield GroupChanges(self._roster(), follower.views.reader())

    async def wait_for(self, count: int) -> dict[str, bytes]:
        """Wait until the group has at least `count` members, and return their data by name.

        Raises:
            ValueError: `count` is below 1.
            ZooKeeperError: the group may not be listed, or the client is over.
        """
        if count < 1:
            raise ValueError(f"a group is waited for from 1 member on, not {count!r}")
        async with self.changes() as changes:
            while True:
                members = (await anext(changes)).members
                if len(members) >= count:
                    return dict(members)

    def __repr__(self) -> str:
        return f"<Group {self.path}>"

    def _roster(self) -> Roster:
        return Roster(self._client, self.path, self._layout)


@final
class GroupChanges:
    """The changes of a group, as an async iterator; it ends only with the block or the client."""

    def __init__(self, roster: Roster, views: LatestReader[View]) -> None:
        self._roster = roster
        self._views = views
        self._seen: View = Snapshot()
        self._last: Snapshot[Member] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GroupChange:
        """The next change; the first one tells the group as it is.

        Raises:
            NoAuthError: the directory may not be listed.
            RuntimeError: the block has been left.
            ZooKeeperError: the client is over.

        Cancellation: no change is lost.
        """
        while True:
            view = await anext(self._views)
            for znode, _, found in view.changes_since(self._seen):
                self._roster.put(znode, found)
            self._seen = view
            change = _compare(self._last or Snapshot(), members := self._roster.snapshot())
            is_first, self._last = self._last is None, members
            if is_first or change.joined or change.left or change.updated:
                return change


def _compare(old: Snapshot[Member], new: Snapshot[Member]) -> GroupChange:
    joined, left, updated = set(), set(), set()
    for name, was, now in new.changes_since(old):
        if was is None:
            joined.add(name)
        elif now is None:
            left.add(name)
        elif was != now:
            updated.add(name)
    return GroupChange(
        members=MemberData(new),
        joined=frozenset(joined),
        left=frozenset(left),
        updated=frozenset(updated),
    )

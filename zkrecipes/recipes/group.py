"""Group: the members of a group, their data, and their changes."""

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
from zkrecipes.recipes.following.windowed_reads import ask_each
from zkrecipes.recipes.group_layouts import GroupLayoutName, group_layout
from zkrecipes.recipes.group_roster import Member, MemberData, Roster
from zkrecipes.recipes.persistent_node import OnConflict, PersistentNode

__all__ = ["Group", "GroupChange", "GroupChanges"]


@final
@dataclass(frozen=True, slots=True)
class GroupChange:
    """The current group, and its differences from the previous item.

    Attributes:
        members: the data of each member, by name. It never changes. Beyond 512 members the order of its keys
            has no meaning.
        joined: the names of new members.
        left: the names of members that left.
        updated: the names of members whose data changed, or that left and joined again.
    """

    members: Mapping[str, bytes]
    joined: frozenset[str]
    left: frozenset[str]
    updated: frozenset[str]


@final
class Group:
    """The members of a group and their data; each member is an ephemeral znode.

        group = zk.Group(client, "/workers")
        async with group.join("worker-7", b"10.0.0.7:9000"):
            async with group.changes() as changes:
                async for change in changes:
                    print(sorted(change.members), change.joined, change.left)

    Creating the object does no I/O, and tasks may share it. Children of the directory that are not members
    (they are not ephemeral, or have other names) are ignored, and logged once.

    A member's znode exists until its session expires: a member that died is listed for up to a session
    timeout longer, and a living member may be absent briefly while its session is renewed. A member that must
    be the only one needs a lock or an election.

    Args:
        client: the client whose sessions own the memberships.
        path: a directory for this group alone, created when the first member joins.
        layout: the names of the znodes. `"curator"`, the default, is the layout of Curator's `GroupMember`:
            the znodes have the names of the members. `"kazoo"` is the layout of kazoo's `ShallowParty`, whose
            members may share a name; then the newest of them is shown.
        acl: the ACL of the members' znodes; it must give their owner READ. None: the client's default.

    Raises:
        ValueError: the path or the layout is invalid.
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
        """Join the group for as long as the block runs: `async with group.join("worker-7", b"…") as member`.

        Entering waits until the member's znode exists. It is created again automatically in a new session,
        and after a deletion. `await member.update(data)` changes its data.

        Args:
            name: the name of the member, unique in the group and without a slash.
            data: the data that other clients see.
            on_conflict: what to do while another session holds the name, for example the old session of a
                restarted pod. `"wait"`: log the owner and age of its znode, and wait until it is deleted.
                `"raise"`: raise `NodeExistsError`. `"replace"`: delete it.

        Raises:
            ValueError: the name is not a valid znode name, or there is too much data.

        Entering raises:
            NodeExistsError: another session holds the name, with `on_conflict="raise"`.
            ZooKeeperError: the server refused, or the client has ended.

        Cancellation: no znode is left behind; the removal continues in the background.
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
        """Return the data of each member, by name; empty if the directory does not exist yet.

        The server that the client is attached to may lag; `client.sync` lets it catch up.

        Raises:
            NoAuthError: the server does not permit listing the directory. A member whose ACL does not permit
                READ is left out.
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
                roster.log_once(node, "its ACL does not permit READ")
                return
            roster.put(node, TreeNode(b"" if data is None else data, stat))

        operations = api.operations_for_listed
        await ask_each(nodes, lambda node: api.submit(operations.get(join(self.path, node))), take)
        return dict(MemberData(roster.snapshot()))

    @async_block("group.changes()", "changes")
    async def changes(self) -> AsyncIterator[GroupChanges]:
        """Follow the group: the block gets an async iterator whose first item is the current group.

        A slow reader gets the newest state, in one change for everything that happened since. Nothing is lost
        across reconnects and new sessions. Each task needs a separate block.

        Entering raises:
            ZooKeeperError: the client has ended.
        """
        follower = TreeFollower(self._client, self.path, is_group=True)
        async with recipe_api(self._client).background(follower.run):
            yield GroupChanges(self._roster(), follower.views.reader())

    async def wait_for(self, count: int) -> dict[str, bytes]:
        """Wait until the group has at least `count` members, and return their data by name.

        Raises:
            ValueError: `count` is below 1.
            ZooKeeperError: the server does not permit listing the group, or the client has ended.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count!r}")
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
    """An async iterator of the changes of a group; only the end of the block or of the client ends it."""

    def __init__(self, roster: Roster, views: LatestReader[View]) -> None:
        self._roster = roster
        self._views = views
        self._seen: View = Snapshot()
        self._last: Snapshot[Member] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GroupChange:
        """Return the next change; the first one has the current group.

        Raises:
            NoAuthError: the server does not permit listing the directory.
            RuntimeError: the block has been left.
            ZooKeeperError: the client has ended.

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

"""The names that kazoo and Curator give to the znodes of group members, in one table.

Read in kazoo 2.11 (`kazoo/recipe/party.py`) and Curator 5.7 (`GroupMember.java`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, final
from uuid import UUID, uuid5

from zkrecipes.paths import check_name

__all__ = ["CURATOR_GROUP", "KAZOO_GROUP", "GroupLayout", "GroupLayoutName", "group_layout"]

GroupLayoutName = Literal["curator", "kazoo"]
"""The layouts of groups."""

_NAMESPACE: Final = UUID("b6d4a5c8-0f0e-5c0b-9f7e-3d1f7c2a9e41")
_NODE: Final = re.compile("[0-9a-f]{32}-(.*)", re.DOTALL)


@final
@dataclass(frozen=True, slots=True)
class GroupLayout:
    """The names of the members' znodes in a group's directory.

    Attributes:
        name: the name of the layout.
        has_guid: whether 32 hex digits and a dash precede the member's name.
        is_container: whether the directory is a container, if the server has containers. A kazoo member
            remembers that it has created the directory, and could not join again after the server removed it.
    """

    name: str
    has_guid: bool
    is_container: bool

    def node_name(self, member: str) -> str:
        """Return the name of a member's znode.

        The digits are derived from the name, so two of our members with the same name use the same znode.
        kazoo draws random digits, and does not notice two members with the same name.

        Raises:
            ValueError: the name is not a valid znode name.
        """
        check_name(member)
        return f"{uuid5(_NAMESPACE, member).hex}-{member}" if self.has_guid else member

    def member_name(self, node: str) -> str | None:
        """Return the name of the member whose znode this is, or None if it does not have a member's name."""
        if not self.has_guid:
            return node
        found = _NODE.fullmatch(node)
        return None if found is None else found.group(1)


CURATOR_GROUP: Final = GroupLayout("curator", has_guid=False, is_container=True)
"""`<name>`, with the member's data: Curator's `GroupMember`."""
KAZOO_GROUP: Final = GroupLayout("kazoo", has_guid=True, is_container=False)
"""`<32 hex digits>-<name>`: kazoo's `ShallowParty`, which writes its name as data."""

_GROUPS: Final = {layout.name: layout for layout in (CURATOR_GROUP, KAZOO_GROUP)}


def group_layout(name: str) -> GroupLayout:
    """Return the layout of this name.

    Raises:
        ValueError: no layout has this name.
    """
    try:
        return _GROUPS[name]
    except KeyError:
        raise ValueError(f"layout must be one of {', '.join(sorted(_GROUPS))}, not {name!r}") from None

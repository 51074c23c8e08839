"""How other clients name the znodes of a group's members, in one table.

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
        name: what the layout is called.
        has_guid: whether 32 hex digits and a dash stand before the member's name.
        is_container: whether the directory is a container where the server has them. kazoo's members remember
            that they have made it, and could not join again if it went.
    """

    name: str
    has_guid: bool
    is_container: bool

    def node_name(self, member: str) -> str:
        """The name of a member's znode.

        The digits are made of the name, so that of our members two of one name meet at one znode. kazoo draws
        them, and does not notice two of one name.

        Raises:
            ValueError: no znode can have this name.
        """
        check_name(member)
        return f"{uuid5(_NAMESPACE, member).hex}-{member}" if self.has_guid else member

    def member_name(self, node: str) -> str | None:
        """The name of the member whose znode this is, or None for a znode that is no member's."""
        if not self.has_guid:
            return node
        found = _NODE.fullmatch(node)
        return None if found is None else found.group(1)


CURATOR_GROUP: Final = GroupLayout("curator", has_guid=False, is_container=True)
"""`<name>`, the data is the member's: Curator's `GroupMember`."""
KAZOO_GROUP: Final = GroupLayout("kazoo", has_guid=True, is_container=False)
"""`<32 hex digits>-<name>`: kazoo's `ShallowParty`, whose own data are its name."""

_GROUPS: Final = {layout.name: layout for layout in (CURATOR_GROUP, KAZOO_GROUP)}


def group_layout(name: str) -> GroupLayout:
    """The layout of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        return _GROUPS[name]
    except KeyError:
        raise ValueError(f"unknown layout {name!r}: one of {', '.join(sorted(_GROUPS))}") from None

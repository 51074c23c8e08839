"""Where the members of a double barrier meet: who is there, and what the directory tells of departures.

The znodes and what they mean are described in `zkrecipes.recipes.passage`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Stat, recipe_api
from zkrecipes.errors import NoAuthError, NoNodeError, TransactionError
from zkrecipes.paths import join
from zkrecipes.recipes.strangers import name_once

__all__ = ["READY", "MeetingPlace", "View", "departures_since", "gone_silently", "is_member"]

READY: Final = "ready"
_MEMBER: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_COUNTER: Final = 2**31
"""A count of departures is known modulo this: the counters are 32 bits wide, and one counts by two."""


def is_member(name: str) -> bool:
    """Whether a child of the directory is a member: a UUID with dashes, as Curator's are."""
    return _MEMBER.fullmatch(name) is not None


def gone_silently(directory: Stat) -> int:
    """How many children of the directory ever went without a goodbye, from one stat."""
    gone = (directory.cversion - directory.num_children) // 2
    return (gone - directory.version) % _COUNTER


def departures_since(now: int, before: int) -> int:
    """How many have gone from one count of departures to a later one."""
    return (now - before) % _COUNTER


@final
class View(NamedTuple):
    """The directory's children and its stat, as of one moment; None where there is no directory."""

    children: list[str]
    directory: Stat | None


@final
class MeetingPlace(NamedTuple):
    """Where members meet, and on what terms.

    `directory` is made when it is missing. `data` and `acl` are those of the members' znodes. `is_told` says
    whether the loss of another member is an error.
    """

    client: Client
    directory: str
    parties: int
    data: bytes
    acl: Sequence[ACL] | None
    is_told: bool

    @property
    def ready(self) -> str:
        """The path of the znode that lets members in."""
        return join(self.directory, READY)

    def path_of(self, name: str) -> str:
        """The path of a member."""
        return join(self.directory, name)

    async def look(self, *, caught_up: bool = False) -> View:
        """Who is there.

        Args:
            caught_up: let the server catch up with its leader first: one that lags would not show who has
                come meanwhile, nor what another server had forwarded.
        """
        if caught_up:
            api = recipe_api(self.client)
            api.submit(api.operations.sync(self.directory))
        try:
            return View(*await self.client.get_children_with_stat(self.directory))
        except NoNodeError:
            return View([], None)

    async def make_ready(self, silent: int | None, only_if_there: Iterable[str] = ()) -> None:
        """Let everybody in.

        Args:
            silent: how many had gone silently when they were counted: who goes after that is missed. None:
                it is not known.
            only_if_there: members that must be there still.

        Raises:
            NoNodeError: one of them is not.
            NodeExistsError: somebody was faster.
        """
        data = b"" if silent is None else b"%d" % silent
        try:
            async with self.client.transaction() as tx:
                for name in only_if_there:
                    tx.check(self.path_of(name))
                tx.create(self.ready, data)
        except TransactionError as error:
            if not isinstance(error.error, NoAuthError):
                raise error.error from None
            # A check needs READ, which somebody's ACL does not give: trust the count.
            await self.client.create(self.ready, data)

    def name_strangers(self, children: Iterable[str]) -> None:
        """Log who else is there, once: whoever wonders why nobody is let in looks there."""
        strangers = sorted(name for name in children if name != READY and not is_member(name))
        name_once(self.client, self.directory, strangers, "no member of a double barrier, and not counted")

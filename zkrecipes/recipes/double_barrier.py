"""DoubleBarrier: members begin together and end together."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Literal, final
from uuid import uuid4

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.errors import NoNodeError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.contenders import check_identifier
from zkrecipes.recipes.hold import left_elsewhere
from zkrecipes.recipes.meeting_place import MeetingPlace, is_member
from zkrecipes.recipes.passage import Passage
from zkrecipes.recipes.single_use import EnteredDirectly, SingleUse
from zkrecipes.recipes.task_stack import Entered, task_stack

__all__ = ["DoubleBarrier", "OnMemberLost"]

OnMemberLost = Literal["go_on", "raise"]
"""What leaving does when another member was lost inside."""


@final
class DoubleBarrier(EnteredDirectly["DoubleBarrier"]):
    """Runs a block in several processes that begin it together and end it together.

        async with zk.DoubleBarrier(client, "/steps/7", parties=3):
            ...  # runs when three have entered; is left when all of them are done

    Entering waits until `parties` members have entered; leaving waits until everybody has left who was
    inside. It may be entered again and again. `parties` is a threshold and no limit: who comes while the
    others are inside joins them at once, as the restarted process of a member that died should.

    **A member that dies keeps nobody waiting** once its session is over; before the block begins it just no
    longer counts. A member is lost when it went without having ended its block: its session expired, its
    block raised or was cancelled, or somebody deleted its znode.

    Building it does no I/O, and tasks may share it: each is a member of its own. Curator's
    `DistributedDoubleBarrier` may take part; kazoo's may not, as it opens and closes at other moments.

    Args:
        client: whose session the member lives in.
        path: a directory of its own, made when it is missing; no other data belongs there.
        parties: how many members have to be there before anybody is let in.
        identifier: what `members` shows of this one; host and process id by default.
        on_member_lost: what leaving does when another member was lost inside: `"go_on"` as if it had left, or
            `"raise"` `BrokenBarrierError` when all have gone. Give all members the same. For `"raise"` each
            must be one of zkrecipes, as Curator's do not say how they went; and the directory stays, which is
            a container otherwise (where the server has them).
        acl: of the member's znode. None: the client's default.

    Raises:
        ValueError: `parties` is below 1, or path, identifier, ACL or `on_member_lost` cannot be right.

    Entering raises:
        RuntimeError: the same task is in this very object already: it would wait for itself.
        ZooKeeperError: the server refused, or the client is over. A lost connection is settled, and an
            expired session entered for anew.

    Leaving raises:
        BrokenBarrierError: this member was no longer inside, whatever `on_member_lost` says: its session had
            expired, or its znode was deleted. Or another member was lost, with `"raise"`.
        The block's own error, bare and without waiting for anybody.

    Cancellation: no znode is left behind; the removal goes on in the background. A member that is cancelled
    inside is lost to the others; one that is cancelled while it waits for them has left.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        parties: int,
        identifier: str | None = None,
        on_member_lost: OnMemberLost = "go_on",
        acl: Sequence[ACL] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(parties, bool) or not isinstance(parties, int):
            raise TypeError(f"parties is a number of members, not {parties!r}")
        if parties < 1:
            raise ValueError(f"a double barrier has at least one party, not {parties}")
        if on_member_lost not in ("go_on", "raise"):
            raise ValueError(f"on_member_lost is 'go_on' or 'raise', not {on_member_lost!r}")
        self.path: str = check_path(path)
        self.parties = parties
        self.identifier: str = check_identifier(identifier)
        data = self.identifier.encode()
        self._api = recipe_api(client)
        # raises for what cannot be right
        self._api.operations.create(join(path, str(uuid4())), data, ephemeral=True, acl=acl)
        self._place = MeetingPlace(client, path, parties, data, acl, on_member_lost == "raise")

    def _new_use(self) -> _Membership:
        return _Membership(self, self._place, repr(self))

    async def members(self) -> list[str]:
        """The identifiers of who is there, inside or waiting, in order of arrival."""
        place = self._place
        try:
            names = [name for name in await place.client.get_children(place.directory) if is_member(name)]
        except NoNodeError:
            return []
        async with place.client.pipeline() as pipe:
            nodes = [pipe.get(join(place.directory, name)) for name in names]
        found = sorted(
            (node.result() for node in nodes if not isinstance(node.error, NoNodeError)),
            key=lambda node: node.stat.czxid,
        )
        return [(node.data or b"").decode(errors="replace") for node in found]

    def __repr__(self) -> str:
        return f"<DoubleBarrier {self.path} {self.identifier}>"


@final
class _Membership(SingleUse[DoubleBarrier]):
    """One member, in one task."""

    def __init__(self, barrier: DoubleBarrier, place: MeetingPlace, what: str) -> None:
        super().__init__(what)
        self._barrier = barrier
        self._place = place
        self._api = recipe_api(place.client)
        self._stack = task_stack(place.client)
        self._entered: Entered
        self._passage: Passage

    async def __aenter__(self) -> DoubleBarrier:
        self.enter_once()
        path = self._api.operations.full(self._place.directory)
        if self._stack.innermost(path) is not None:
            raise RuntimeError(f"this task is in {self.what} already: it would wait for itself")
        self._entered = Entered(path, self.task, self)
        self._stack.push(self._entered)
        self._passage = Passage(self._place)
        try:
            await self._passage.enter()
        except BaseException:
            self._stack.remove(self._entered)
            await self._api.clean_up(self._passage.withdraw)
            raise
        return self._barrier

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.remove(self._entered)
        if error is not None:
            await self._api.clean_up(self._passage.vanish)
        else:
            try:
                await self._passage.leave()
            except BaseException:
                await self._api.clean_up(self._passage.withdraw)
                raise
        if not self.task.is_current:
            outcome = left_elsewhere(self.what, None, error)
            if outcome is not error:
                raise outcome

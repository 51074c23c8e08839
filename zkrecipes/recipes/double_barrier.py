"""DoubleBarrier: members begin each round together and end it together.

Contains the public class: `double_barrier_member` does the steps of one member; `double_barrier_directory`
reads the znodes and sends the transactions.
"""

# The znodes, below the barrier's directory P:
#
#   P           the *record*: "5 open" or "6 closed". A round has begun or ended; the number is P's version.
#   P/<uuid>    a member: ephemeral; its name is never used again.
#   P/ready     exists while a round runs: persistent. It only makes members look, and proves nothing.
#
# The steps of a member, and the method that does each:
#
#   arrive      while a round runs, wait without a znode             BarrierMember._wait_while_round_runs
#   wait        create the znode; wait until a round has it          BarrierMember._wait_with_znode, next_step
#   begin       with `parties` members: check each member's znode,   BarrierDirectory.begin_round
#               write "open", create `ready`
#   enter       prove the hold, run the block                        BarrierMember.enter
#   leave       delete the znode (the first member by name keeps     BarrierMember.leave
#               it, as with Curator); wait for the others
#   end         when no other member is left: write "closed",        BarrierDirectory.end_round
#               delete `ready` and its znode
#   start over  the znode is in no round, or may be in the wrong     BarrierMember._delete_znode
#               one: delete it, and arrive again
#
# "begin" and "end" are one transaction each, and name the version of P that their client has read. So no two
# clients begin or end a round at the same time, and none acts on an old view. `docs/recipes/barrier.md`
# derives from this that no two rounds overlap, and describes the effect of members that run Curator's recipe.

from __future__ import annotations

from collections.abc import Sequence
from typing import final
from uuid import uuid4

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Guard, check_client, recipe_api
from zkrecipes.errors import BrokenBarrierError, NoAuthError, NoNodeError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.double_barrier_directory import BarrierDirectory, is_member, parties_max
from zkrecipes.recipes.double_barrier_member import BarrierMember
from zkrecipes.recipes.locking.acquisition import EnteredDirectly
from zkrecipes.recipes.locking.contenders import check_identifier
from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.locking.hold_block import HoldBlock
from zkrecipes.recipes.locking.single_use import GuardedUse

__all__ = ["DoubleBarrier"]


@final
class DoubleBarrier(EnteredDirectly[Hold]):
    """A block that the members of several processes begin together and end together.

        async with zk.DoubleBarrier(client, "/steps/7", parties=3):
            ...  # begins when three members have arrived; leaving waits until all of them are done

    A *round* begins when `parties` members are waiting; it includes every member that is waiting at that
    time. Leaving waits until each member of the round is out. A member that arrives while a round runs waits
    for the next one. No member is inside a round while another member is inside an earlier one. The object
    may be entered any number of times.

    **The block is guarded like a hold.** It is cancelled if the member can no longer be proven to be inside:
    the other members stop waiting for it when its session expires. If a member dies, the others wait for it
    no longer than that.

    Creating the object does no I/O. Tasks may share it: each task is a separate member. Curator's
    `DistributedDoubleBarrier` may take part, under its own rule; kazoo's `DoubleBarrier` may not.

    Args:
        client: the client whose session owns the member's znode.
        path: a directory for this barrier alone, created if it is missing. Its data belong to the recipe.
        parties: the number of members that begin a round. All members must use the same number.
        identifier: the name that `members` shows for this member; host and process id by default.
        acl: the ACL of the member's znode; it must give READ to every member. None: the client's default.

    Raises:
        TypeError: `parties` is not an integer.
        ValueError: `parties` is below 1, or above the number that one transaction can check (about 16,000,
            depending on the length of the path); or the path, the identifier or the ACL is invalid.

    Entering gives a `Hold`. Its fencing token is the same for all members of a round, and grows from round to
    round. Entering raises:
        RuntimeError: the task is already in this barrier, and would wait for itself.
        NoAuthError: the directory must permit all but ADMIN to each member, and each member's znode READ. If
            only WRITE is missing, the member that would begin the round gets this error, and the others wait.
        ZooKeeperError: the server refused, or the client has ended. After a lost connection the member finds
            out what was applied. If the session expires, the member arrives again.

    Leaving raises:
        BrokenBarrierError: the member was lost while its block ran: its session could no longer be proven, or
            its znode was deleted. The block was cancelled.
        ZooKeeperError: the server refused, or the client has ended; the block was left, and the member is
            out.
        The block's own error, bare and without waiting for other members.

    Cancellation: no znode is left behind; the removal continues in the background. A member that is cancelled
    inside leaves the round.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        parties: int,
        identifier: str | None = None,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        super().__init__()
        check_client(client)
        self.path: str = check_path(path)
        api = recipe_api(client)
        self.parties: int = _check_parties(parties, api.full_path(path))
        self.identifier: str = check_identifier(identifier)
        data = self.identifier.encode()
        # raises for invalid arguments
        api.operations.create(join(path, str(uuid4())), data, ephemeral=True, acl=acl)
        self._directory = BarrierDirectory(client, path, parties, data, acl)

    def _new_use(self) -> _BarrierUse:
        return _BarrierUse(self._directory, repr(self))

    async def members(self) -> list[str]:
        """Return the identifiers of the members that have a znode, in order of arrival.

        These are the members that are inside, and those that wait for the next round. A member that waits for
        the end of a running round has no znode, and is not listed.
        """
        client, path = self._directory.client, self.path
        try:
            names = [name for name in await client.get_children(path) if is_member(name)]
        except NoNodeError:
            return []
        async with client.pipeline() as pipe:
            nodes = [pipe.get(join(path, name)) for name in names]
        found = sorted(
            (node.result() for node in nodes if not isinstance(node.error, NoNodeError)),
            key=lambda node: node.stat.czxid,
        )
        return [(node.data or b"").decode(errors="replace") for node in found]

    def __repr__(self) -> str:
        return f"<DoubleBarrier {self.path} {self.identifier}>"


@final
class _BarrierUse(GuardedUse[Hold]):
    """One pass of one task through the barrier."""

    def __init__(self, directory: BarrierDirectory, what: str) -> None:
        self._member = BarrierMember(directory)
        super().__init__(
            directory.client,
            directory.path,
            what=what,
            lost=BrokenBarrierError,
            wait=None,
            remove=self._member.remove,
        )
        self._client = directory.client

    async def _take(self) -> Guard:
        return await self._member.enter()

    @property
    def _hold_path(self) -> str:
        return self._member.path

    def _make_hold(self, block: HoldBlock) -> Hold:
        return Hold(self._client, block, block.path, self._member.round.zxid, BrokenBarrierError)

    async def release(self, outcome: BaseException | None) -> NoAuthError | None:
        if outcome is not None:
            return await self._remove()
        try:
            await self._member.leave()
        except BaseException:
            await self._remove()
            raise
        return None


def _check_parties(parties: int, full_path: str) -> int:
    if isinstance(parties, bool) or not isinstance(parties, int):
        raise TypeError(f"parties must be an int, not {parties!r}")
    limit = parties_max(full_path)
    if not 1 <= parties <= limit:
        reason = "" if parties < 1 else ": one transaction checks each of them, and a server takes 1 MiB"
        raise ValueError(f"parties must be between 1 and {limit} for {full_path!r}, not {parties}{reason}")
    return parties

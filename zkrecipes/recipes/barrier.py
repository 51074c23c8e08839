"""Barrier: a gate that somebody closes, and that everybody waits at until somebody opens it.

The gate is closed while its znode exists, as it is for kazoo's `Barrier` and Curator's `DistributedBarrier`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Stat, recipe_api
from zkrecipes.enums import EventType
from zkrecipes.errors import ConnectionLossError, NoNodeError, NotEmptyError, SessionExpiredError
from zkrecipes.paths import check_path

__all__ = ["Barrier"]


@final
class Barrier:
    """A gate across processes and machines: `wait` returns when it is open.

        gate = zk.Barrier(client, "/maintenance")
        await gate.create()  # whoever comes now waits
        ...
        await gate.remove()  # and now all go on

    Building it does no I/O, and tasks may share it. The gate outlives whoever closed it: it stays closed
    until anybody calls `remove`. It is the same gate as kazoo's `Barrier` and Curator's `DistributedBarrier`
    at the same path.

    None of its methods raises `ConnectionLossError`: each finds out what has happened, and goes on.

    Args:
        client: whose session is used.
        path: of the gate's znode, which has no children.
        acl: of the znode and of what is made above it. None: the client's default.

    Raises:
        ValueError: the path cannot be right.
    """

    def __init__(self, client: Client, path: str, *, acl: Sequence[ACL] | None = None) -> None:
        if path == "/":
            raise ValueError("the root is no barrier: it cannot be removed")
        self.path = check_path(path)
        self._client = client
        self._acl = acl

    async def create(self) -> None:
        """Close the gate; one that is closed stays so.

        The levels above are made when they are missing. Whoever comes after this has returned does wait,
        whichever server it is attached to.

        Raises:
            NoAuthError: the ACL of the znode above does not permit it.
            SessionError: the client is over.

        Cancellation: the gate may be closed or not.
        """
        while True:
            try:
                await self._client.ensure_path(self.path, acl=self._acl)
            except ConnectionLossError:
                continue  # again is the same as once
            except SessionExpiredError:
                if self._is_over():
                    raise
            else:
                return

    async def remove(self) -> None:
        """Open the gate; one that is open stays so.

        A gate that somebody else closes again meanwhile is left closed.

        Raises:
            NotEmptyError: the znode has children, so it is no gate.
            NoAuthError: the ACL of the znode above does not permit it.
            SessionError: the client is over.

        Cancellation: the gate may be open or not.
        """
        found = gate = await self._look()
        while gate is not None and found is not None and gate.czxid == found.czxid:
            try:
                await self._client.delete(self.path)
            except NoNodeError:
                return
            except ConnectionLossError:
                gate = await self._look()  # one of another birth is another gate: ours has gone
            except SessionExpiredError:
                if self._is_over():
                    raise
            else:
                return

    async def wait(self) -> None:
        """Wait until the gate is open; return at once if it is.

        No opening is missed, however short: it returns too when the gate has been closed again meanwhile,
        also when both happened while there was no connection.

        Raises:
            NotEmptyError: the znode has children, so it is no gate but the directory of something else, and
                nobody would open it.
            NoAuthError: an ACL does not permit it.
            SessionError: the client is over.

        Cancellation: nothing is left behind.
        """
        closed_at: int | None = None
        while True:
            try:
                self._catch_up()
                async with self._client.exists_and_watch(self.path) as (gate, changed):
                    if gate is None or closed_at not in (None, gate.czxid):
                        return
                    if gate.num_children:
                        full_path = recipe_api(self._client).operations.full(self.path)
                        raise NotEmptyError(full_path, detail="so it is no barrier")
                    closed_at = gate.czxid
                    event = await changed.wait()
                    if event.type is EventType.DELETED:
                        return
            except SessionExpiredError:
                if self._is_over():
                    raise

    async def _look(self) -> Stat | None:
        self._catch_up()
        return await self._client.exists(self.path)

    def _catch_up(self) -> None:
        """What was done before is seen by the next read: a server may be behind the one that took it."""
        api = recipe_api(self._client)
        api.submit(api.operations.sync(self.path))

    def _is_over(self) -> bool:
        return recipe_api(self._client).is_over

    def __repr__(self) -> str:
        return f"<Barrier {self.path}>"

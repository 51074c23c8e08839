"""Barrier: a gate that somebody closes, and that everybody waits at until somebody opens it.

The gate is closed while its znode exists, as it is for kazoo's `Barrier` and Curator's `DistributedBarrier`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Pauses, RecipeApi, Stat, check_client, recipe_api
from zkrecipes.enums import EventType
from zkrecipes.errors import (
    ConnectionLossError,
    NoNodeError,
    NotEmptyError,
    SessionExpiredError,
    ZooKeeperError,
)
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
        check_client(client)
        self.path: str = check_path(path)
        self._client = client
        self._api: RecipeApi = recipe_api(client)
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
        pauses = Pauses()
        while True:
            try:
                await self._client.ensure_path(self.path, acl=self._acl)
            except ZooKeeperError as error:
                await self._after(error, pauses)  # again is the same as once
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
        pauses = Pauses()
        found = gate = await self._look(pauses)
        # a gate that was created later is another one: ours has gone
        while gate is not None and found is not None and gate.czxid == found.czxid:
            try:
                await self._client.delete(self.path)
            except NoNodeError:
                return
            except ZooKeeperError as error:
                await self._after(error, pauses)
                gate = await self._look(pauses)
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
        pauses = Pauses()
        closed_at: int | None = None
        while True:
            try:
                session, caught_up = self._api.session, self._api.catch_up()
                async with self._client.exists_and_watch(self.path) as (gate, changed):
                    await caught_up.wait()
                    if session is not self._api.session:
                        continue  # another server may have been read, which knows less
                    if gate is None or closed_at not in (None, gate.czxid):
                        return
                    if gate.num_children:
                        full_path = self._api.operations.full(self.path)
                        raise NotEmptyError(full_path, detail="so it is no barrier")
                    closed_at = gate.czxid
                    pauses.reset()
                    event = await changed.wait()
                    if event.type is EventType.DELETED:
                        return
            except ZooKeeperError as error:
                await self._after(error, pauses)

    async def _look(self, pauses: Pauses) -> Stat | None:
        """The gate, with all that was done to it before this call."""
        while True:
            try:
                return await self._api.read_caught_up(self._api.operations.exists(self.path))
            except ZooKeeperError as error:
                await self._after(error, pauses)

    async def _after(self, error: ZooKeeperError, pauses: Pauses) -> None:
        """Return when it may be tried again; raise what is not transient."""
        if isinstance(error, SessionExpiredError) and not self._api.is_over:
            return  # in the next session
        if not error.is_transient:
            raise error
        if not isinstance(error, ConnectionLossError):
            await pauses.wait()

    def __repr__(self) -> str:
        return f"<Barrier {self.path}>"

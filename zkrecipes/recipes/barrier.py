"""Barrier: a gate that one client closes, and at which other clients wait until a client opens it.

The gate is closed while its znode exists, as in kazoo's `Barrier` and Curator's `DistributedBarrier`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import RecipeApi, Retries, Stat, check_client, recipe_api
from zkrecipes.enums import EventType
from zkrecipes.errors import (
    NoNodeError,
    NotEmptyError,
    ZooKeeperError,
)
from zkrecipes.paths import check_path

__all__ = ["Barrier"]


@final
class Barrier:
    """A gate for processes and machines: `wait` returns when the gate is open.

        gate = zk.Barrier(client, "/maintenance")
        await gate.create()  # clients that call `wait` now wait
        ...
        await gate.remove()  # all of them continue

    Creating the object does no I/O, and tasks may share it. The gate outlives the client that closed it: it
    stays closed until a client calls `remove`. It is the same gate as kazoo's `Barrier` and Curator's
    `DistributedBarrier` at the same path.

    No method raises `ConnectionLossError`: each finds out whether its request was applied, and continues.

    Args:
        client: the client whose session is used.
        path: the path of the gate's znode, which must have no children.
        acl: the ACL of the znode and of missing levels above it. None: the client's default.

    Raises:
        ValueError: the path is invalid, or is the root.
    """

    def __init__(self, client: Client, path: str, *, acl: Sequence[ACL] | None = None) -> None:
        if path == "/":
            raise ValueError("path must not be '/': a barrier opens when its znode is deleted")
        check_client(client)
        self.path: str = check_path(path)
        self._client = client
        self._api: RecipeApi = recipe_api(client)
        self._acl = acl

    async def create(self) -> None:
        """Close the gate, if it is not closed already.

        Missing levels above it are created. A client that calls `wait` after this has returned waits, on
        whichever server.

        Raises:
            NoAuthError: the ACL of the level above does not permit the change.
            SessionError: the client has ended.

        Cancellation: the gate may be closed or not.
        """
        retries = self._api.retries()
        while True:
            try:
                await self._client.ensure_path(self.path, acl=self._acl)
            except ZooKeeperError as error:
                await retries.wait_after(error)  # a repetition changes nothing
            else:
                return

    async def remove(self) -> None:
        """Open the gate, if it is not open already.

        If another client closes it again at the same time, it stays closed.

        Raises:
            NotEmptyError: the znode has children, so it is not a gate.
            NoAuthError: the ACL of the level above does not permit the change.
            SessionError: the client has ended.

        Cancellation: the gate may be open or not.
        """
        retries = self._api.retries()
        found = gate = await self._look(retries)
        # a znode that was created later is another gate: this one is open
        while gate is not None and found is not None and gate.czxid == found.czxid:
            try:
                await self._client.delete(self.path)
            except NoNodeError:
                return
            except ZooKeeperError as error:
                await retries.wait_after(error)
                gate = await self._look(retries)
            else:
                return

    async def wait(self) -> None:
        """Wait until the gate is open; return immediately if it is.

        No opening is missed, however short: this returns even if the gate has been closed again, and even if
        the client had no connection when the gate was opened and closed.

        Raises:
            NotEmptyError: the znode has children, so it is a directory of other data, which no client would
                delete to open it.
            NoAuthError: an ACL does not permit the reads.
            SessionError: the client has ended.

        Cancellation: nothing is left behind.
        """
        retries = self._api.retries()
        closed_at: int | None = None
        while True:
            try:
                session, caught_up = self._api.session, self._api.catch_up()
                async with self._client.exists_and_watch(self.path) as (gate, changed):
                    await caught_up.wait()
                    if session is not self._api.session:
                        continue  # the replies may come from two servers, and the second may lag
                    if gate is None or closed_at not in (None, gate.czxid):
                        return
                    if gate.num_children:
                        full_path = self._api.full_path(self.path)
                        raise NotEmptyError(full_path, detail="a barrier must not have children")
                    closed_at = gate.czxid
                    retries.reset()
                    event = await changed.wait()
                    if event.type is EventType.DELETED:
                        return
            except ZooKeeperError as error:
                await retries.wait_after(error)

    async def _look(self, retries: Retries) -> Stat | None:
        """Return the stat of the gate's znode; it reflects every change committed before this call."""
        while True:
            try:
                return await self._api.read_caught_up(self._api.operations.exists(self.path))
            except ZooKeeperError as error:
                await retries.wait_after(error)

    def __repr__(self) -> str:
        return f"<Barrier {self.path}>"

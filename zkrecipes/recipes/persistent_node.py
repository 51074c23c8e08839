"""PersistentNode: one ephemeral znode that is created again in each new session and after each deletion.

Contains the public class: `persistent_node_writer` writes the znode; `persistent_node_state` decides its next
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import RecipeApi, check_client, recipe_api
from zkrecipes.enums import Perms
from zkrecipes.errors import NoAuthError
from zkrecipes.paths import check_path
from zkrecipes.recipes.persistent_node_state import OnConflict
from zkrecipes.recipes.persistent_node_writer import ZnodeWriter

__all__ = ["OnConflict", "PersistentNode"]


@final
class PersistentNode:
    """An ephemeral znode that exists for as long as the block runs, across sessions.

    Entering waits until the znode exists and belongs to this block. A task of the client creates it again
    whenever it disappears: in each new session, and after a deletion. Leaving removes it. Missing levels
    above it are created.

    Args:
        client: the client whose sessions own the znode.
        path: the path of the znode.
        data: the initial data of the znode.
        on_conflict: what to do while another session holds the name, for example the old session of a
            restarted pod. `"wait"`: log the owner and age of the other znode, and wait until it is deleted.
            `"raise"`: raise `NodeExistsError`. `"replace"`: delete the other znode, unless it changes first.
            A znode that an earlier session of this client left behind is always replaced. When the znode must
            be created again later, `"raise"` waits, and `"replace"` first leaves the other znode in place for
            a second.
        acl: the ACL of the znode; it must give its owner READ. None: the client's default.
        container: whether to create the level above as a container if it is missing and the server has
            containers. The server removes a container, with its data and its ACL, after it has been empty for
            a while: choose this only for a directory that contains nothing but such znodes.

    Raises:
        ValueError: the path, the data, the ACL or `on_conflict` is invalid.

    Entering raises:
        NodeExistsError: the name is taken, with `on_conflict="raise"`.
        ConnectionLossError: the connection was lost several times in a row on the create, usually because
            there is too much data.
        ZooKeeperError: the server refused, or the client has ended.

    Leaving removes the znode. It raises:
        NoAuthError: the ACL of the level above does not permit DELETE; the znode stays until its session
            ends.

    Cancellation: no znode is left behind; the removal continues in the background.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        data: bytes = b"",
        *,
        on_conflict: OnConflict = "wait",
        acl: Sequence[ACL] | None = None,
        container: bool = False,
    ) -> None:
        if on_conflict not in ("wait", "raise", "replace"):
            raise ValueError(f"on_conflict must be 'wait', 'raise' or 'replace', not {on_conflict!r}")
        check_client(client)
        self.path: str = check_path(path)
        self._api: RecipeApi = recipe_api(client)
        # raises for invalid arguments
        self._api.operations.create(path, data, ephemeral=True, acl=acl)
        if acl is not None and not any(entry.perms & Perms.READ for entry in acl):
            raise ValueError(f"acl must give the owner READ, which watching the znode needs, got {acl!r}")
        self._writer = ZnodeWriter(client, path, data, on_conflict=on_conflict, acl=acl, container=container)
        self._writing: AbstractAsyncContextManager[None] | None = None

    if not TYPE_CHECKING:  # a type checker reports an awaited object without this method

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self!r} must be entered, not awaited: `async with … as member:`")

    async def __aenter__(self) -> Self:
        if self._writing is not None:
            raise RuntimeError(f"{self!r} can be entered only once: create another one")
        self._writing = self._api.background(self._writer.run)
        await self._writing.__aenter__()
        try:
            await self._writer.progress.wait_written(0)
        except BaseException:
            await self._leave(self._writing)
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._writing is not None
        refusal = await self._leave(self._writing)
        if refusal is not None and error is None:
            raise refusal

    async def update(self, data: bytes) -> None:
        """Replace the znode's data, and wait until the server has written them.

        While the znode does not exist, because the session is being renewed or another session holds the
        name, this waits until the znode exists again. Of several updates at the same time the last one wins.

        Args:
            data: the new data.

        Raises:
            RuntimeError: the block has not been entered, or has been left.
            TypeError, ValueError: the data are not bytes, or too large.
            ConnectionLossError: the connection was lost several times in a row on this write, usually because
                there is too much data. Whether it was applied is unknown.
            ZooKeeperError: the server refused, and the znode keeps its data; or the client has ended.

        Cancellation: the data will still be written.
        """
        self._api.operations.set(self.path, data)  # raises for invalid data
        if self._writing is None:
            raise RuntimeError(f"{self!r} must be entered before it can be updated")
        self._writer.progress.check_not_ended()
        await self._writer.progress.wait_written(self._writer.write_next(data))

    def __repr__(self) -> str:
        return f"<PersistentNode {self.path}>"

    async def _leave(self, writing: AbstractAsyncContextManager[None]) -> NoAuthError | None:
        self._writer.progress.end(
            RuntimeError(f"the block of {self!r} has been left: nothing more is written")
        )
        try:
            await writing.__aexit__(None, None, None)
        finally:
            refusal = await self._writer.remove()
        return refusal

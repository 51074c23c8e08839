"""One self-healing ephemeral znode: put back in each new session, and whenever somebody removes it.

A task of the client's is the only writer: it makes the znode, watches it, and writes what `update` asks for,
so that a caller who is cancelled leaves nothing half done. Whether a znode is ours is told by the zxid of its
creation, which the reply to the create carries. Where that reply was lost its owner tells: the session in
which the create was sent, unless another of the same client knows it as its own.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Self, final
from weakref import WeakKeyDictionary

import anyio

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import BREAKS_MAX, Pauses, RecipeApi, Stat, check_client, recipe_api
from zkrecipes.enums import Perms, SessionState
from zkrecipes.errors import (
    BadVersionError,
    ConnectionLossError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    SessionError,
    SessionExpiredError,
    ZooKeeperError,
    session_hex,
)
from zkrecipes.paths import check_path, parent_of
from zkrecipes.recipes.znodes.clean_up import clean_up
from zkrecipes.recipes.znodes.delete_permission import probing
from zkrecipes.recipes.znodes.directories import make_directory
from zkrecipes.recipes.znodes.leftovers import is_leftover

__all__ = ["OnConflict", "PersistentNode"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

OnConflict = Literal["wait", "raise", "replace"]
"""What to do while somebody else holds the name."""

_RETRY_AFTER: Final = 1.0
_RETRY_AFTER_MAX: Final = 30.0
_OLD_SESSIONS: Final = 16
_MIXED: Final = -1

# By client, the creations of the znodes that its persistent nodes know as theirs: two of one client that want
# the same name have one session, which does not tell them apart.
_known: Final[WeakKeyDictionary[object, set[int]]] = WeakKeyDictionary()

# By client: the creations of those that were left and stay, because an ACL did not permit their removal. A
# later block would wait for its own client's znode for as long as the session lives.
_refused: Final[WeakKeyDictionary[object, set[int]]] = WeakKeyDictionary()


@final
class PersistentNode:
    """An ephemeral znode that exists for as long as the block runs, in whichever session.

    Entering waits until the znode is there and is this block's. Then a task of the client's puts it back when
    it goes: in each new session after an expiry, and when somebody deletes it. Leaving removes it. The levels
    above it are made when they are missing.

    Args:
        client: whose sessions own it.
        path: where.
        data: what it holds.
        on_conflict: what to do while somebody else holds the name, as after the restart of a pod whose old
            session still lives: `"wait"` until it goes, and log its owner and age; `"raise"`
            `NodeExistsError`; or `"replace"` it, by a delete that is refused if it was changed meanwhile.
            What an earlier session of this client left is always replaced. When the znode has to be put
            back, `"raise"` waits, and `"replace"` lets the other one be there for a second first.
        acl: of the znode; it must give its owner READ. None: the client's default.
        container: if the level above it is missing, make it a container, if the server has them. The server
            removes a container, with its data and its ACL, when it has been empty for a while: only for a
            directory that holds nothing but such znodes.

    Raises:
        ValueError: path, data, ACL or `on_conflict` cannot be right.

    Entering raises:
        NodeExistsError: the name is taken, with `on_conflict="raise"`.
        ConnectionLossError: the connection was lost again and again on the create: too much data, as a rule.
        ZooKeeperError: the server refused, or the client is over.

    Leaving removes the znode. It raises:
        NoAuthError: the ACL of the level above does not permit it; the znode stays until its session ends.

    Cancellation: no znode is left behind; the removal goes on in the background.
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
            raise ValueError(f"on_conflict is 'wait', 'raise' or 'replace', not {on_conflict!r}")
        check_client(client)
        self.path: str = check_path(path)
        # It raises for what cannot be right.
        recipe_api(client).operations.create(path, data, ephemeral=True, acl=acl)
        if acl is not None and not any(entry.perms & Perms.READ for entry in acl):
            # or it could not be watched
            raise ValueError(f"the ACL must give its owner READ: {acl!r}")
        self._client = client
        self._api: RecipeApi = recipe_api(client)
        self._acl = acl
        self._container = container
        self._on_conflict = on_conflict
        self._wanted = _Version(0, data)
        # What is there: what was written last, and the znode's czxid and version where they are known.
        self._written: _Version | None = None
        self._czxid: int | None = None
        self._version: int | None = None
        # Where it may be: the session of the newest create, and which version the unanswered creates carried.
        self._made_in = self._api.session
        self._unsettled: int | None = None
        self._old_sessions: deque[int] = deque(maxlen=_OLD_SESSIONS)
        self._numbers = 0
        self._rejected: tuple[int, Exception] | None = None
        self._over: Exception | None = None
        self._losses = 0
        self._pauses = Pauses()
        self._long_pauses = Pauses(_RETRY_AFTER, _RETRY_AFTER_MAX)
        self._told_of = 0
        self._progress = anyio.Event()
        self._watching: anyio.CancelScope | None = None
        self._staying: AbstractAsyncContextManager[None] | None = None

    if not TYPE_CHECKING:  # to a checker, awaiting it is an error without more ado

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self!r} is entered, not awaited: `async with … as member:`")

    async def __aenter__(self) -> Self:
        if self._staying is not None:
            raise RuntimeError(f"{self!r} is entered once; make another one")
        self._staying = self._api.background(self._stay)
        await self._staying.__aenter__()
        try:
            await self._wait_written(0)
        except BaseException:
            await self._leave(self._staying)
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._staying is not None
        refusal = await self._leave(self._staying)
        if refusal is not None and error is None:
            raise refusal

    async def update(self, data: bytes) -> None:
        """Give the znode other data, and wait until it has them.

        While the znode is not there, because the session is being renewed or somebody else holds the name,
        this waits until it is back. Of several updates at the same time the last one wins.

        Args:
            data: the new data.

        Raises:
            RuntimeError: the block has not been entered, or it has been left meanwhile.
            TypeError, ValueError: it is not bytes, or too much.
            ConnectionLossError: the connection was lost again and again: too much data, as a rule. Whether
                the znode has them is unknown.
            ZooKeeperError: the server refused, and the znode keeps its data; or the client is over.

        Cancellation: the data will be written all the same.
        """
        self._api.operations.set(self.path, data)  # raises for what cannot be right
        if self._staying is None:
            raise RuntimeError(f"{self!r} has not been entered: there is nothing to update")
        if self._over is not None:
            raise copy.copy(self._over)
        self._numbers += 1
        number = self._numbers
        self._wanted = _Version(number, data)
        if self._watching is not None:
            self._watching.cancel()
        await self._wait_written(number)

    def __repr__(self) -> str:
        return f"<PersistentNode {self.path}>"

    # --- the callers' side ---------------------------------------------------------------------------------

    async def _wait_written(self, number: int) -> None:
        while self._written is None or self._written.number < number:
            if self._over is not None:
                raise copy.copy(self._over)
            if self._rejected is not None and number <= self._rejected[0]:
                raise copy.copy(self._rejected[1])
            await self._progress.wait()

    async def _leave(self, staying: AbstractAsyncContextManager[None]) -> NoAuthError | None:
        self._end(RuntimeError(f"the block of {self!r} has been left: nothing is written any longer"))
        try:
            await staying.__aexit__(None, None, None)
        finally:
            refusal = await clean_up(self._api, self._made_in, self._remove, what=self.path)
        if refusal is not None and self._czxid is not None:
            _refused.setdefault(self._api.root, set()).add(self._czxid)
            self._know(None)
        return refusal

    def _end(self, error: Exception) -> None:
        """Report `error` to all that wait for a write; the first call counts."""
        if self._over is None:
            self._over = error
            self._tell()

    async def _remove(self) -> None:
        """Remove the znode if it is ours; by no delete that is sent again: the name may be another's."""
        session = self._made_in
        if self._czxid is None and self._unsettled is None:
            return
        version, self._version = self._version, None
        if version is None or session.state is not SessionState.CONNECTED:
            stat = await self._api.read_caught_up(self._api.operations.exists(self.path))
            if stat is None or not self._is_ours(stat) or session is not self._api.session:
                self._know(None)
                return
            version = stat.version
        try:
            await self._client.delete(self.path, version=version)
        except BadVersionError:
            await self._remove()  # it was changed since: look
            return
        except NoNodeError:
            pass
        self._know(None)

    # --- the one that writes -------------------------------------------------------------------------------

    async def _stay(self) -> None:
        try:
            while True:
                try:
                    await self._write()
                    await self._watch()
                except ZooKeeperError as error:
                    await self._after(error)
        except Exception as error:
            self._end(error)
            raise

    async def _after(self, error: ZooKeeperError) -> None:
        """Decide what an error means: that it is over, or after how long to try again."""
        if self._api.is_over:
            raise error
        if isinstance(error, SessionExpiredError):
            logger.info(
                "%s will be put back in the next session: %s", self.path, error, extra={"path": self.path}
            )
            return
        if isinstance(error, ConnectionLossError):
            self._losses += 1
            if self._losses < BREAKS_MAX:
                return  # the next try finds out, by the owner, whether the znode was made
        elif error.is_transient:
            logger.info("%s is not written yet: %s", self.path, error, extra={"path": self.path})
            await self._pauses.wait()
            return
        if self._written is None:
            raise error
        logger.warning("%s could not be put back: %s (retrying)", self.path, error, extra={"path": self.path})
        await self._long_pauses.wait()

    async def _write(self) -> None:
        """Do what is missing for the znode to be there, with the data that is wanted."""
        wanted = self._wanted
        if self._czxid is None:
            await self._create(wanted)
        elif self._written != wanted and self._version is not None:
            await self._set(wanted, self._version)

    async def _create(self, wanted: _Version) -> None:
        session = self._api.session
        if session is not self._made_in:
            if self._made_in.id != 0:
                self._old_sessions.append(self._made_in.id)
            self._made_in, self._unsettled = session, None
        before = self._unsettled
        self._unsettled = wanted.number if before in (None, wanted.number) else _MIXED
        operation = self._api.operations.create(self.path, wanted.data, ephemeral=True, acl=self._acl)
        create = self._api.submit(probing(self._api, parent_of(self.path), operation, self._acl))
        try:
            await create.wait()
        except NodeExistsError:
            self._unsettled = before
            await self._settle(wanted)
        except NoNodeError:
            self._unsettled = before
            await make_directory(self._client, parent_of(self.path), container=self._container)
        except NoAuthError:
            self._unsettled = before  # decided before anything is created; after other errors it may be there
            raise
        else:
            self._know(create.zxid, 0)
            self._unsettled = None
            self._has(wanted)

    async def _set(self, wanted: _Version, version: int) -> None:
        self._version = None  # until it is known again
        try:
            stat = await self._client.set(self.path, wanted.data, version=version)
        except (NoNodeError, BadVersionError):
            return  # it has gone, or somebody else has written to it: look
        except SessionError:
            raise
        except ConnectionLossError as error:
            self._losses += 1
            if self._losses >= BREAKS_MAX:
                if self._written is None:
                    raise
                self._reject(wanted, error)
        except ZooKeeperError as error:
            if error.is_transient:
                raise  # it is written again once it is known what there is
            if self._written is None:
                raise  # of an earlier client's znode, which this one took over
            self._reject(wanted, error)
        else:
            self._version = stat.version
            self._has(wanted)

    async def _watch(self) -> None:
        """Return when there is something to do."""
        if self._czxid is None:
            return
        async with self._client.exists_and_watch(self.path) as (stat, changed):
            if stat is None or stat.czxid != self._czxid or self._made_in.state.is_final:
                logger.info("%s has gone, and is put back", self.path, extra={"path": self.path})
                self._know(None)
                return
            self._version = stat.version
            if self._written != self._wanted:
                return
            with anyio.CancelScope() as self._watching:
                await changed.wait()
            self._watching = None

    async def _settle(self, wanted: _Version) -> None:
        """The name is taken. If it is not by us, do what was asked for, so that the next try may work."""
        taken_by: int | None = None
        while True:
            async with self._client.exists_and_watch(self.path) as (stat, changed):
                if stat is None or taken_by not in (None, stat.czxid):
                    return
                if self._is_ours(stat):
                    self._know(stat.czxid, stat.version)
                    if self._unsettled == wanted.number:
                        self._has(wanted)
                    self._unsettled = None
                    return
                if self._is_inherited(stat):
                    # the membership goes on; the data are written next
                    self._know(stat.czxid, stat.version)
                    return
                if self._may_replace(stat):
                    await self._replace(stat)
                    return
                if self._on_conflict == "raise" and self._written is None:
                    raise NodeExistsError(self._api.operations.full(self.path), detail=self._describe(stat))
                taken_by = stat.czxid
                self._tell_of(stat)
                # Its owner may write to it as often as it likes: only another znode is worth a create.
                with anyio.move_on_after(
                    _RETRY_AFTER if self._on_conflict == "replace" else math.inf
                ) as limit:
                    await changed.wait()
                if limit.cancelled_caught:
                    return

    def _tell_of(self, stat: Stat) -> None:
        if stat.czxid == self._told_of:
            return
        self._told_of = stat.czxid
        logger.warning(
            "%s is taken: waiting until it goes: %s",
            self.path,
            self._describe(stat),
            extra={"path": self.path},
        )

    def _may_replace(self, stat: Stat) -> bool:
        """Whether the other one goes now."""
        if stat.ephemeral_owner in self._old_sessions or stat.czxid in _refused.get(self._api.root, ()):
            return True
        if self._on_conflict != "replace":
            return False
        # One that has replaced us is let be at first: two that live shall not take turns as fast as they can.
        return self._written is None or stat.czxid == self._told_of

    async def _replace(self, stat: Stat) -> None:
        logger.info("replacing %s: %s", self.path, self._describe(stat), extra={"path": self.path})
        try:
            await self._client.delete(self.path, version=stat.version)
        except (NoNodeError, BadVersionError):
            return  # gone, or changed since we looked: look again

    # --- what is known -------------------------------------------------------------------------------------

    def _is_ours(self, stat: Stat) -> bool:
        if self._czxid is not None:
            return stat.czxid == self._czxid
        if self._unsettled is None or stat.ephemeral_owner != self._made_in.id:
            return False
        return stat.czxid not in _known.get(self._api.root, ())

    def _is_inherited(self, stat: Stat) -> bool:
        """Whether an earlier client left it in a session that this one has resumed."""
        is_known = stat.czxid in _known.get(self._api.root, ())
        return self._made_in is self._api.session and is_leftover(self._made_in, stat) and not is_known

    def _know(self, czxid: int | None, version: int | None = None) -> None:
        """Which znode is ours: the creation and the version; None while there is none."""
        known = _known.setdefault(self._api.root, set())
        if self._czxid is not None:
            known.discard(self._czxid)
        if czxid is not None:
            known.add(czxid)
        self._czxid, self._version = czxid, version

    def _has(self, version: _Version) -> None:
        self._written = version
        self._losses = 0
        self._pauses.reset()
        self._long_pauses.reset()
        self._tell()

    def _reject(self, version: _Version, error: ZooKeeperError) -> None:
        """The data cannot be written: tell whoever asked; the last ones that could are wanted again."""
        assert self._written is not None
        self._rejected = (version.number, error)
        self._losses = 0
        if self._wanted == version:
            self._wanted = self._written
        self._tell()

    def _tell(self) -> None:
        progress, self._progress = self._progress, anyio.Event()
        progress.set()

    def _describe(self, stat: Stat) -> str:
        age = f"{max(0.0, time.time() - stat.ctime / 1000):.0f} seconds old by its server's clock"
        if stat.ephemeral_owner == 0:
            return f"it is not ephemeral and stays until it is deleted, {age}"
        ours = ", which is this client's own" if stat.ephemeral_owner == self._api.session.id else ""
        return f"its owner is session {session_hex(stat.ephemeral_owner)}{ours}, {age}"


@final
class _Version:
    """Data that were wanted at some time; compared by identity, as the same bytes may be wanted twice."""

    __slots__ = ("data", "number")

    def __init__(self, number: int, data: bytes) -> None:
        self.number = number
        self.data = data

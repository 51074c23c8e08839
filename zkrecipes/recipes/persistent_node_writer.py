"""Writes one persistent node: executes the steps that `persistent_node_state` decides.

A task of the client runs the writer, and nothing else writes to the znode, so a caller that is cancelled
leaves nothing half done. The callers of `update` wait for the writer's progress.
"""

from __future__ import annotations

import copy
import itertools
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, final
from weakref import WeakKeyDictionary

import anyio

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import BREAKS_MAX, Backoff, RecipeApi, Stat, recipe_api
from zkrecipes.client.watching import OneShotWatch
from zkrecipes.enums import SessionState
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
from zkrecipes.paths import parent_of
from zkrecipes.recipes.persistent_node_state import (
    DataVersion,
    KnownState,
    Look,
    OnConflict,
    Step,
    is_ours,
    next_step,
    step_after_look,
)
from zkrecipes.recipes.znodes.clean_up import clean_up
from zkrecipes.recipes.znodes.delete_permission import probing
from zkrecipes.recipes.znodes.directories import make_directory
from zkrecipes.recipes.znodes.leftovers import is_leftover

__all__ = ["WriteProgress", "ZnodeWriter"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_RETRY_AFTER: Final = 1.0
_RETRY_AFTER_MAX: Final = 30.0

# By client: the czxids that its persistent nodes claim for their znodes. Two persistent nodes of one client
# with the same path share a session, so the owner does not distinguish them.
_claimed: Final[WeakKeyDictionary[object, set[int]]] = WeakKeyDictionary()

# By client: the czxids of znodes whose block has ended, but whose removal an ACL does not permit. Without
# this record, a later block would wait for its own client's znode for as long as the session lives.
_undeletable: Final[WeakKeyDictionary[object, set[int]]] = WeakKeyDictionary()


@final
class WriteProgress:
    """The progress of the writer, for the callers that wait until their data are written."""

    def __init__(self) -> None:
        self._written = -1
        self._rejected: tuple[int, Exception] | None = None
        self._end: Exception | None = None
        self._changed = anyio.Event()

    def wrote(self, number: int) -> None:
        """Release the callers that wait for the data with this number or a smaller one."""
        self._written = number
        self._notify()

    def reject(self, number: int, error: Exception) -> None:
        """Raise `error` in the callers that wait for these data."""
        self._rejected = (number, error)
        self._notify()

    def end(self, error: Exception) -> None:
        """Raise `error` in all callers from now on; the first call counts."""
        if self._end is None:
            self._end = error
            self._notify()

    def check_not_ended(self) -> None:
        """Raise the error that `end` was given."""
        if self._end is not None:
            raise copy.copy(self._end)

    async def wait_written(self, number: int) -> None:
        """Wait until the data with this number, or newer data, are written."""
        while self._written < number:
            self.check_not_ended()
            if self._rejected is not None and number <= self._rejected[0]:
                raise copy.copy(self._rejected[1])
            await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


@final
class ZnodeWriter:
    """The writer of one persistent node.

    Args:
        client: the client whose sessions own the znode.
        path: the path of the znode.
        data: the initial data.
        on_conflict, acl, container: as for `PersistentNode`.

    Attributes:
        progress: the progress that the callers of `update` wait for.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        data: bytes,
        *,
        on_conflict: OnConflict,
        acl: Sequence[ACL] | None,
        container: bool,
    ) -> None:
        self.progress: WriteProgress = WriteProgress()
        self._client = client
        self._api: RecipeApi = recipe_api(client)
        self._path = path
        self._acl = acl
        self._container = container
        self._on_conflict = on_conflict
        self._numbers = itertools.count(1)
        self._known = KnownState(DataVersion(0, data))
        self._session = self._api.session  # of the newest create
        self._losses = 0
        self._retries = self._api.retries(failure=f"could not write {path}", path=path)
        self._long_pauses = Backoff(_RETRY_AFTER, _RETRY_AFTER_MAX)
        self._waiting_for_change: anyio.CancelScope | None = None

    def write_next(self, data: bytes) -> int:
        """Let the writer write these data next; return their number in `progress`."""
        wanted = DataVersion(next(self._numbers), data)
        self._known = replace(self._known, wanted=wanted)
        if self._waiting_for_change is not None:
            self._waiting_for_change.cancel()
        return wanted.number

    async def run(self) -> None:
        """Write until the client has ended, or a server refuses the first write."""
        try:
            while True:
                try:
                    await self._take_step()
                except ZooKeeperError as error:
                    self._known = self._known.before_next_create()
                    await self._pause_after(error)
        except Exception as error:
            self.progress.end(error)
            raise

    async def remove(self) -> NoAuthError | None:
        """Remove the znode, in a task of the client; return the refusal if an ACL does not permit DELETE."""
        refusal = await clean_up(self._api, self._session, self._try_to_remove, what=self._path)
        if refusal is not None and self._known.czxid is not None:
            _undeletable.setdefault(self._api.root, set()).add(self._known.czxid)
            self._learn(self._known.without_znode())
        return refusal

    # --- steps ---------------------------------------------------------------------------------------------

    async def _take_step(self) -> None:
        match next_step(self._known):
            case Step.CREATE:
                await self._create()
            case Step.SET:
                await self._set()
            case _:
                await self._look()

    async def _create(self) -> None:
        session = self._api.session
        if session is not self._session:
            self._known = self._known.after_session_change(self._session.id)
            self._session = session
        before, self._known = self._known, self._known.while_creating()
        data = self._known.wanted.data
        operation = self._api.operations.create(self._path, data, ephemeral=True, acl=self._acl)
        create = self._api.submit(probing(self._api, parent_of(self._path), operation, self._acl))
        try:
            await create.wait()
        except NodeExistsError:
            self._known = self._known.after_refused_create(before, is_taken=True)
        except NoNodeError:
            self._known = self._known.after_refused_create(before)
            await make_directory(self._client, parent_of(self._path), container=self._container)
        except NoAuthError:
            # the server checks ACLs before it creates anything; after any other error the znode may exist
            self._known = self._known.after_refused_create(before)
            raise
        else:
            assert create.zxid is not None
            self._wrote(self._known.after_create(create.zxid))

    async def _set(self) -> None:
        data, version = self._known.wanted, self._known.version
        assert version is not None
        self._known = replace(self._known, version=None)
        try:
            stat = await self._client.set(self._path, data.data, version=version)
        except (NoNodeError, BadVersionError):
            return  # deleted, or written by another client: the next look shows it
        except SessionError:
            raise
        except ZooKeeperError as error:
            if isinstance(error, ConnectionLossError):
                self._losses += 1
                if self._losses < BREAKS_MAX:
                    return  # the next look shows whether it was applied
            elif error.is_transient:
                raise
            if self._known.written is None:
                raise  # an inherited znode: no earlier data of ours exist to fall back to
            self._losses = 0
            self._known = self._known.after_rejection(data)
            self.progress.reject(data.number, error)
        else:
            self._wrote(self._known.after_set(data, stat.version))

    async def _look(self) -> None:
        self._known = replace(self._known, is_look_due=False)
        async with self._client.exists_and_watch(self._path) as (stat, changed):
            look = self._describe_look(stat)
            step = step_after_look(self._known, look, self._on_conflict)
            if step is Step.CREATE:
                self._known = self._known.before_next_create()
            elif step is Step.PUT_BACK:
                logger.info("%s disappeared (creating it again)", self._path, extra={"path": self._path})
                self._learn(self._known.without_znode())
            elif stat is not None:
                await self._act_on(step, stat, changed)

    async def _act_on(self, step: Step, stat: Stat, changed: OneShotWatch) -> None:
        match step:
            case Step.SET | Step.WAIT_FOR_CHANGE:
                self._known = replace(self._known, version=stat.version)
                if step is Step.WAIT_FOR_CHANGE:
                    with anyio.CancelScope() as self._waiting_for_change:
                        await changed.wait()
                    self._waiting_for_change = None
            case Step.ADOPT | Step.INHERIT:
                learn = self._wrote if self._known.has_one_unsettled else self._learn
                learn(self._known.after_adoption(stat))
            case Step.REPLACE:
                await self._replace(stat)
            case Step.REFUSE:
                raise NodeExistsError(self._api.full_path(self._path), detail=self._describe(stat))
            case _:
                await self._wait_for_name(stat, changed)

    async def _replace(self, stat: Stat) -> None:
        logger.info("replacing %s: %s", self._path, self._describe(stat), extra={"path": self._path})
        self._known = self._known.before_next_create()
        try:
            await self._client.delete(self._path, version=stat.version)
        except (NoNodeError, BadVersionError):
            return  # deleted or changed since the look: the next create decides

    async def _wait_for_name(self, stat: Stat, changed: OneShotWatch) -> None:
        if stat.czxid != self._known.reported:
            logger.warning(
                "%s is taken (waiting until it is free): %s",
                self._path,
                self._describe(stat),
                extra={"path": self._path},
            )
        self._known = self._known.while_waiting_for(stat)
        seconds = _RETRY_AFTER if self._on_conflict == "replace" else math.inf
        with anyio.move_on_after(seconds) as limit:
            await changed.wait()
        if limit.cancelled_caught:
            self._known = self._known.before_next_create()

    async def _try_to_remove(self) -> None:
        """Delete the znode if it is ours; never repeat a delete without a new look.

        In between, another client may have created a znode of the same name.
        """
        known, session = self._known, self._session
        if known.czxid is None and known.unsettled is None:
            return
        version, self._known = known.version, replace(known, version=None)
        if version is None or session.state is not SessionState.CONNECTED:
            stat = await self._api.read_caught_up(self._api.operations.exists(self._path))
            look = self._describe_look(stat)
            if stat is None or not is_ours(self._known, look) or session is not self._api.session:
                self._learn(self._known.without_znode())
                return
            version = stat.version
        try:
            await self._client.delete(self._path, version=version)
        except BadVersionError:
            await self._try_to_remove()  # another client has written to it since: look
            return
        except NoNodeError:
            pass
        self._learn(self._known.without_znode())

    # --- errors and knowledge ------------------------------------------------------------------------------

    async def _pause_after(self, error: ZooKeeperError) -> None:
        """Wait until another try may succeed after an error.

        Raises:
            ZooKeeperError: the error, if the client has ended or the first write was refused.
        """
        if self._api.is_over:
            raise error
        extra = {"path": self._path}
        if isinstance(error, SessionExpiredError):
            logger.info(
                "%s ended with its session: %s (creating it again in the next session)",
                self._path,
                error,
                extra=extra,
            )
            return
        if isinstance(error, ConnectionLossError):
            self._losses += 1
            if self._losses < BREAKS_MAX:
                return  # the owner of the znode will show whether the create was applied
        elif error.is_transient:
            await self._retries.wait_after(error)
            return
        if self._known.written is None:
            raise error
        logger.warning("could not create %s again: %s (retrying)", self._path, error, extra=extra)
        await self._long_pauses.wait()

    def _wrote(self, known: KnownState) -> None:
        self._learn(known)
        self._losses = 0
        self._retries.reset()
        self._long_pauses.reset()
        if known.written is not None:
            self.progress.wrote(known.written.number)

    def _learn(self, known: KnownState) -> None:
        """Replace the known state, and claim our znode among the persistent nodes of the client."""
        claimed = _claimed.setdefault(self._api.root, set())
        if self._known.czxid is not None:
            claimed.discard(self._known.czxid)
        if known.czxid is not None:
            claimed.add(known.czxid)
        self._known = known

    def _describe_look(self, stat: Stat | None) -> Look:
        is_over = self._session.state.is_final
        if stat is None:
            return Look(None, is_session_over=is_over)
        is_current = self._session is self._api.session
        return Look(
            stat,
            is_session_over=is_over,
            is_owned=stat.ephemeral_owner == self._session.id,
            is_claimed=stat.czxid in _claimed.get(self._api.root, ()),
            is_leftover=is_current and is_leftover(self._session, stat),
            is_undeletable=stat.czxid in _undeletable.get(self._api.root, ()),
        )

    def _describe(self, stat: Stat) -> str:
        age = f"{max(0.0, time.time() - stat.ctime / 1000):.0f} seconds old by its server's clock"
        if stat.ephemeral_owner == 0:
            return f"it is not ephemeral and stays until it is deleted, {age}"
        ours = ", which is this client's own" if stat.ephemeral_owner == self._api.session.id else ""
        return f"its owner is session {session_hex(stat.ephemeral_owner)}{ours}, {age}"

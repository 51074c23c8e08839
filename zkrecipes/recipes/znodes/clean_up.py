"""Removes a recipe's znodes, and repeats the removal until it is done or the session is over.

The problem: a server may answer a delete with an error and apply nothing, because it is overloaded, has lost
its leader or has become read-only. A znode that stays behind would block a lock for as long as the session
lives. The trick: a clean-up ends when it is done, and not when it is answered; one table gives the meaning of
each answer. The consequence: a delete may be applied twice, so its path must never be used again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple, final
from weakref import WeakKeyDictionary

import anyio

from zkrecipes.client.recipe_api import Backoff, Pending, RecipeApi, Session
from zkrecipes.errors import ConnectionLossError, NoAuthError, NoNodeError, TransactionError, ZooKeeperError
from zkrecipes.paths import join, parent_of
from zkrecipes.recipes.znodes.delete_permission import forget_permission

__all__ = ["AnswerMeaning", "clean_up", "is_leaving", "meaning_of", "remove", "remove_refused", "together"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")


class AnswerMeaning(Enum):
    """The meaning of an answer for a clean-up. The log contains the value."""

    DONE = "is done"
    """The znode does not exist, or ends with its session."""
    NOT_EXECUTED = "was not executed"
    """The server has dropped the request. Try again."""
    UNKNOWN = "may have been applied or not"
    """Try again; if another client may use the name by now, read the znode first."""
    ELSEWHERE = "must be sent to another server"
    """Try again: the client is about to change the server."""
    REFUSED = "is not permitted"
    """A repetition is useless until an ACL is changed."""


_MEANINGS: Final[Mapping[int, AnswerMeaning]] = {
    -101: AnswerMeaning.DONE,  # NoNode
    -112: AnswerMeaning.DONE,  # SessionExpired
    -127: AnswerMeaning.NOT_EXECUTED,  # ThrottledOp
    -1: AnswerMeaning.UNKNOWN,  # SystemError
    -2: AnswerMeaning.UNKNOWN,  # RuntimeInconsistency
    -4: AnswerMeaning.UNKNOWN,  # ConnectionLoss
    -7: AnswerMeaning.UNKNOWN,  # OperationTimeout
    -122: AnswerMeaning.UNKNOWN,  # RequestTimeout
    -118: AnswerMeaning.ELSEWHERE,  # SessionMoved
    -119: AnswerMeaning.ELSEWHERE,  # NotReadOnly
    -102: AnswerMeaning.REFUSED,  # NoAuth
}
"""By code (`KeeperException.Code`, 3.9). Every other code is `UNKNOWN`: no other answer ends a clean-up."""


def meaning_of(error: ZooKeeperError, own: Sequence[int] = ()) -> AnswerMeaning:
    """Return the meaning of an error for a clean-up.

    Args:
        error: the error of the request that removes a znode.
        own: for a transaction, the indexes of the operations that remove our own znodes. `NoNodeError` at
            another index does not show whether these znodes exist.
    """
    if error.is_final:
        return AnswerMeaning.DONE
    if isinstance(error, TransactionError):
        meaning = meaning_of(error.error)
        is_ours = meaning is not AnswerMeaning.DONE or error.index in own
        return meaning if is_ours else AnswerMeaning.UNKNOWN
    return _MEANINGS.get(getattr(error, "code", 0), AnswerMeaning.UNKNOWN)


_REMEDY: Final = "the directory must permit DELETE; the znode stays until its session ends"


async def clean_up(
    api: RecipeApi,
    session: Session,
    attempt: Callable[[], Awaitable[None]],
    *,
    what: str,
    own: Sequence[int] = (),
) -> NoAuthError | None:
    """Run `attempt` until the clean-up is done, or its session is over, or an ACL refuses it.

    A task of the client runs it. The caller waits, shielded, for at most an eighth of a timeout; the rest
    continues in the background. The first negative answer is logged as a warning.

    Args:
        api: the client's recipe API.
        session: the session that owns the znodes. A clean-up never runs in another session.
        attempt: one try; it returns when everything is removed, and otherwise raises the server's answer.
            When repeated, it must read a znode before deleting it, unless the name contains a GUID of ours.
        what: the path, for the log.
        own: as for `meaning_of`.

    Returns:
        The refusal, if an ACL ended the clean-up while the caller waited: raise it unless there is another
        error already. None otherwise.

    Cancellation, including native cancellation, ends the wait and not the clean-up.
    """
    refusal: NoAuthError | None = None

    async def run() -> None:
        nonlocal refusal
        refusal = await _repeat(api, session, attempt, what, own)

    await api.clean_up(run)
    return refusal


async def _repeat(
    api: RecipeApi,
    session: Session,
    attempt: Callable[[], Awaitable[None]],
    what: str,
    own: Sequence[int],
) -> NoAuthError | None:
    pauses = Backoff()
    has_warned = False
    while session is api.session and not session.state.is_final:
        try:
            await attempt()
        except ZooKeeperError as error:
            meaning = meaning_of(error, own)
            if meaning is AnswerMeaning.DONE:
                return None
            # a lost connection is not an answer, and the session logs it
            if not has_warned and not isinstance(error, ConnectionLossError):
                has_warned = True
                next_step = (
                    "it stays until its session ends" if meaning is AnswerMeaning.REFUSED else "trying again"
                )
                logger.warning(
                    "the removal of %s %s (%s): %s",
                    what,
                    meaning.value,
                    next_step,
                    error,
                    extra={"path": what},
                )
            if meaning is AnswerMeaning.REFUSED:
                forget_permission(api, parent_of(what))
                return _refusal(error, what)
        else:
            return None
        await pauses.wait()
    return None


def _refusal(error: ZooKeeperError, what: str) -> NoAuthError:
    found = error.error if isinstance(error, TransactionError) else error
    if isinstance(found, NoAuthError):
        found.detail = found.detail or _REMEDY
        return found
    return NoAuthError(what)


async def together(*clean_ups: Callable[[], Awaitable[NoAuthError | None]]) -> NoAuthError | None:
    """Run several clean-ups at the same time, so that the caller waits for the longest and not for their sum.

    Returns:
        The first refusal, or None.
    """
    refusals: list[NoAuthError] = []

    async def run(clean_up: Callable[[], Awaitable[NoAuthError | None]]) -> None:
        refusal = await clean_up()
        if refusal is not None:
            refusals.append(refusal)

    with anyio.CancelScope(shield=True):  # each waits for a limited time
        async with anyio.create_task_group() as group:
            for each in clean_ups:
                group.start_soon(run, each)
    return refusals[0] if refusals else None


# --- znodes whose names hold a GUID of ours ----------------------------------------------------------------

# By client: the removals in progress. A contender of the same client ignores these znodes.
_leaving: Final[WeakKeyDictionary[object, list[_Removal]]] = WeakKeyDictionary()


class _RefusedRemoval(NamedTuple):
    """The znodes of a removal that was refused; they stay until an ACL is changed."""

    session: Session
    directory: str
    """The full path on the server."""
    names: tuple[str, ...]
    prefixes: tuple[str, ...]


# By client: the removals that were refused. Without this record, a later contender of the same session would
# wait for its own client's znode for as long as the session lives.
_refused: Final[WeakKeyDictionary[object, list[_RefusedRemoval]]] = WeakKeyDictionary()


async def remove(
    api: RecipeApi,
    session: Session,
    directory: str,
    *,
    names: Iterable[str] = (),
    prefixes: Iterable[str] = (),
) -> NoAuthError | None:
    """Remove children of a directory whose names hold a GUID of ours, as `clean_up`.

    No other client ever uses such a name, so it does no harm if a delete is applied twice.

    Args:
        api: the client's recipe API.
        session: the session that owns the znodes.
        directory: their parent.
        names: the names that are known. Their deletes are sent before this function waits.
        prefixes: the prefixes of names that may exist, because the reply to their create was lost.
    """
    if session is not api.session or session.state.is_final or api.is_over:
        return None
    removal = _Removal(api, session, directory, names, prefixes)
    leaving = _leaving.setdefault(api.root, [])
    leaving.append(removal)

    async def run() -> None:
        try:
            removal.refusal = await _repeat(api, session, removal.attempt, removal.what, ())
            if removal.refusal is not None:
                _refused.setdefault(api.root, []).append(removal.remaining())
        finally:
            leaving.remove(removal)

    def rest() -> Callable[[], Awaitable[None]] | None:
        if not removal.is_done:
            return run
        leaving.remove(removal)
        return None

    last = removal.last_sent
    if last is None:
        await api.clean_up(run)
    else:
        await api.clean_up_after(last, rest)
    return removal.refusal


async def remove_refused(api: RecipeApi, directory: str) -> NoAuthError | None:
    """Remove the znodes in a directory that an ACL earlier prevented this session from removing.

    Call it before creating more znodes there.

    Returns:
        The refusal, if the ACL still does not permit the removal.
    """
    while (refused := _next_refused(api, directory)) is not None:
        names, prefixes = refused.names, refused.prefixes
        refusal = await remove(api, refused.session, directory, names=names, prefixes=prefixes)
        if refusal is not None:
            return refusal
    return None


def _next_refused(api: RecipeApi, directory: str) -> _RefusedRemoval | None:
    known = _refused.get(api.root)
    if not known:
        return None
    known[:] = [each for each in known if each.session is api.session]  # the others ended with their sessions
    full = api.full_path(directory)
    found = next((each for each in known if each.directory == full), None)
    if found is not None:
        known.remove(found)
    return found


def is_leaving(api: RecipeApi, path: str) -> bool:
    """Whether this client is removing the znode at `path`."""
    return any(removal.covers(api, path) for removal in _leaving.get(api.root, ()))


@final
class _Removal:
    """The removal of some znodes in one directory."""

    def __init__(
        self,
        api: RecipeApi,
        session: Session,
        directory: str,
        names: Iterable[str],
        prefixes: Iterable[str],
    ) -> None:
        self._api = api
        self._session = session
        self._directory = directory
        self._prefixes = tuple(prefixes)
        # The deletes are sent here, together; the first attempt waits for them.
        self._sent: dict[str, Pending[None] | None] = {name: self._delete(name) for name in names}
        self._left = list(self._sent)
        self._all_prefixes = (*self._sent, *self._prefixes)
        self.refusal: NoAuthError | None = None

    @property
    def what(self) -> str:
        """The first path, for the log."""
        return join(self._directory, self._all_prefixes[0])

    @property
    def last_sent(self) -> Pending[None] | None:
        """The delete that is answered last; None if names not yet known may also have to be deleted."""
        return None if self._prefixes else next(reversed(self._sent.values()), None)

    @property
    def is_done(self) -> bool:
        """Whether the answers to the first deletes end the removal."""
        return all(
            sent is not None
            and sent.is_done
            and (sent.error is None or meaning_of(sent.error) is AnswerMeaning.DONE)
            for sent in self._sent.values()
        )

    def remaining(self) -> _RefusedRemoval:
        """Return the remaining znodes."""
        full = self._api.full_path(self._directory)
        return _RefusedRemoval(self._session, full, tuple(self._left), self._prefixes)

    def covers(self, api: RecipeApi, path: str) -> bool:
        """Whether the znode at `path`, as `api` sees it, is one of these."""
        full = api.full_path(path)
        return any(
            full.startswith(api.full_path(join(self._directory, prefix))) for prefix in self._all_prefixes
        )

    async def attempt(self) -> None:
        """Delete the remaining znodes; raise an answer that does not end the removal of its znode."""
        if self._prefixes:
            self._left += await self._find()
            self._prefixes = ()
        if self._session is not self._api.session:
            return  # a request sent now would belong to the next session
        sent = [(name, self._sent.pop(name, None) or self._delete(name)) for name in self._left]
        failures: list[ZooKeeperError] = []
        for name, pending in sent:
            try:
                await pending.wait()
            except NoNodeError:
                pass
            except ZooKeeperError as error:
                failures.append(error)
                continue
            self._left.remove(name)
        if failures:
            # a refusal counts only if no other delete must be repeated
            raise min(failures, key=lambda each: isinstance(each, NoAuthError))

    async def _find(self) -> list[str]:
        """Return the names of the znodes whose create got no reply."""
        try:
            names = await self._api.read_caught_up(self._api.operations.get_children(self._directory))
        except NoNodeError:
            return []
        return [name for name in names if name.startswith(self._prefixes) and name not in self._left]

    def _delete(self, name: str) -> Pending[None]:
        path = join(self._directory, name)
        return self._api.submit(self._api.operations.delete(path), is_idempotent=True)

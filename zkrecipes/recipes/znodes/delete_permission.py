"""Finds out, before a contender queues up, whether its directory permits the delete that will end it.

An ACL may permit CREATE and not DELETE. A contender of such a directory could never leave it: its znode would
block all others until its session ends. So the first creation of a session in a directory is part of a
transaction that also creates and deletes another znode there. If the delete is not permitted, nothing is
applied, and the caller gets `NoAuthError`. This costs no round trip; later creations are plain.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary

from zkrecipes.acl import ACL, ANYONE_ID
from zkrecipes.client.recipe_api import Operation, Pending, RecipeApi, Session, as_transaction
from zkrecipes.enums import Perms
from zkrecipes.errors import NoAuthError, NoNodeError, ServerError, TransactionError, ZooKeeperError
from zkrecipes.paths import join

__all__ = [
    "check_probe",
    "created_by_us",
    "forget_permission",
    "is_permitted",
    "probe_unless_known",
    "probing",
]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

T = TypeVar("T")

_KNOWN_MAX: Final = 10_000
"""How many directories are remembered for each client; then all are forgotten, and asked again."""
_DELETES: Final = 1
"""The index of the probe's delete in its transaction."""

# By client: the directories that permitted it, by full path, in the session that has asked.
_permitting: Final[WeakKeyDictionary[object, tuple[Session, set[str]]]] = WeakKeyDictionary()


def is_permitted(api: RecipeApi, directory: str) -> bool:
    """Whether it is known of this session that it may delete children of `directory`."""
    return api.operations.full(directory) in _known(api)


def created_by_us(api: RecipeApi, directory: str) -> None:
    """Remember a directory that this client has just created with its default ACL."""
    if any(entry.id == ANYONE_ID and entry.perms & Perms.DELETE for entry in api.operations.default_acl):
        _remember(api, directory)


def forget_permission(api: RecipeApi, directory: str) -> None:
    """Ask again before the next creation: a delete was refused."""
    _known(api).discard(api.operations.full(directory))


def probing(api: RecipeApi, directory: str, create: Operation[T], acl: Sequence[ACL] | None) -> Operation[T]:
    """Return `create`, together with a probe of the directory if its answer is not known yet.

    The result raises `NoAuthError` if the directory permits no delete; nothing was created then. The other
    errors are those of `create`.

    Args:
        api: of the client.
        directory: the parent of what is created.
        create: the creation.
        acl: of the znodes there.
    """
    if is_permitted(api, directory):
        return create
    path = _probe_path(directory)
    probe = api.operations.create(path, acl=acl), api.operations.delete(path)
    whole = as_transaction([*probe, create])

    def convert(reply: Any) -> T:
        try:
            result: T = whole.convert(reply)[-1]
        except TransactionError as error:
            refusal = _refusal(directory, error)
            if error.index == 0:
                refusal.path = create.request.path  # not that of the probe
            raise refusal from None
        _remember(api, directory)
        return result

    return Operation(whole.request, convert)


def probe_unless_known(api: RecipeApi, directory: str, acl: Sequence[ACL] | None) -> Pending[None] | None:
    """Ask whether the directory permits creating and deleting; nothing is ever applied.

    Returns:
        A request for `check_probe`; None if the answer is known. A directory that is missing is no error.
    """
    if is_permitted(api, directory):
        return None
    path = _probe_path(directory)
    create, delete = api.operations.create(path, acl=acl), api.operations.delete(path)
    # The check always fails, and so does the whole.
    whole = as_transaction([create, delete, api.operations.check(path)])

    def convert(reply: Any) -> None:
        try:
            whole.convert(reply)
        except TransactionError as error:
            if error.index > _DELETES:
                _remember(api, directory)
            elif not isinstance(error.error, NoNodeError):
                raise _refusal(directory, error) from None

    return api.submit(Operation(whole.request, convert))


async def check_probe(probe: Pending[None]) -> None:
    """Wait for the answer to `probe_unless_known`.

    Raises:
        NoAuthError: the directory does not permit it.
    """
    try:
        await probe.wait()
    except NoAuthError:
        raise
    except ZooKeeperError as error:  # the next contender asks again
        logger.debug("it could not be asked whether a directory permits DELETE: %s", error)


def _probe_path(directory: str) -> str:
    return join(directory, f"probe-{uuid4().hex}")


def _refusal(directory: str, error: TransactionError) -> ServerError:
    """What the caller gets: it knows nothing of the probe."""
    if error.index == _DELETES and isinstance(error.error, NoAuthError):
        detail = "the directory must permit DELETE, too: whatever is created there could not be removed"
        return NoAuthError(directory, detail=detail)
    return error.error


def _known(api: RecipeApi) -> set[str]:
    session, known = _permitting.get(api.root, (None, set[str]()))
    if session is not api.session:
        known = set()
        _permitting[api.root] = (api.session, known)
    return known


def _remember(api: RecipeApi, directory: str) -> None:
    known = _known(api)
    if len(known) >= _KNOWN_MAX:
        known.clear()
    known.add(api.operations.full(directory))

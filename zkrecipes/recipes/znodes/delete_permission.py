"""Finds out, before a contender queues up, whether its directory permits the delete of its znode.

The problem: an ACL may permit CREATE and not DELETE. A contender could never leave such a directory, and its
znode would block all others until its session ends. The trick: the first create of a session in a directory
is part of a transaction that also creates and deletes another znode there. The consequences: if the delete is
not permitted, nothing is applied, and the caller gets `NoAuthError`; the test costs no round trip, and later
creates need no transaction.
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
"""The most directories remembered for each client. If there are more, all are forgotten and probed again."""
_DELETES: Final = 1
"""The index of the probe's delete in its transaction."""

# By client: the session that has probed, and the full paths of the directories that permit the delete.
_permitting: Final[WeakKeyDictionary[object, tuple[Session, set[str]]]] = WeakKeyDictionary()


def is_permitted(api: RecipeApi, directory: str) -> bool:
    """Whether this session is known to have permission to delete children of `directory`."""
    return api.full_path(directory) in _known(api)


def created_by_us(api: RecipeApi, directory: str) -> None:
    """Remember a directory that this client has just created with its default ACL."""
    if any(entry.id == ANYONE_ID and entry.perms & Perms.DELETE for entry in api.default_acl):
        _remember(api, directory)


def forget_permission(api: RecipeApi, directory: str) -> None:
    """Forget a directory, so that it is probed before the next create. Call it when a delete was refused."""
    _known(api).discard(api.full_path(directory))


def probing(api: RecipeApi, directory: str, create: Operation[T], acl: Sequence[ACL] | None) -> Operation[T]:
    """Return `create`, together with a probe of the directory if its permission is not known yet.

    The result raises `NoAuthError` if the directory permits no delete; then nothing was created. The other
    errors are those of `create`.

    Args:
        api: the client's recipe API.
        directory: the parent of the new znode.
        create: the operation that creates it.
        acl: the ACL of the znodes there.
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
                refusal.path = create.request.path  # and not the probe's path
            raise refusal from None
        _remember(api, directory)
        return result

    return Operation(whole.request, convert, requirement=whole.requirement)


def probe_unless_known(api: RecipeApi, directory: str, acl: Sequence[ACL] | None) -> Pending[None] | None:
    """Submit a probe that reports whether the directory permits create and delete; it is never applied.

    Returns:
        A request for `check_probe`; None if the permission is known. A missing directory is not an error.
    """
    if is_permitted(api, directory):
        return None
    path = _probe_path(directory)
    create, delete = api.operations.create(path, acl=acl), api.operations.delete(path)
    # The check always fails, and so does the whole transaction.
    whole = as_transaction([create, delete, api.operations.check(path)])

    def convert(reply: Any) -> None:
        try:
            whole.convert(reply)
        except TransactionError as error:
            if error.index > _DELETES:
                _remember(api, directory)
            elif not isinstance(error.error, NoNodeError):
                raise _refusal(directory, error) from None

    return api.submit(Operation(whole.request, convert, requirement=whole.requirement))


async def check_probe(probe: Pending[None]) -> None:
    """Wait for the answer to `probe_unless_known`.

    Raises:
        NoAuthError: the directory does not permit create or delete.
    """
    try:
        await probe.wait()
    except NoAuthError:
        raise
    except ZooKeeperError as error:
        logger.debug("could not probe for DELETE: %s (the next contender probes again)", error)


def _probe_path(directory: str) -> str:
    return join(directory, f"probe-{uuid4().hex}")


def _refusal(directory: str, error: TransactionError) -> ServerError:
    """Return the error for the caller, whose operations do not include the probe."""
    if error.index == _DELETES and isinstance(error.error, NoAuthError):
        detail = (
            "the directory must permit DELETE as well, or znodes that are created there cannot be removed"
        )
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
    known.add(api.full_path(directory))

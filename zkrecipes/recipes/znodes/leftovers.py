"""Removes znodes that a session still owns in a directory, before a contender of that session queues up.

Otherwise the contender would wait for a znode of the same session for as long as the session lives. There are
two kinds of leftovers. The first are znodes that this client could not remove because of an ACL: it tries
again. The second are znodes of an earlier client, because `connect(resume=…)` continues the session of a
process that may have died inside a lock: they are removed once. A znode that the session created before it
was resumed is a leftover; a younger znode belongs to this client and is never touched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from zkrecipes.client.recipe_api import RecipeApi, Session, Stat
from zkrecipes.errors import NoNodeError
from zkrecipes.paths import join
from zkrecipes.recipes.znodes.clean_up import remove, remove_refused

__all__ = ["is_leftover", "remove_leftovers"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

# By client: the resumed session, and the full paths of the directories without leftovers.
_cleared: Final[WeakKeyDictionary[object, tuple[Session, set[str]]]] = WeakKeyDictionary()


def is_leftover(session: Session, stat: Stat) -> bool:
    """Whether the session owned the znode before this client resumed the session."""
    return stat.ephemeral_owner == session.id and stat.czxid <= session.resumed_zxid


async def remove_leftovers(api: RecipeApi, directory: str, is_of_recipe: Callable[[str], bool]) -> None:
    """Remove the leftovers in a directory: of a resumed session once, of this client at each call.

    Args:
        api: the client's recipe API.
        directory: the directory; it may be missing.
        is_of_recipe: whether a name belongs to the recipe. Such names hold GUIDs and are never used again.

    Raises:
        NoAuthError: the directory does not permit DELETE.
        ZooKeeperError: a read or a delete failed.
    """
    refusal = await remove_refused(api, directory)
    if refusal is not None:
        raise refusal
    session = api.session
    if not session.resumed_zxid:
        return
    cleared = _cleared_in(api, session)
    full = api.full_path(directory)
    if full in cleared:
        return
    names = await _find(api, session, directory, is_of_recipe)
    if session is not api.session:
        return  # the znodes end with their session
    if names:
        logger.info("removing znodes that an earlier client of this session left in %s: %s", directory, names)
        refusal = await remove(api, session, directory, names=names)
        if refusal is not None:
            raise refusal
    cleared.add(full)


def _cleared_in(api: RecipeApi, session: Session) -> set[str]:
    known = _cleared.get(api.root)
    if known is None or known[0] is not session:
        known = _cleared[api.root] = (session, set())
    return known[1]


async def _find(
    api: RecipeApi, session: Session, directory: str, is_of_recipe: Callable[[str], bool]
) -> list[str]:
    try:
        children = await api.submit(api.operations.get_children(directory)).wait()
    except NoNodeError:
        return []
    names = [name for name in children if is_of_recipe(name)]
    reads = [api.submit(api.operations.exists(join(directory, name))) for name in names]
    found = []
    for name, pending in zip(names, reads, strict=True):
        stat = await pending.wait()
        if stat is not None and is_leftover(session, stat):
            found.append(name)
    return found

"""Who else has znodes in a recipe's directory: named once in the log, for whoever wonders about them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.recipes.locking.layouts import LockLayout

__all__ = ["is_first_report", "log_miscounted_children", "log_once", "log_unexpected_children"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_NAMED_MAX: Final = 1000
"""So many are remembered for each client; then all are forgotten, so that a crowd fills no memory."""
_NAMED_AT_ONCE: Final = 5

_KINDS: Final = (
    (r"[0-9a-f]{32}__lock__-?\d+|_c_[0-9a-f-]+-lock--?\d+", "a lock's"),
    (r"[0-9a-f]{32}__rlock__-?\d+|_c_[0-9a-f-]+-__(READ|WRIT)__-?\d+", "a read-write lock's"),
    (r"[0-9a-f]{32}|_c_[0-9a-f-]+-lease--?\d+", "a semaphore's"),
    (r"_c_[0-9a-f-]+-latch--?\d+", "an election's"),
    (r"[0-9a-f]{32}__party__", "a party's"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a double barrier's"),
)
"""How kazoo's, Curator's and our own recipes name their znodes."""

# For each client, as recipe objects, and views of it, may be made anew for each use: what it has told.
_told: Final[WeakKeyDictionary[object, set[tuple[str, str]]]] = WeakKeyDictionary()


def log_unexpected_children(
    client: Client, directory: str, children: Iterable[str], layout: LockLayout
) -> None:
    """Log what is new among the children that the layout does not know, and whose contenders are here, too.

    Contenders of another library are named once for each directory: they come and go.
    """
    strangers = []
    for name in children:
        if layout.tag_and_sequence_of(name) is not None:
            continue
        other = layout.foreign_and_sequence_of(name)
        if other is None:
            strangers.append(name)
        elif is_first_report(client, directory, other[0].library):
            logger.warning(
                "%s: %s has the name of a contender of %s's. One that came before is waited for, but it may "
                "not wait for us: all contenders on a path must use the same layout, and ours is %r",
                directory,
                name,
                other[0].library,
                layout.name,
                extra={"path": directory},
            )
    log_once(client, directory, strangers, "no contender's name, and ignored")


def log_miscounted_children(client: Client, directory: str, strangers: Iterable[str]) -> None:
    """Log what is new among the children that are no permits of a semaphore and take the place of some."""
    log_once(client, directory, strangers, "no permit's name, and counted as one, as kazoo and Curator do")


def log_once(client: Client, directory: str, strangers: Iterable[str], what: str) -> None:
    """Log what is new among these children.

    Args:
        client: who has found them.
        directory: whose children they are.
        strangers: their names.
        what: what they are not, and what becomes of them.
    """
    news = [name for name in strangers if is_first_report(client, directory, f"/{name}")]
    if news:
        others = f" and {len(news) - _NAMED_AT_ONCE} more" if len(news) > _NAMED_AT_ONCE else ""
        named = ", ".join(map(_describe, news[:_NAMED_AT_ONCE]))
        logger.warning("%s: %s: %s%s", directory, what, named, others, extra={"path": directory})


def _describe(name: str) -> str:
    """A name, and which recipe gives such names: perhaps two use one path."""
    kinds = [kind for form, kind in _KINDS if re.fullmatch(form, name)]
    return f"{name!r} ({kinds[0]})" if kinds else repr(name)


def is_first_report(client: Client, directory: str, what: str) -> bool:
    """Whether a client has not told this of a directory yet; it has now."""
    api = recipe_api(client)
    told = _told.setdefault(api.root, set())
    news = (api.operations.full(directory), what)
    if news in told:
        return False
    if len(told) >= _NAMED_MAX:
        told.clear()
    told.add(news)
    return True

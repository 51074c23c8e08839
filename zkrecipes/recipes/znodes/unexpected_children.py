"""Logs unexpected children of a recipe's directory once, because they may explain why a lock waits."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.recipes.locking.lock_layouts import LockLayout

__all__ = ["is_first_report", "log_miscounted_children", "log_once", "log_unexpected_children"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_REPORTED_MAX: Final = 1000
"""The most reports remembered for each client. If there are more, all are forgotten, to bound the memory."""
_NAMES_IN_LINE: Final = 5

_KINDS: Final = (
    (r"[0-9a-f]{32}__lock__-?\d+|_c_[0-9a-f-]+-lock--?\d+", "a lock's"),
    (r"[0-9a-f]{32}__rlock__-?\d+|_c_[0-9a-f-]+-__(READ|WRIT)__-?\d+", "a read-write lock's"),
    (r"[0-9a-f]{32}|_c_[0-9a-f-]+-lease--?\d+", "a semaphore's"),
    (r"_c_[0-9a-f-]+-latch--?\d+", "an election's"),
    (r"[0-9a-f]{32}__party__", "a party's"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a double barrier's"),
)
"""Patterns of names, and the recipes of kazoo, Curator or ours that use them."""

# By client, because each use may create a new recipe object or a new view: the reports that it has logged.
_reported: Final[WeakKeyDictionary[object, set[tuple[str, str]]]] = WeakKeyDictionary()


def log_unexpected_children(
    client: Client, directory: str, children: Iterable[str], layout: LockLayout
) -> None:
    """Log, once each, the children that do not fit the layout, and contenders of another library.

    Contenders of another library are logged once for each directory, because they change all the time.
    """
    unexpected = []
    for name in children:
        if layout.tag_and_sequence_of(name) is not None:
            continue
        foreign = layout.foreign_and_sequence_of(name)
        if foreign is None:
            unexpected.append(name)
        elif is_first_report(client, directory, foreign[0].library):
            logger.warning(
                "%s: %s has the name of a %s contender. We wait for it if it came first, but it may not wait "
                "for us: all contenders on a path must use the same layout, and ours is %r",
                directory,
                name,
                foreign[0].library,
                layout.name,
                extra={"path": directory},
            )
    log_once(client, directory, unexpected, "has unexpected children (not contenders, and ignored)")


def log_miscounted_children(client: Client, directory: str, names: Iterable[str]) -> None:
    """Log, once each, the children that are not permits of a semaphore but count as permits."""
    what = "has unexpected children (not permits, but counted as permits, as kazoo and Curator count them)"
    log_once(client, directory, names, what)


def log_once(client: Client, directory: str, names: Iterable[str], what: str) -> None:
    """Log those of these children that have not been logged yet.

    Args:
        client: the client that found them.
        directory: their parent.
        names: their names.
        what: the text of the log line, with the reason why they are unexpected and the recipe's reaction.
    """
    new = [name for name in names if is_first_report(client, directory, f"/{name}")]
    if new:
        others = f" and {len(new) - _NAMES_IN_LINE} more" if len(new) > _NAMES_IN_LINE else ""
        listed = ", ".join(map(_describe, new[:_NAMES_IN_LINE]))
        logger.warning(
            "%s %s: %s%s",
            directory,
            what,
            listed,
            others,
            extra={"path": directory},
        )


def _describe(name: str) -> str:
    """Return the name, and the recipe that uses such names, because two recipes may use one path."""
    kinds = [kind for pattern, kind in _KINDS if re.fullmatch(pattern, name)]
    return f"{name!r} ({kinds[0]})" if kinds else repr(name)


def is_first_report(client: Client, directory: str, what: str) -> bool:
    """Whether the client has not reported this about a directory yet; remember it as reported."""
    api = recipe_api(client)
    reported = _reported.setdefault(api.root, set())
    report = (api.full_path(directory), what)
    if report in reported:
        return False
    if len(reported) >= _REPORTED_MAX:
        reported.clear()
    reported.add(report)
    return True

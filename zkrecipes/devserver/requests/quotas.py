"""Quotas: counts of the znodes and bytes below each path with a quota. Nothing is refused.

A client creates `/zookeeper/quota/PATH/zookeeper_limits`, and `zookeeper_stats` beside it. In the latter, the
server keeps the count of znodes and the sum of their bytes (`DataTree.updateQuotaStat`, `StatsTrack`, 3.9).
Like a real server by default, it does not enforce quotas: it only logs that a limit is exceeded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import NamedTuple, final

from zkrecipes.devserver.data_tree import DataTree, ZNode

__all__ = ["Quotas", "SizeChange"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

_QUOTAS = "/zookeeper/quota"
_LIMITS = "/zookeeper_limits"
_STATS = "/zookeeper_stats"
_COUNT, _BYTES = "count", "bytes"
_UNLIMITED = -1
_PAIR = re.compile("([^=,;]+)=(-?[0-9]+)")


class SizeChange(NamedTuple):
    """A znode was created or deleted, or its data changed."""

    path: str
    bytes: int
    """The growth of the data in bytes; negative if it shrank."""
    znodes: int
    """1 for a created znode, -1 for a deleted one, otherwise 0."""


@final
class Quotas:
    """The quotas of one tree, which stores all of their state."""

    def __init__(self, tree: DataTree) -> None:
        self._tree = tree

    def apply(self, size_changes: Iterable[SizeChange]) -> None:
        """Update the statistics after changes of the tree."""
        quotas = self._tree.find(_QUOTAS)
        if quotas is None or not quotas.children:
            return
        for size_change in size_changes:
            if (
                size_change.znodes > 0
                and size_change.path.startswith(_QUOTAS)
                and size_change.path.endswith(_STATS)
            ):
                self._recount(size_change.path)
            path = self._path_with_quota(size_change.path)
            if path is not None:
                self._add(path, size_change)

    def _path_with_quota(self, path: str) -> str | None:
        """Return the nearest path with a quota at or above `path`; a quota of the root does not count."""
        while path:
            if f"{_QUOTAS}{path}{_LIMITS}" in self._tree:
                return path
            path = path[: path.rfind("/")]
        return None

    def _add(self, path: str, size_change: SizeChange) -> None:
        stats = self._tree.find(f"{_QUOTAS}{path}{_STATS}")
        if stats is None:
            return
        limits = _decode(self._tree.get(f"{_QUOTAS}{path}{_LIMITS}"))
        numbers = _decode(stats)
        for key, growth in ((_COUNT, size_change.znodes), (_BYTES, size_change.bytes)):
            numbers[key] = numbers.get(key, _UNLIMITED) + growth
            limit = limits.get(key, _UNLIMITED)
            if growth > 0 and _UNLIMITED < limit < numbers[key]:
                logger.warning(
                    "quota exceeded below %s: %s is %d, the limit is %d (not enforced)",
                    path,
                    key,
                    numbers[key],
                    limit,
                )
        self._write(stats, numbers)

    def _recount(self, stats_path: str) -> None:
        path = stats_path[len(_QUOTAS) : -len(_STATS)]
        numbers = {_COUNT: 0, _BYTES: 0}
        stack = [path]
        while stack:
            node = self._tree.find(stack[-1])
            parent = stack.pop()
            if node is not None:
                numbers[_COUNT] += 1
                numbers[_BYTES] += len(node.data or b"")
                stack += [f"{parent}/{name}" for name in node.children or ()]
        self._write(self._tree.get(stats_path), numbers)

    def _write(self, stats: ZNode, numbers: dict[str, int]) -> None:
        """Write statistics. No client changed the znode, so its version and zxid stay the same."""
        self._tree.set_data(stats, _encode(numbers), stats.version, stats.mzxid, stats.mtime)


def _decode(node: ZNode) -> dict[str, int]:
    text = (node.data or b"").decode("utf-8", "replace")
    return {key: int(number) for key, number in _PAIR.findall(text)}


def _encode(numbers: dict[str, int]) -> bytes:
    """Write count and bytes first, as the oldest clients read them; newer keys follow a second `=`."""
    text = f"{_COUNT}={numbers.get(_COUNT, _UNLIMITED)},{_BYTES}={numbers.get(_BYTES, _UNLIMITED)}"
    others = sorted(numbers.keys() - {_COUNT, _BYTES})
    if others:
        text += "=" + "".join(f";{key}={numbers[key]}" for key in others)
    return text.encode()

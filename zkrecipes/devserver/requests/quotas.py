"""Quotas: what stands below a path is counted where a client has asked for it. Nothing is ever refused.

A client makes `/zookeeper/quota/PATH/zookeeper_limits`, and beside it `zookeeper_stats`. There the server
keeps the count of znodes and the sum of their bytes (`DataTree.updateQuotaStat`, `StatsTrack`, 3.9). It
enforces no quota, as real ones do not by default: who goes beyond a limit is told nothing, only the log is.
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
    """A znode came, went, or got other data."""

    path: str
    bytes: int
    """How many more there are."""
    znodes: int
    """1, -1 or 0."""


@final
class Quotas:
    """Keeps the statistics of all quotas of one tree, which is where all of its state is."""

    def __init__(self, tree: DataTree) -> None:
        self._tree = tree

    def follow(self, size_changes: Iterable[SizeChange]) -> None:
        """Count what has changed in the tree."""
        quotas = self._tree.find(_QUOTAS)
        if quotas is None or not quotas.children:
            return
        for size_change in size_changes:
            if (
                size_change.znodes > 0
                and size_change.path.startswith(_QUOTAS)
                and size_change.path.endswith(_STATS)
            ):
                self._count_afresh(size_change.path)
            path = self._limited(size_change.path)
            if path is not None:
                self._add(path, size_change)

    def _limited(self, path: str) -> str | None:
        """The nearest path with a quota at or above `path`; the root's does not count."""
        while path:
            if f"{_QUOTAS}{path}{_LIMITS}" in self._tree:
                return path
            path = path[: path.rfind("/")]
        return None

    def _add(self, path: str, size_change: SizeChange) -> None:
        stats = self._tree.find(f"{_QUOTAS}{path}{_STATS}")
        if stats is None:
            return
        limits = _numbers(self._tree.get(f"{_QUOTAS}{path}{_LIMITS}"))
        numbers = _numbers(stats)
        for key, more in ((_COUNT, size_change.znodes), (_BYTES, size_change.bytes)):
            numbers[key] = numbers.get(key, _UNLIMITED) + more
            limit = limits.get(key, _UNLIMITED)
            if more > 0 and _UNLIMITED < limit < numbers[key]:
                logger.warning("quota exceeded: %s has %s %d, limit %d", path, key, numbers[key], limit)
        self._write(stats, numbers)

    def _count_afresh(self, stats_path: str) -> None:
        path = stats_path[len(_QUOTAS) : -len(_STATS)]
        numbers = {_COUNT: 0, _BYTES: 0}
        below = [path]
        while below:
            node = self._tree.find(below[-1])
            parent = below.pop()
            if node is not None:
                numbers[_COUNT] += 1
                numbers[_BYTES] += len(node.data or b"")
                below += [f"{parent}/{name}" for name in node.children or ()]
        self._write(self._tree.get(stats_path), numbers)

    def _write(self, stats: ZNode, numbers: dict[str, int]) -> None:
        """As it is no client's change, neither the version nor the zxid of the znode moves."""
        self._tree.set_data(stats, _text(numbers), stats.version, stats.mzxid, stats.mtime)


def _numbers(node: ZNode) -> dict[str, int]:
    text = (node.data or b"").decode("utf-8", "replace")
    return {key: int(number) for key, number in _PAIR.findall(text)}


def _text(numbers: dict[str, int]) -> bytes:
    """Count and bytes first, as the oldest clients read them; what came later hides behind a second `=`."""
    text = f"{_COUNT}={numbers.get(_COUNT, _UNLIMITED)},{_BYTES}={numbers.get(_BYTES, _UNLIMITED)}"
    others = sorted(numbers.keys() - {_COUNT, _BYTES})
    if others:
        text += "=" + "".join(f";{key}={numbers[key]}" for key in others)
    return text.encode()

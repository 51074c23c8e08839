"""The containers and TTL znodes that are due for deletion. Pure (`ContainerManager.getCandidates`, 3.9)."""

from __future__ import annotations

from zkrecipes.devserver.data_tree import DataTree, ZNode, ZNodeKind

__all__ = ["CHECK_INTERVAL", "due_paths"]

CHECK_INTERVAL = 60.0
"""The interval at which a server checks, in seconds (`znode.container.checkIntervalMs`)."""


def due_paths(tree: DataTree, time_ms: int, *, start_counter: int = 0) -> list[str]:
    """Return the paths that are due for deletion.

    Args:
        tree: the znodes.
        time_ms: milliseconds since 1970.
        start_counter: the initial value of sequence counters; a container whose counter still has this value
            never had a child.
    """
    return [path for path, node in tree.reapable() if _is_due(node, time_ms, start_counter)]


def _is_due(node: ZNode, time_ms: int, start_counter: int) -> bool:
    if node.children:
        return False
    if node.kind is ZNodeKind.TTL:
        return time_ms - node.mtime > node.ttl_ms
    # A container that never had a child stays: `znode.container.maxNeverUsedIntervalMs` is 0 by default.
    return node.creates != start_counter

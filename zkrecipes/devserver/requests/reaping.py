"""Which containers and TTL znodes are due. Pure (`ContainerManager.getCandidates`, 3.9)."""

from __future__ import annotations

from zkrecipes.devserver.data_tree import DataTree, ZNode, ZNodeKind

__all__ = ["CHECK_INTERVAL", "due"]

CHECK_INTERVAL = 60.0
"""How often a server looks, in seconds (`znode.container.checkIntervalMs`)."""


def due(tree: DataTree, time_ms: int, *, start_counter: int = 0) -> list[str]:
    """The paths that are to be deleted now.

    Args:
        tree: the znodes.
        time_ms: milliseconds since 1970.
        start_counter: from what sequence counters start, which tells whether there ever was a child.
    """
    return [path for path, node in tree.reapable() if _is_due(node, time_ms, start_counter)]


def _is_due(node: ZNode, time_ms: int, start_counter: int) -> bool:
    if node.children:
        return False
    if node.kind is ZNodeKind.TTL:
        return time_ms - node.mtime > node.ttl_ms
    # One that never had a child stays for ever: `znode.container.maxNeverUsedIntervalMs` is 0 by default.
    return node.creates != start_counter

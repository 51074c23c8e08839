"""From what the fixtures' servers take their randomness: a test that fails by it once shall fail always."""

from __future__ import annotations

from zlib import crc32

__all__ = ["seed_of"]


def seed_of(node_id: str) -> int:
    """The seed of a test's server: another for each test, the same in each run.

    Args:
        node_id: the test's, as pytest names it.
    """
    return crc32(node_id.encode())

"""For our tests and our users': a network in memory that can be cut, clogged and slowed down."""

from zkrecipes.testing.memory_network import MemoryNetwork, View
from zkrecipes.testing.memory_stream import Direction, Link, MemoryStream

__all__ = ["Direction", "Link", "MemoryNetwork", "MemoryStream", "View"]

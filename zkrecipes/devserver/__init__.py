"""A ZooKeeper in one process, for development and tests. Never for production."""

from zkrecipes.devserver.faults import Fault, Faults, HeldReplies, Hurt
from zkrecipes.devserver.server import DevServer

__all__ = ["DevServer", "Fault", "Faults", "HeldReplies", "Hurt"]

"""A ZooKeeper in one process, for development and tests. Never for production."""

from zkrecipes.devserver.faults import Fault, Faults, HeldReplies, Hurt
from zkrecipes.devserver.server import DevServer
from zkrecipes.devserver.store import DataDirError

__all__ = ["DataDirError", "DevServer", "Fault", "Faults", "HeldReplies", "Hurt"]

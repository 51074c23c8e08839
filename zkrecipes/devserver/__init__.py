"""A ZooKeeper server in this process, for development and tests. Never for production."""

from zkrecipes.devserver.fault_injector import FaultKind, RequestSelector
from zkrecipes.devserver.faults import Fault, Faults, HeldReplies
from zkrecipes.devserver.server import DevServer
from zkrecipes.devserver.storage.data_dir import DataDirError

__all__ = ["DataDirError", "DevServer", "Fault", "FaultKind", "Faults", "HeldReplies", "RequestSelector"]

"""Real Apache ZooKeeper servers for tests and development, run as processes of this program.

`ApacheServer` runs one server, `ApacheEnsemble` several that form a quorum. Both use the jars of an installed
ZooKeeper (`find_installation`) and need Java and a POSIX system.
"""

from zkrecipes.ensemble.errors import ServerNotFoundError, ServerStartError
from zkrecipes.ensemble.four_letter import ServerStatus, ask
from zkrecipes.ensemble.installation import Installation, find_installation
from zkrecipes.ensemble.members import ApacheEnsemble
from zkrecipes.ensemble.server import ApacheServer

__all__ = [
    "ApacheEnsemble",
    "ApacheServer",
    "Installation",
    "ServerNotFoundError",
    "ServerStartError",
    "ServerStatus",
    "ask",
    "find_installation",
]

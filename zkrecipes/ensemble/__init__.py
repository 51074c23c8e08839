"""Real Apache ZooKeeper servers: for tests and development as processes of this program, and as daemons.

`ApacheServer` runs one server, `ApacheEnsemble` several that form a quorum. Both use the jars of an installed
ZooKeeper (`find_installation`) and need Java and a POSIX system. `ServerControl` starts and stops an
installed server with its configuration file, as zkServer.sh does.
"""

from zkrecipes.ensemble.errors import (
    PortInUseError,
    ServerConfigError,
    ServerDataError,
    ServerNotFoundError,
    ServerRunningError,
    ServerStartError,
    ServerStopError,
)
from zkrecipes.ensemble.four_letter import ServerStatus, ask
from zkrecipes.ensemble.installation import Installation, find_installation
from zkrecipes.ensemble.installation_checks import CheckState, InstallationCheck, check_installation
from zkrecipes.ensemble.members import ApacheEnsemble
from zkrecipes.ensemble.server import ApacheServer
from zkrecipes.ensemble.server_config import MemberLine, ServerConfig, read_server_config
from zkrecipes.ensemble.server_control import ServerControl, ServerReport, StartedServer
from zkrecipes.ensemble.server_probe import Probe

__all__ = [
    "ApacheEnsemble",
    "ApacheServer",
    "CheckState",
    "Installation",
    "InstallationCheck",
    "MemberLine",
    "PortInUseError",
    "Probe",
    "ServerConfig",
    "ServerConfigError",
    "ServerControl",
    "ServerDataError",
    "ServerNotFoundError",
    "ServerReport",
    "ServerRunningError",
    "ServerStartError",
    "ServerStatus",
    "ServerStopError",
    "StartedServer",
    "ask",
    "check_installation",
    "find_installation",
    "read_server_config",
]

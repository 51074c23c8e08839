"""Connect with the settings of a properties file, as an operator edits it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import trio

import zkrecipes as zk

PROPERTIES = """\
zookeeper.enabled=true
zookeeper.connection-string={hosts} # comma separated list of host:port
zookeeper.session-timeout=5 s
server.port=8080
"""


async def main() -> None:
    async with zk.DevServer() as server:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "application.properties"
            path.write_text(PROPERTIES.format(hosts=server.connect_string), "utf-8")
            settings = zk.read_settings(path)
        if not settings.enabled:
            print("running alone")
            return
        async with zk.connect_from(settings) as client:
            print(f"connected, with a session timeout of {client.session.timeout:g} s")


trio.run(main)

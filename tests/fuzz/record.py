"""Records the conversations with a real server: `python -m tests.fuzz.record 3.9.5`.

`ZOOKEEPER_HOME` is the server's directory. The release is part of the files' names and decides which scripts
run. Each script gets a new server, so that a recording depends on nothing before it.
"""

from __future__ import annotations

import json
import socket
import sys

import anyio

from tests.apache.server_versions import version_of
from tests.fuzz.conversations import RECORDED, SCRIPTS, Conversation
from tests.fuzz.player import Player
from zkrecipes.ensemble import ApacheServer
from zkrecipes.protocol.connection_stage import Stage


def main(release: str) -> None:
    """Record every script whose operations this release has."""
    major, minor, *_ = map(int, release.split("."))
    version = version_of(major, minor)
    for name, script in SCRIPTS.items():
        if script.since <= version:
            player = Player(Conversation("", script, version, ()))
            parts = anyio.run(_record, player)
            facts = {"script": name, "version": version, "parts": parts}
            (RECORDED / f"{name}-{release}.json").write_text(json.dumps(facts, indent=1) + "\n", "ascii")


async def _record(player: Player) -> list[list[str]]:
    async with ApacheServer(settings={"extendedTypesEnabled": True}) as server:
        host, _, port = server.connect_string.partition(":")
        return await anyio.to_thread.run_sync(_converse, player, (host, int(port)))


def _converse(player: Player, address: tuple[str, int]) -> list[list[str]]:
    """Play the script, and return the frames of the three parts of the answers in hexadecimal."""
    with socket.create_connection(address, timeout=10) as connection, connection.makefile("rb") as answers:

        def next_frame() -> str:
            length = answers.read(4)
            frame = length + answers.read(int.from_bytes(length, "big"))
            player.receive([frame])
            return frame.hex()

        parts: list[list[str]] = [[], [], []]
        connection.sendall(player.send_due())
        parts[0].append(next_frame())
        connection.sendall(player.send_due())
        while player.side.stage is not Stage.LIVE:
            parts[1].append(next_frame())
        connection.sendall(player.send_due())
        while not player.is_all_answered:
            parts[2].append(next_frame())
        return parts


if __name__ == "__main__":
    main(sys.argv[1])

"""Finds the member that a client is connected to, and checks that nothing is left on any member."""

from __future__ import annotations

import anyio

import zkrecipes as zk
from tests.apache.served import watch_count
from tests.apache.server_versions import version_of_server
from tests.apache.waiting import until
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer, ask
from zkrecipes.enums import ServerVersion

_POLL_INTERVAL = 0.02


async def member_of(ensemble: ApacheEnsemble, client: zk.Client) -> ApacheServer:
    """Wait until a client is connected, and return its member."""
    session_id = client.session.id & 0xFFFF_FFFF_FFFF_FFFF
    while True:
        for member in ensemble.members:
            with anyio.move_on_after(2):
                try:
                    if f"sid=0x{session_id:x}," in await ask(member.host, member.port, "cons"):
                        return member
                except OSError:
                    continue  # it does not run
        await anyio.sleep(_POLL_INTERVAL)


async def follower_of(ensemble: ApacheEnsemble, client: zk.Client) -> ApacheServer:
    """Move the client to a follower if necessary, and return that member."""
    leader = await ensemble.leader()
    while (member := await member_of(ensemble, client)) is leader:
        client.update_hosts(",".join(each.connect_string for each in ensemble.members if each is not leader))
        await drop_connection(client)
    client.update_hosts(ensemble.connect_string)
    return member


async def drop_connection(client: zk.Client) -> None:
    """Make the client reconnect; its session stays."""
    try:
        await client.set("/", bytes(2_000_000))  # too large, so the server ends the connection
    except zk.ConnectionLossError:
        await client.exists("/")


async def until_nothing_is_left(ensemble: ApacheEnsemble, client: zk.Client, path: str) -> None:
    """Wait until a lock's directory has no contender's znode, and no server has a watch.

    A server before 3.5 cannot remove a watch, so one that has not fired stays as long as its connection.
    """
    are_watches_removed = version_of_server(await ensemble.leader()) >= ServerVersion.V3_5

    async def is_clean() -> bool:
        await client.sync()
        watches = sum([await watch_count(member) for member in ensemble.members])
        return not (watches and are_watches_removed) and not await zk.Mutex(client, path).contenders()

    await until(is_clean)

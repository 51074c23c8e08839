"""Who is connected to which member of an ensemble, and what is left behind on all of them."""

from __future__ import annotations

import anyio

import zkrecipes as zk
from tests.apache.served import watch_count
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer, ask

_POLL_INTERVAL = 0.02


async def member_of(ensemble: ApacheEnsemble, client: zk.Client) -> ApacheServer:
    """The member that a client is connected to; waits until there is one."""
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


async def until_nothing_is_left(ensemble: ApacheEnsemble, client: zk.Client, path: str) -> None:
    """Wait until there is no znode below `path`, and no watch anywhere."""
    with anyio.fail_after(20):
        while True:
            await client.sync()
            stat = await client.exists(path)
            children = [] if stat is None else await client.get_children(path)
            watches = sum([await watch_count(member) for member in ensemble.members])
            if not children and watches == 0:
                return
            await anyio.sleep(_POLL_INTERVAL)

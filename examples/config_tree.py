"""A consistent snapshot of settings that belong together but are stored in several znodes."""

import trio

import zkrecipes as zk


async def move(client: zk.Client) -> None:
    async with client.transaction() as tx:
        tx.set("/config/db/host", b"db2")
        tx.set("/config/db/port", b"5433")


async def main() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        await client.create("/config/db/host", b"db1", make_parents=True)
        await client.create("/config/db/port", b"5432")
        tree = zk.ConfigTree(client, "/config")
        print(await tree.snapshot())
        async with tree.changes() as changes:
            await anext(changes)
            await move(client)
            change = await anext(changes)
            print(sorted(change.updated), change.values["db/host"], change.values["db/port"])


trio.run(main)

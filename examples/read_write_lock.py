"""Many clients read the price list at the same time; the client that changes it is alone."""

import trio

import zkrecipes as zk


async def read(client: zk.Client, name: str) -> None:
    async with zk.ReadWriteLock(client, "/locks/prices", identifier=name).read():
        data, _ = await client.get("/prices")
        print(name, "reads", data)
        await trio.sleep(0.2)


async def main() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        await client.create("/prices", b"old")
        lock = zk.ReadWriteLock(client, "/locks/prices", identifier="editor")
        async with trio.open_nursery() as nursery, lock.write() as hold:
            nursery.start_soon(read, client, "Ann")
            nursery.start_soon(read, client, "Bob")
            async with hold.transaction() as tx:  # fails as a whole if the lock is lost
                tx.set("/prices", b"new")
            print("changed, with token", hold.fencing_token)
            await lock.downgrade()  # lets Ann and Bob in, but no other writer
            data, _ = await client.get("/prices")
            print("still", data)


trio.run(main)

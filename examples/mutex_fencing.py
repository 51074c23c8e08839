"""A worker writes under a lock into storage that refuses the writes of earlier holders."""

import trio

import zkrecipes as zk


class Storage:
    """A storage that keeps the largest token that it has seen, and refuses smaller ones."""

    def __init__(self) -> None:
        self.token = 0

    def write(self, text: str, token: int) -> None:
        """Keep the text, unless the token belongs to an earlier holder."""
        if token < self.token:
            print("refused:", text)
            return
        self.token = token
        print("written:", text)


async def main() -> None:
    storage = Storage()
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        await client.create("/reports", b"")
        mutex = zk.Mutex(client, "/locks/report", identifier="worker-7")

        async with mutex as hold:
            storage.write("the first report", hold.fencing_token)
            # ZooKeeper itself applies this write only if the lock is still held then.
            async with hold.transaction() as tx:
                tx.set("/reports", b"first")
            old_token = hold.fencing_token

        async with mutex as hold:
            storage.write("the second report", hold.fencing_token)
            # A machine that was suspended in the first block, and has not noticed it, may still write:
            storage.write("the first report, late", old_token)

        async with mutex as hold, trio.open_nursery() as nursery:
            nursery.start_soon(request_release, server.connect_string)
            await hold.wait_revocation()
            print("another client asks for the lock")


async def request_release(connect_string: str) -> None:
    async with zk.connect(connect_string) as client:
        mutex = zk.Mutex(client, "/locks/report")
        (holder,) = await mutex.contenders()
        print("held by", holder.identifier)
        await mutex.revoke()


trio.run(main)

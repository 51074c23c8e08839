"""A pointer in ZooKeeper and the data elsewhere let a new leader continue where the last one stopped."""

import trio

import zkrecipes as zk

STORAGE: dict[str, int] = {}  # stands for storage that all candidates share: an object store, a file system


async def process(cluster: zk.Client, name: str, steps: int) -> zk.Hold:
    async with zk.Election(cluster, "/leader", data=name.encode()).lead() as leadership:
        await cluster.ensure_path("/checkpoint")
        pointer = (await cluster.get("/checkpoint")).data
        total = STORAGE[pointer.decode()] if pointer else 0
        print(name, "continues from", total)
        for number in range(steps):
            total += 1
            # The token makes the name unique, so no other leader can have written it.
            key = f"checkpoint-{leadership.fencing_token}-{number}"
            STORAGE[key] = total
            async with leadership.transaction() as transaction:
                transaction.set("/checkpoint", key.encode())
    return leadership


async def main() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        cluster = client.chroot("/streams/orders")  # the root of all clusters, and this one's id
        last = await process(cluster, "one", steps=3)
        await process(cluster, "two", steps=2)
        try:
            async with last.transaction() as transaction:
                transaction.set("/checkpoint", b"an old checkpoint")
        except zk.LeadershipLostError as error:
            print("refused:", error)


trio.run(main)

"""Two accounts are locked together, so that no reader sees the money in both accounts or in neither."""

import trio

import zkrecipes as zk


async def transfer(client: zk.Client, giver: str, taker: str, amount: int) -> None:
    # Sort the names: in different orders, two transfers could wait for each other forever.
    names = sorted([giver, taker])
    async with zk.MultiLock([zk.Mutex(client, f"/locks/{name}") for name in names]) as hold:
        given, taken = await balance(client, giver), await balance(client, taker)
        async with hold.transaction() as tx:  # fails as a whole if one of the locks is lost
            tx.set(f"/accounts/{giver}", b"%d" % (given - amount))
            tx.set(f"/accounts/{taker}", b"%d" % (taken + amount))
        print(giver, "gives", taker, amount)


async def balance(client: zk.Client, name: str) -> int:
    return int((await client.get(f"/accounts/{name}")).data or b"0")


async def main() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        for name in ("ada", "bob"):
            await client.create(f"/accounts/{name}", b"100", make_parents=True)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(transfer, client, "ada", "bob", 10)
                nursery.start_soon(transfer, client, "bob", "ada", 5)
        print("ada has", await balance(client, "ada"), "and bob has", await balance(client, "bob"))


trio.run(main)

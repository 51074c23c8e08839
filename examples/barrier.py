"""Workers wait at a gate while the tables are changed."""

import trio

import zkrecipes as zk

GATE = "/gates/tables"


async def work(client: zk.Client, name: str) -> None:
    print(name, "waits")
    await zk.Barrier(client, GATE).wait()
    print(name, "works")


async def main() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        gate = zk.Barrier(client, GATE)
        await gate.create()
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(work, client, f"worker-{number}")
            await trio.sleep(0.1)
            print("the tables are changed")
            await gate.remove()


trio.run(main)

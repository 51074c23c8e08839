"""Five workers call a service that can serve two callers at a time."""

import trio

import zkrecipes as zk


async def call(client: zk.Client, name: str) -> None:
    semaphore = zk.Semaphore(client, "/limits/service", limit=2, identifier=name)
    async with semaphore:
        holders = [each.identifier for each in await semaphore.holders()]
        print(name, "calls;", len(holders), "at a time")
        assert len(holders) <= 2
        await trio.sleep(0.1)


async def main() -> None:
    async with (
        zk.DevServer() as server,
        zk.connect(server.connect_string) as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(5):
            nursery.start_soon(call, client, f"worker-{number}")


trio.run(main)

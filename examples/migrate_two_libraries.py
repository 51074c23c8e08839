"""A job that kazoo's and Curator's programs lock on different paths, while zkrecipes replaces both."""

import trio

import zkrecipes as zk

KAZOO, CURATOR = "/locks/report-kazoo", "/locks/report-curator"


async def run_old(library: str, lock: zk.Mutex) -> None:
    """Act as a program that has not been migrated: its znodes are the same."""
    async with lock:
        print("a program with", library, "runs")
        await trio.sleep(0.2)
    print("a program with", library, "has ended")


async def run_migrated(client: zk.Client) -> None:
    # Every migrated program takes both locks, in this order.
    lock = zk.MultiLock(
        [
            zk.Mutex(client, KAZOO, identifier="migrated"),
            zk.Mutex(client, CURATOR, identifier="migrated", layout="curator"),
        ]
    )
    async with lock as hold:
        print("a migrated program runs, and no client of either library does")
        hold.check()
        for path, contenders in zip((KAZOO, CURATOR), await lock.contenders(), strict=True):
            print(path, "is held by", contenders[0].identifier)


async def main() -> None:
    async with (
        zk.DevServer() as server,
        zk.connect(server.connect_string) as client,
        trio.open_nursery() as nursery,
    ):
        # These two run at the same time: nothing makes the two libraries exclude each other.
        nursery.start_soon(run_old, "kazoo", zk.Mutex(client, KAZOO))
        nursery.start_soon(run_old, "Curator", zk.Mutex(client, CURATOR, layout="curator"))
        await trio.sleep(0.1)
        nursery.start_soon(run_migrated, client)


trio.run(main)

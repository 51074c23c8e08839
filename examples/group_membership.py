"""Workers join, change and leave, and a dispatcher follows them."""

import trio

import zkrecipes as zk


async def work(client: zk.Client, name: str, begin: trio.Event, seconds: float) -> None:
    group = zk.Group(client, "/workers")
    async with group.join(name, b"idle") as member:
        await begin.wait()
        await member.update(b"busy")
        await trio.sleep(seconds)


async def dispatch(client: zk.Client) -> None:
    has_begun = False
    async with zk.Group(client, "/workers").changes() as changes:
        async for change in changes:
            for name in sorted(change.joined | change.updated):
                print(f"{name}: {change.members[name].decode()}")
            for name in sorted(change.left):
                print(f"{name}: left")
            if has_begun and not change.members:
                break
            has_begun = has_begun or bool(change.members)


async def main() -> None:
    async with (
        zk.DevServer() as server,
        zk.connect(server.connect_string) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(dispatch, client)
        begin = trio.Event()
        for number in (1, 2, 3):
            nursery.start_soon(work, client, f"worker-{number}", begin, number / 10)
        members = await zk.Group(client, "/workers").wait_for(3)
        print(len(members), "workers have joined")
        begin.set()


trio.run(main)

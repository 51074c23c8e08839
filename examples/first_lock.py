"""One of several workers writes the report."""

import trio

import zkrecipes as zk


async def main() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        mutex = zk.Mutex(client, "/locks/report", identifier="worker-7")
        async with mutex as hold:
            print("mine, with token", hold.fencing_token)
            await client.create("/reports/today", b"done", make_parents=True)


trio.run(main)

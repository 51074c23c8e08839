"""Three servers of one service: one leads, and callers can read its address."""

import trio

import zkrecipes as zk

PATH = "/services/billing/leader"


async def serve(connect_string: str, address: str) -> None:
    async with zk.connect(connect_string) as client:
        async with zk.Election(client, PATH, data=address.encode()).lead() as leadership:
            print(address, "leads, with token", leadership.fencing_token)
            await trio.sleep(0.2)
        print(address, "has stepped down")


async def follow(client: zk.Client) -> None:
    async with zk.Election(client, PATH).changes() as leaders:
        async for leader in leaders:
            print("callers use", "no server" if leader is None else leader.data.decode())


async def main() -> None:
    async with (
        zk.DevServer() as server,
        zk.connect(server.connect_string) as client,
        trio.open_nursery() as observers,
    ):
        observers.start_soon(follow, client)
        async with trio.open_nursery() as servers:
            for number in range(1, 4):
                servers.start_soon(serve, server.connect_string, f"10.0.0.{number}:8080")
        observers.cancel_scope.cancel()


trio.run(main)

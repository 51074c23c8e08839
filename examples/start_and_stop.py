"""A lock that is held from `start` to `stop`, even if different tasks call them: a service, a notebook."""

import asyncio

import zkrecipes as zk


class Worker:
    """A holder of a lock from `start` to `stop`. A separate task enters the block and leaves it."""

    def __init__(self, client: zk.Client) -> None:
        self.client = client
        self.stopping = asyncio.Event()

    async def start(self) -> None:
        """Wait until the lock is held."""
        held: asyncio.Future[zk.Hold] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.run(held))
        await asyncio.wait([self.task, held], return_when=asyncio.FIRST_COMPLETED)
        if not held.done():
            await self.task  # raises what entering raised

    async def run(self, held: asyncio.Future[zk.Hold]) -> None:
        """Hold the lock until `stop`."""
        async with zk.Mutex(self.client, "/locks/report").acquire(wait=10) as hold:
            held.set_result(hold)
            await self.stopping.wait()  # or work; a loss cancels it

    async def stop(self) -> None:
        """Release the lock."""
        self.stopping.set()
        await self.task  # raises LockLostError if the lock was lost


async def main() -> None:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        worker = Worker(client)
        await asyncio.create_task(worker.start())
        print("held:", len(await client.get_children("/locks/report")))
        await asyncio.create_task(worker.stop())
        print("held:", len(await client.get_children("/locks/report")))


asyncio.run(main())

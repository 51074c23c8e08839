"""Three engines try to run a report that another engine has not finished; one of them runs it, once."""

import math

import trio

import zkrecipes as zk


async def engine(connect_string: str, name: str) -> None:
    async with zk.connect(connect_string) as client:
        job = zk.OncePer(client, "/jobs/report", period=math.inf, at_most_for=60, identifier=name)
        try:
            async with job.acquire() as run:
                before = "" if run.previous is None else f" ({run.previous.engine}: {run.previous.outcome})"
                print(f"{name} runs the report{before}")
                await trio.sleep(0.1)
        except zk.NotDueError as error:
            print(f"{name} skips it: the run on {error.engine} has {error.outcome}")


async def stop_in_the_middle(connect_string: str) -> None:
    """Start the job, and cancel it, as a deployment does that stops the engine."""
    async with zk.connect(connect_string) as client:
        job = zk.OncePer(client, "/jobs/report", period=math.inf, identifier="engine-0")
        with trio.move_on_after(0.1):
            async with job:
                print("engine-0 runs the report, and is stopped")
                await trio.sleep_forever()


async def main() -> None:
    async with zk.DevServer() as server:
        await stop_in_the_middle(server.connect_string)
        async with trio.open_nursery() as nursery:
            for number in range(1, 4):
                nursery.start_soon(engine, server.connect_string, f"engine-{number}")
        async with zk.connect(server.connect_string) as client:
            status = await zk.OncePer(client, "/jobs/report", period=math.inf).status()
            assert status.last is not None
            print(f"the last run {status.last.outcome} on {status.last.engine}")


trio.run(main)

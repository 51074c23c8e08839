"""Three workers count words in steps; no worker starts a step before all have ended the previous one."""

import trio

import zkrecipes as zk

TEXTS = ["to be or not to be", "that is the question", "whether tis nobler in the mind to suffer"]
STEPS = 3


async def work(client: zk.Client, number: int, counts: list[dict[int, int]]) -> None:
    barrier = zk.DoubleBarrier(client, "/steps", parties=len(TEXTS), identifier=f"worker-{number}")
    for step in range(STEPS):
        async with barrier:  # enters when all three have arrived
            letters = step + 2
            counts[step][number] = sum(len(word) == letters for word in TEXTS[number].split())
        # The block ends when all three are done, so the sum is complete.
        print(f"worker-{number}: {sum(counts[step].values())} words of {letters} letters")
        assert len(counts[step]) == len(TEXTS)


async def main() -> None:
    counts: list[dict[int, int]] = [{} for _ in range(STEPS)]
    async with (
        zk.DevServer() as server,
        zk.connect(server.connect_string) as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(len(TEXTS)):
            nursery.start_soon(work, client, number, counts)


trio.run(main)

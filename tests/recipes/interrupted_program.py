"""Takes a lock and interrupts itself, as Ctrl-C does: `interrupted_program.py HOSTS LOOP MOMENT`."""

import signal
import sys

import anyio

import zkrecipes as zk

HOSTS, LOOP, MOMENT = sys.argv[1:]


async def main() -> None:
    """Be interrupted while waiting for the lock, while holding it, or while leaving."""
    async with zk.connect(HOSTS, session_timeout=30) as client, anyio.create_task_group() as tasks:
        if MOMENT == "waiting":
            tasks.start_soon(_interrupt_soon)
        async with zk.Mutex(client, "/lock"):
            sys.stdout.write("held")
            sys.stdout.flush()
            signal.raise_signal(signal.SIGINT)
            if MOMENT == "holding":
                await anyio.sleep_forever()
            # otherwise the block is left immediately, and the cancellation arrives during the delete


async def _interrupt_soon() -> None:
    await anyio.sleep(0.3)
    signal.raise_signal(signal.SIGINT)


# The signal may be ignored here, because shells start background programs that way.
signal.signal(signal.SIGINT, signal.default_int_handler)
anyio.run(main, backend=LOOP)

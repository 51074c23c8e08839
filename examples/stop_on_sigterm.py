"""A worker that releases its lock when Kubernetes, systemd or `docker stop` sends it SIGTERM.

By default Python ends immediately on SIGTERM, and the server keeps the lock of such a program for a whole
session timeout. This worker's lock is free when the program has ended.
"""

import os
import signal
import sys

import anyio
from anyio.abc import TaskStatus

import zkrecipes as zk


async def cancel_on_signal(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
    """Cancel a scope at the first SIGTERM or Ctrl-C."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for received in signals:
            print("stopping on", signal.Signals(received).name)
            scope.cancel()
            return


async def work(connect_string: str, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Hold the lock and work, until a signal stops the program."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(cancel_on_signal, tasks.cancel_scope)
        # All blocks that need an orderly end are inside the scope that the signal cancels.
        async with zk.connect(connect_string) as client, zk.Mutex(client, "/locks/report"):
            print("holding the lock", flush=True)
            task_status.started()
            await anyio.sleep_forever()


async def main() -> None:
    if len(sys.argv) > 1:
        await work(sys.argv[1])
        return
    # Without arguments, demonstrate it with a dev server and a signal to this process.
    async with zk.DevServer() as server, zk.connect(server.connect_string) as observer:
        async with anyio.create_task_group() as tasks:
            await tasks.start(work, server.connect_string)
            os.kill(os.getpid(), signal.SIGTERM)
        print("contenders left:", await observer.get_children("/locks/report"))


anyio.run(main, backend=os.environ.get("BACKEND", "trio"))

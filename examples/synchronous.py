"""Plain threads and ZooKeeper: an event loop in a separate thread, and calls into it through a portal."""

from functools import partial

from anyio.from_thread import BlockingPortal, start_blocking_portal

import zkrecipes as zk


def count(portal: BlockingPortal, client: zk.Client, pages: int) -> None:
    """Write a number for each page under the lock."""
    mutex = zk.Mutex(client, "/locks/report")
    with portal.wrap_async_context_manager(mutex.acquire()) as hold:
        for page in range(1, pages + 1):
            portal.call(hold.confirm)  # raises LockLostError if the lock was lost
            portal.call(client.set, "/report", b"%d" % page)


def main() -> None:
    """Read, write, lock and watch, all from this thread."""
    with (
        start_blocking_portal("trio") as portal,
        portal.wrap_async_context_manager(zk.DevServer()) as server,
        portal.wrap_async_context_manager(zk.connect(server.connect_string)) as client,
    ):
        # portal.call passes no keyword arguments on, so `partial` binds them.
        portal.call(partial(client.create, "/report", b"0", ephemeral=True))
        with portal.wrap_async_context_manager(client.watch("/report")) as events:
            count(portal, client, 3)
            for _ in range(3):
                print(portal.call(events.__anext__).type.name)
        data, stat = portal.call(client.get, "/report")
        print(data, "in version", stat.version)


if __name__ == "__main__":
    main()

"""Plain threads and ZooKeeper: a loop in a thread of its own, and calls into it through a portal."""

from functools import partial

from anyio.from_thread import BlockingPortal, start_blocking_portal

import zkrecipes as zk


def count(portal: BlockingPortal, client: zk.Client, pages: int) -> None:
    """Write a number for each page, as long as nobody else holds the lock."""
    mutex = zk.Mutex(client, "/locks/report")
    with portal.wrap_async_context_manager(mutex.acquire()) as hold:
        for page in range(1, pages + 1):
            portal.call(hold.confirm)  # raises LockLostError where the lock is no longer held
            portal.call(client.set, "/report", b"%d" % page)


def main() -> None:
    """Read, write, lock and watch, all from this thread."""
    with (
        start_blocking_portal("trio") as portal,
        portal.wrap_async_context_manager(zk.DevServer()) as server,
        portal.wrap_async_context_manager(zk.connect(server.connect_string)) as client,
    ):
        # portal.call takes no keyword arguments of the function, so they are bound to it
        portal.call(partial(client.create, "/report", b"0", ephemeral=True))
        with portal.wrap_async_context_manager(client.watch("/report")) as events:
            count(portal, client, 3)
            for _ in range(3):
                print(portal.call(events.__anext__).type.name)
        data, stat = portal.call(client.get, "/report")
        print(data, "in version", stat.version)


if __name__ == "__main__":
    main()

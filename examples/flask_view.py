"""A Flask view that takes a lock, with one client for the process, opened on first use."""

import atexit
from contextlib import ExitStack
from functools import cache
from threading import Lock
from typing import NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal
from flask import Flask

import zkrecipes as zk

_opening = Lock()


class ZooKeeper(NamedTuple):
    """The process's client, and the portal to it from any thread."""

    portal: BlockingPortal
    client: zk.Client


def zookeeper() -> ZooKeeper:
    """Open the client on first use: in each worker, after the server has forked."""
    with _opening:
        return _open()


@cache
def _open() -> ZooKeeper:
    stack = ExitStack()
    portal = stack.enter_context(start_blocking_portal("trio"))
    server = stack.enter_context(portal.wrap_async_context_manager(zk.DevServer()))
    client = stack.enter_context(portal.wrap_async_context_manager(zk.connect(server.connect_string)))
    atexit.register(stack.close)
    return ZooKeeper(portal, client)


app = Flask(__name__)


@app.get("/visits")
def count_visit() -> dict[str, int]:
    """Count a visit under a lock that all workers share."""
    portal, client = zookeeper()
    mutex = zk.Mutex(client, "/locks/visits")
    with portal.wrap_async_context_manager(mutex.acquire()) as hold:
        portal.call(client.ensure_path, "/visits")
        data, _ = portal.call(client.get, "/visits")
        visits = int(data or 0) + 1
        portal.call(hold.confirm)  # a loss cannot cancel a thread, so it checks before it writes
        portal.call(client.set, "/visits", b"%d" % visits)
    return {"visits": visits}


if __name__ == "__main__":
    browser = app.test_client()
    for _ in range(3):
        print(browser.get("/visits").json)

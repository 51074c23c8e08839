"""A Django view that reads a znode, with one client for the process, opened on first use."""

import atexit
from contextlib import ExitStack
from functools import cache
from threading import Lock
from typing import NamedTuple

import django
from anyio.from_thread import BlockingPortal, start_blocking_portal
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.test import Client as Browser
from django.urls import path

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


def greeting(_: HttpRequest) -> JsonResponse:
    """Return the greeting that the operators have written."""
    portal, client = zookeeper()
    try:
        data, stat = portal.call(client.get, "/config/greeting")
    except zk.NoNodeError:
        return JsonResponse({"greeting": "none yet"}, status=404)
    return JsonResponse({"greeting": (data or b"").decode(), "version": stat.version})


urlpatterns = [path("greeting", greeting)]

if __name__ == "__main__":
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], SECRET_KEY="not used")
    django.setup()
    browser = Browser()
    print(browser.get("/greeting").json())
    portal, client = zookeeper()
    portal.call(lambda: client.create("/config/greeting", b"good morning", make_parents=True))
    print(browser.get("/greeting").json())

"""The identifier and the ACL of contenders: checked when a recipe is built, before it sends anything."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.recipes.locking.contenders import check_identifier

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

UNREADABLE = [zk.ACL(zk.Perms.ALL & ~zk.Perms.READ, zk.Id("world", "anyone"))]

Make = Callable[..., Any]

HOLDS: list[Make] = [zk.Mutex, zk.ReadWriteLock, zk.Election, partial(zk.Semaphore, limit=2)]
BARRIER: Make = partial(zk.DoubleBarrier, parties=2)


async def test_the_default_identifier_is_host_and_process() -> None:
    assert check_identifier(None) == f"{socket.gethostname()}:{os.getpid()}"
    assert check_identifier("") == ""


@pytest.mark.parametrize("make", [*HOLDS, BARRIER])
async def test_an_identifier_that_no_znode_can_hold_is_refused(make: Make) -> None:
    async with world() as there, there.connect("a") as client:
        before = len(there.requests)
        for wrong in (b"me", 7):
            with pytest.raises(TypeError, match="identifier must be a str, not"):
                make(client, "/there", identifier=wrong)
        with pytest.raises(ValueError, match="surrogates not allowed"):
            make(client, "/there", identifier="\ud800")
        with pytest.raises(ValueError, match=r"data must have at most .*, not 5000000"):
            make(client, "/there", identifier="x" * 5_000_000)
        assert len(there.requests) == before


@pytest.mark.parametrize("make", HOLDS)
async def test_an_acl_without_read_is_refused(make: Make) -> None:
    async with world() as there, there.connect("a") as client:
        before = len(there.requests)
        with pytest.raises(ValueError, match="must give its owner READ"):
            make(client, "/there", acl=UNREADABLE)
        assert len(there.requests) == before


@pytest.mark.parametrize("make", HOLDS)
async def test_a_default_acl_without_read_is_refused_immediately(make: Make) -> None:
    """Otherwise the server would refuse each check that proves a hold."""
    async with world() as there, there.connect("a", default_acl=UNREADABLE) as client:
        with pytest.raises(ValueError, match="must give its owner READ"):
            make(client, "/there")
        make(client, "/there", acl=zk.OPEN_ACL)
        BARRIER(client, "/there")  # it proves nothing

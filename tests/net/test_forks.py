"""What becomes of a client in a child process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import anyio
import pytest

import zkrecipes as zk


def _use(client: zk.Client, told: Connection) -> None:
    """In the child."""

    async def get() -> None:
        with anyio.fail_after(5):
            await client.get("/")

    try:
        anyio.run(get)
    except zk.SessionClosedError as error:
        told.send(str(error))


def _what_a_child_is_told(
    ask: Callable[[Any, Connection], None], inherited: object
) -> tuple[str, int | None]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=ask, args=(inherited, theirs))
    child.start()
    theirs.close()  # or its end would not be seen
    try:
        return ours.recv(), child.pid
    finally:
        child.join()


@pytest.mark.anyio
async def test_a_client_used_in_a_child_is_told_and_the_parents_goes_on() -> None:
    """Case 26."""
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        await client.create("/a", b"1")
        # in a thread, for no loop can be run in the child of a thread that runs one
        told, child = await anyio.to_thread.run_sync(_what_a_child_is_told, _use, client)
        assert told.endswith(f"and this is its child {child}: connect here")
        assert (await client.get("/a")).data == b"1"
        assert client.state is zk.SessionState.CONNECTED


def _check(hold: zk.Hold, told: Connection) -> None:
    """In the child, which may outlive the parent's block."""
    try:
        hold.check()
    except zk.LockLostError as error:
        told.send(str(error))
    else:
        told.send("it is held")


@pytest.mark.anyio
async def test_a_child_that_inherits_a_hold_does_not_have_it_and_the_parent_does() -> None:
    async with (
        zk.DevServer() as server,
        zk.connect(server.connect_string) as client,
        zk.Mutex(client, "/lock") as hold,
    ):
        told, child = await anyio.to_thread.run_sync(_what_a_child_is_told, _check, hold)
        assert told.endswith(f"and this is its child {child}: connect here")
        hold.check()
        await hold.confirm()

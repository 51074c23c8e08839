"""A client that a child process inherits raises, and the parent's continues."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import anyio
import pytest

import zkrecipes as zk


def _use(client: zk.Client, answer: Connection) -> None:
    """Use the client in the child."""

    async def get() -> None:
        with anyio.fail_after(5):
            await client.get("/")

    try:
        anyio.run(get)
    except zk.SessionClosedError as error:
        answer.send(str(error))


def _answer_of_a_child(ask: Callable[[Any, Connection], None], inherited: object) -> tuple[str, int | None]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=ask, args=(inherited, theirs))
    child.start()
    theirs.close()  # otherwise its end would not be noticed
    try:
        return ours.recv(), child.pid
    finally:
        child.join()


@pytest.mark.anyio
async def test_a_client_used_in_a_child_raises_and_the_parents_continues() -> None:
    """Case 26."""
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        await client.create("/a", b"1")
        # in a thread, because no loop can run in the child of a thread that runs one
        answer, child = await anyio.to_thread.run_sync(_answer_of_a_child, _use, client)
        assert answer.endswith(f"and this is its child {child}: connect here")
        assert (await client.get("/a")).data == b"1"
        assert client.state is zk.SessionState.CONNECTED


def _check(hold: zk.Hold, answer: Connection) -> None:
    """Check the hold in the child, which may outlive the parent's block."""
    try:
        hold.check()
    except zk.LockLostError as error:
        answer.send(str(error))
    else:
        answer.send("it is held")


@pytest.mark.anyio
async def test_a_child_that_inherits_a_hold_does_not_have_it_and_the_parent_does() -> None:
    async with (
        zk.DevServer() as server,
        zk.connect(server.connect_string) as client,
        zk.Mutex(client, "/lock") as hold,
    ):
        answer, child = await anyio.to_thread.run_sync(_answer_of_a_child, _check, hold)
        assert answer.endswith(f"and this is its child {child}: connect here")
        hold.check()
        await hold.confirm()

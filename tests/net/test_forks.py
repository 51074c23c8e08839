"""What becomes of a client in a child process."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

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


def _what_a_child_is_told(client: zk.Client) -> tuple[str, int | None]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_use, args=(client, theirs))
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
        told, child = await anyio.to_thread.run_sync(_what_a_child_is_told, client)
        assert told.endswith(f"and this is its child {child}: connect here")
        assert (await client.get("/a")).data == b"1"
        assert client.state is zk.SessionState.CONNECTED

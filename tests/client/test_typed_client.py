"""Values instead of bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


def _typed(client: zk.Client) -> zk.TypedClient[Any]:
    return zk.TypedClient(client, decode=json.loads, encode=json.dumps)


async def test_values_go_in_and_come_out() -> None:
    async with world() as there, there.connect("a") as client:
        jobs = _typed(client)
        path = await jobs.create("/jobs/job-", {"state": "new"}, sequential=True, make_parents=True)
        assert path == "/jobs/job-0000000000"
        job, stat = await jobs.get(path)
        assert job == {"state": "new"}
        changed = await jobs.set(path, {**job, "state": "größer"}, version=stat.version)
        assert changed.version == 1
        found = await jobs.get(path)
        assert (found.value, found.stat) == ({"state": "größer"}, changed)


async def test_encode_may_make_bytes() -> None:
    async with world() as there, there.connect("a") as client:
        numbers = zk.TypedClient(client, decode=int, encode=lambda number: b"%d" % number)
        await numbers.create("/n", 7)
        assert (await numbers.get("/n")).value == 7
        assert (await client.get("/n")).data == b"7"


async def test_null_data_are_empty() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", None)
        assert (await zk.TypedClient(client, decode=bytes.decode, encode=str).get("/n")).value == ""


async def test_an_error_of_decode_names_the_znode() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"{")
        with pytest.raises(json.JSONDecodeError) as caught:
            await _typed(client).get("/n")
        assert caught.value.__notes__ == ["while decoding the data of /n, version 0"]


async def test_what_cannot_be_encoded_is_not_sent() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(TypeError, match="not JSON serializable"):
            await _typed(client).create("/n", object())
        assert await client.exists("/n") is None


async def test_the_clients_errors_are_the_same() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(zk.NoNodeError):
            await _typed(client).get("/missing")
        await client.create("/n", b"1")
        with pytest.raises(zk.BadVersionError):
            await _typed(client).set("/n", 2, version=7)

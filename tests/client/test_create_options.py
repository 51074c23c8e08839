"""The options of create: the same in every call, and an unknown option is an error that names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.client.create_options import CreateOptions

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

CREATES: dict[str, Callable[..., Any]] = {
    "Client.create": zk.Client.create,
    "Client.create_with_stat": zk.Client.create_with_stat,
    "Operations.create": zk.Operations.create,
    "Operations.create_with_stat": zk.Operations.create_with_stat,
    "Pipeline.create": zk.Pipeline.create,
    "Transaction.create": zk.Transaction.create,
    "TypedClient.create": zk.TypedClient.create,
}


@pytest.mark.parametrize("name", CREATES)
def test_every_create_has_the_same_options(name: str) -> None:
    options = inspect.signature(CREATES[name]).parameters["options"]
    assert options.kind is inspect.Parameter.VAR_KEYWORD
    assert options.annotation == "Unpack[CreateOptions]"


async def test_every_option_reaches_the_server_from_every_create() -> None:
    acl = [zk.ACL(zk.Perms.ALL, zk.ANYONE_ID)]
    cases: list[CreateOptions] = [
        {"ephemeral": True, "sequential": True, "acl": acl},
        {"container": True},
        {"ttl": 60.0},
    ]
    async with world(extended_types=True) as there, there.connect("a") as client:
        typed = zk.TypedClient(client, decode=bytes.decode, encode=str.encode)
        for number, options in enumerate(cases):
            before = len(there.requests)
            created = [
                await client.create(f"/n{number}-", **options),
                (await client.create_with_stat(f"/m{number}-", **options))[0],
                await typed.create(f"/t{number}-", "value", **options),
            ]
            async with client.pipeline() as pipe:
                in_pipeline = pipe.create(f"/p{number}-", **options)
            async with client.transaction() as transaction:
                in_transaction = transaction.create(f"/x{number}-", **options)
            created += [in_pipeline.result(), in_transaction.result()]
            stats = [await client.exists(path) for path in created]
            assert all(stat is not None for stat in stats)
            owners = {stat.ephemeral_owner for stat in stats if stat is not None}
            assert len(owners) == 1, "every call has created the same kind of znode"
            assert len(there.requests) >= before + 5


@pytest.mark.parametrize("option", ["ephemerl", "makepath", "value"])
async def test_an_unknown_option_is_an_error_that_names_it_and_the_options(option: str) -> None:
    message = (
        rf"create\(\) got an unexpected keyword argument '{option}'; "
        r"its options are ephemeral, sequential, container, ttl, acl, and make_parents for a client"
    )
    unknown: Any = {option: True}
    async with world() as there, there.connect("a") as client:
        with pytest.raises(TypeError, match=message):
            await client.create("/n", **unknown)
        with pytest.raises(TypeError, match=message):
            await client.create_with_stat("/n", **unknown)
        async with client.pipeline() as pipe:
            with pytest.raises(TypeError, match=message):
                pipe.create("/n", **unknown)
        async with client.transaction() as transaction:
            with pytest.raises(TypeError, match=message):
                transaction.create("/n", **unknown)
        assert there.znodes() == set()

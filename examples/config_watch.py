"""A program follows its configuration, which an operator changes while it runs."""

import json
import logging
import sys

import trio

import zkrecipes as zk


def encode(value: dict[str, int]) -> bytes:
    return json.dumps(value).encode()


async def operate(client: zk.Client) -> None:
    config = zk.ConfigWatch(client, "/config/app", decode=json.loads, default={"workers": 1})
    await config.update(lambda value: value | {"workers": 4}, encode=encode)
    await trio.sleep(0.1)
    await client.set("/config/app", b"{broken")  # a mistake: the program keeps the last good value
    await trio.sleep(0.1)
    await client.set("/config/app", encode({"workers": 8}))


async def main() -> None:
    async with (
        zk.DevServer() as server,
        zk.connect(server.connect_string) as client,
        zk.ConfigWatch(client, "/config/app", decode=json.loads, default={"workers": 1}) as config,
        trio.open_nursery() as nursery,
    ):
        print("starts with", config.value)
        nursery.start_soon(operate, client)
        async for value in config:
            print("workers:", value["workers"])
            if value["workers"] == 8:
                break
    print("the last good value:", config.value)


logging.basicConfig(stream=sys.stdout, format="log: %(message)s")
trio.run(main)

"""The parsers of `srvr` and `mntr`, on answers of real servers, and the request itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from zkrecipes.ensemble.four_letter import ServerStatus, ask, parse_mntr, parse_srvr

LEADER_3_8 = """\
Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2024-06-16 17:19 UTC
Latency min/avg/max: 0/0.0/0
Received: 1
Sent: 0
Connections: 2
Outstanding: 0
Zxid: 0x10000002a
Mode: leader
Node count: 5
Proposal sizes last/min/max: -1/-1/-1
"""
STANDALONE_3_4 = """\
Zookeeper version: 3.4.14-4c25d480e66aadd371de8bd2fd8da255ac140bcf, built on 03/06/2019 16:18 GMT
Latency min/avg/max: 0/0/0
Received: 2
Sent: 1
Connections: 1
Outstanding: 0
Zxid: 0x0
Mode: standalone
Node count: 4
"""
NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"


def test_a_leader_is_read() -> None:
    assert parse_srvr(LEADER_3_8) == ServerStatus(
        version="3.8.0", mode="leader", zxid=0x10000002A, node_count=5, connections=2
    )


def test_an_old_standalone_server_is_read() -> None:
    assert parse_srvr(STANDALONE_3_4) == ServerStatus(
        version="3.4.14", mode="standalone", zxid=0, node_count=4, connections=1
    )


@pytest.mark.parametrize(
    "text", ["", NOT_SERVING, "srvr is not executed because it is not in the whitelist.\n"]
)
def test_a_server_that_does_not_serve_has_no_status(text: str) -> None:
    assert parse_srvr(text) is None


def test_metrics_are_names_and_values() -> None:
    text = "zk_version\t3.8.0-x, built on 2024\nzk_synced_followers\t2\nzk_avg_latency\t0.5\n"
    assert parse_mntr(text) == {
        "zk_version": "3.8.0-x, built on 2024",
        "zk_synced_followers": "2",
        "zk_avg_latency": "0.5",
    }
    assert parse_mntr(NOT_SERVING) == {}


@asynccontextmanager
async def answering(*chunks: bytes) -> AsyncIterator[int]:
    """Run a server that reads a word, answers it in pieces, and closes."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            word = await stream.receive()
            for chunk in chunks:
                await stream.send(chunk.replace(b"WORD", word))

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tg,
    ):
        tg.start_soon(listener.serve, answer)
        yield listener.extra(SocketAttribute.local_port)
        tg.cancel_scope.cancel()


@pytest.mark.anyio
async def test_the_whole_answer_is_read() -> None:
    async with answering(b"you said ", b"WORD\n", b"\xff") as port:
        assert await ask("127.0.0.1", port, "ruok") == "you said ruok\n\ufffd"


@pytest.mark.anyio
async def test_a_missing_server_is_an_os_error() -> None:
    async with answering() as port:
        pass
    with pytest.raises(OSError, match="connection"):
        await ask("127.0.0.1", port, "ruok")

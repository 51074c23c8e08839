"""What a server can do: asked by a word, or by requests where the word is switched off."""

from __future__ import annotations

import pytest
import trio

from tests.net.peers import OPCODES_3_4, OPCODES_3_5, OPCODES_3_6, OldServer, accept_all, saying, scripted
from zkrecipes import DevServer
from zkrecipes.enums import OpCode, ServerGeneration
from zkrecipes.net.capabilities import find_generation, generation_of
from zkrecipes.net.transport import Address, Stream
from zkrecipes.net.wakeup import current_parking
from zkrecipes.testing import MemoryNetwork

OLD = Address("old", 2181)


@pytest.mark.parametrize(
    ("version", "generation"),
    [
        ((3, 3), ServerGeneration.V3_4),
        ((3, 4), ServerGeneration.V3_4),
        ((3, 5), ServerGeneration.V3_5),
        ((3, 6), ServerGeneration.V3_6),
        ((3, 7), ServerGeneration.V3_7),
        ((3, 9), ServerGeneration.V3_7),
        ((3, 10), ServerGeneration.V3_7),
        ((4, 0), ServerGeneration.V3_7),
    ],
)
def test_a_release_is_of_the_newest_generation_that_it_has_reached(
    version: tuple[int, int], generation: ServerGeneration
) -> None:
    assert generation_of(*version) is generation


@pytest.mark.trio
@pytest.mark.parametrize(
    ("version", "generation"),
    [
        ("3.4.14-4c25d480e66aadd371de8bd2fd8da255ac140bcf", ServerGeneration.V3_4),
        ("3.5.10", ServerGeneration.V3_5),
        ("3.6.4--d65253dcf68e9097c6e95a126463fd5fdeb4521c", ServerGeneration.V3_6),
    ],
)
async def test_the_word_srvr_tells_the_release_without_a_session(
    autojump_clock: object, version: str, generation: ServerGeneration
) -> None:
    network = MemoryNetwork()
    async with DevServer(host="zk", port=2181, network=network) as server:
        old = OldServer(network, Address("zk", 2181), OPCODES_3_4, version)
        async with old.serving():
            assert await find_generation(network, OLD, current_parking()) is generation
        assert old.opcodes_seen == []
        assert len(server.processor.sessions) == 0


@pytest.mark.trio
@pytest.mark.parametrize(
    ("opcodes", "generation"),
    [
        (OPCODES_3_4, ServerGeneration.V3_4),
        (OPCODES_3_5, ServerGeneration.V3_5),
        (OPCODES_3_6, ServerGeneration.V3_6),
        (OPCODES_3_6 | {OpCode.WHO_AM_I}, ServerGeneration.V3_7),
    ],
)
async def test_where_srvr_is_switched_off_requests_tell_and_leave_no_session_behind(
    autojump_clock: object, opcodes: frozenset[OpCode], generation: ServerGeneration
) -> None:
    """Case 51."""
    network = MemoryNetwork()
    async with DevServer(host="zk", port=2181, network=network) as server:
        old = OldServer(network, Address("zk", 2181), opcodes, None)
        async with old.serving():
            assert await find_generation(network, OLD, current_parking()) is generation
        answered = len(set(old.opcodes_seen) & opcodes - {OpCode.CLOSE_SESSION}) > 0
        # one whose connection was dropped ends by its timeout
        unanswered = len(server.processor.sessions)
        assert unanswered == sum(opcode not in opcodes for opcode in old.opcodes_seen)
        assert answered == (generation is not ServerGeneration.V3_4)


@pytest.mark.trio
async def test_a_server_that_refuses_an_opcode_politely_does_not_know_it(autojump_clock: object) -> None:
    """Case 50."""
    network = MemoryNetwork()

    def refuse(side: object, requested: object) -> bool:
        side.reply(requested.xid, 1, -6)  # type: ignore[attr-defined]  # a ServerSide and a Requested
        return True

    async with scripted(network, "old", greet=accept_all(), answer=refuse):
        assert await find_generation(network, OLD, current_parking()) is ServerGeneration.V3_4


@pytest.mark.trio
async def test_a_server_that_cannot_be_reached_is_an_os_error(autojump_clock: object) -> None:
    with pytest.raises(ConnectionRefusedError):
        await find_generation(MemoryNetwork(), OLD, current_parking())


@pytest.mark.trio
async def test_a_server_that_gives_the_probe_no_session_is_an_os_error(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with saying(network, b"no\n", "old", then_close=True):
        with pytest.raises(ConnectionRefusedError, match="gave no session to a probe"):
            await find_generation(network, OLD, current_parking())


@pytest.mark.trio
async def test_a_connection_that_breaks_on_the_word_is_no_answer_and_requests_are_tried(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork()

    async def break_off(stream: Stream) -> None:
        await stream.receive()
        network.reset()

    async with network.serve("old", 2181, break_off):
        with pytest.raises(OSError, match="gave no session"):
            await find_generation(network, OLD, current_parking())


@pytest.mark.trio
async def test_a_connection_that_breaks_by_chance_says_nothing_of_what_the_server_knows(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork()
    async with DevServer(host="zk", port=2181, network=network) as server:
        old = OldServer(network, Address("zk", 2181), OPCODES_3_6 | {OpCode.WHO_AM_I}, None)
        server.faults.drop_request(OpCode.WHO_AM_I)
        async with old.serving():
            assert await find_generation(network, OLD, current_parking()) is ServerGeneration.V3_7


@pytest.mark.trio
@pytest.mark.parametrize("pieces", [[b"Zookeeper version: 3.1", b"0.2-x\n"], [b"Zookeeper version: 3.10.2"]])
async def test_an_answer_to_srvr_is_taken_as_it_comes_and_its_end_not_waited_for(
    autojump_clock: object, pieces: list[bytes]
) -> None:
    network = MemoryNetwork()

    async def answer(stream: Stream) -> None:
        await stream.receive()
        for piece in pieces:
            await stream.send(piece)
            await trio.sleep(0.1)
        await trio.sleep_forever()

    async with network.serve("old", 2181, answer):
        with trio.fail_after(1):
            assert await find_generation(network, OLD, current_parking()) is ServerGeneration.V3_7

"""Four-letter words: the answers have the lines of a real server's, and parsers of those accept them."""

from __future__ import annotations

import re

import anyio
import pytest
from kazoo.client import KazooClient

import zkrecipes as zk
from zkrecipes.devserver import DevServer
from zkrecipes.devserver.four_letter.answers import WORDS
from zkrecipes.ensemble import ApacheServer
from zkrecipes.ensemble.four_letter import ask, parse_mntr, parse_srvr


async def _ask(connect_string: str, word: str) -> str:
    host, _, port = connect_string.rpartition(":")
    return await ask(host, int(port), word)


async def _answers(connect_string: str, words: list[str]) -> dict[str, str]:
    """Ask these words while one client has an ephemeral znode and watches."""
    async with zk.connect(connect_string, session_timeout=5.0) as client:
        await client.create("/lonely", b"12345", ephemeral=True)
        async with client.get_and_watch("/lonely"), client.get_children_and_watch("/"):
            return {word: await _ask(connect_string, word) for word in words}


def _shape(text: str) -> list[str]:
    """The lines of a text without the parts that differ between servers."""
    text = re.sub(r"(?<==).*", "…", text) if re.match(r"Environment|clientPort", text) else text
    text = re.sub(r"0x[0-9a-f]+", "HEX", text)
    text = re.sub(r"^0 expire at .*\n", "", text, flags=re.MULTILINE)  # a tick without sessions
    text = re.sub(r"lresp=\d+", "lresp=TIME", text)  # a real server reads it from another clock
    text = re.sub(r"\d{10,}", "TIME", text)
    text = re.sub(r"expire at \w{3} \w{3} \d\d \d\d:\d\d:\d\d \S+ \d{4}", "expire at DATE", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)
    text = re.sub(r"version: .*", "version: …", text)
    return re.sub(r"\d+(\.\d+)?", "N", text).splitlines()


# --- beside a real server ----------------------------------------------------------------------------------


@pytest.mark.apache
def test_each_answer_has_the_lines_of_a_real_server() -> None:
    words = ["srvr", "stat", "cons", "dump", "wchs", "wchc", "wchp", "conf", "ruok", "isro", "crst", "srst"]

    async def compare() -> None:
        async with ApacheServer() as real, DevServer() as ours:
            expected = await _answers(real.connect_string, words)
            actual = await _answers(ours.connect_string, words)
        for word in words:
            if word == "dump":  # a real server also lists the connection that asks
                assert _shape(actual[word])[:6] == _shape(expected[word])[:6]
                assert set(_shape(actual[word])) <= set(_shape(expected[word]))
            else:  # the order of connections is arbitrary
                assert sorted(_shape(actual[word])) == sorted(_shape(expected[word])), word

    anyio.run(compare, backend="trio")


@pytest.mark.apache
def test_the_keys_of_mntr_and_envi_are_a_real_servers() -> None:
    async def compare() -> None:
        async with ApacheServer() as real, DevServer() as ours:
            expected = await _answers(real.connect_string, ["mntr", "envi"])
            actual = await _answers(ours.connect_string, ["mntr", "envi"])
        figures = parse_mntr(actual["mntr"])
        shapes = {key: _shape(value) for key, value in figures.items() if key != "zk_version"}
        real_figures = parse_mntr(expected["mntr"])
        # A mean may be an integer on one side only.
        real_shapes = {key: _shape(real_figures[key]) for key in shapes}
        assert shapes == real_shapes
        keys = [line.partition("=")[0] for line in actual["envi"].splitlines()]
        real_keys = [line.partition("=")[0] for line in expected["envi"].splitlines()]
        assert keys == [*real_keys, "python.version", "python.executable"]

    anyio.run(compare, backend="trio")


@pytest.mark.apache
def test_a_word_that_is_not_in_the_whitelist_is_refused_in_a_real_servers_words() -> None:
    async def compare() -> None:
        settings: dict[str, str | int | bool] = {"4lw.commands.whitelist": "ruok, mntr"}
        real = ApacheServer(settings=settings)
        async with real, DevServer(four_letter_words=["ruok", "mntr"]) as ours:
            for word in ("conf", "ruok", "srvr"):
                actual = await _ask(ours.connect_string, word)
                assert _shape(actual) == _shape(await _ask(real.connect_string, word))

    anyio.run(compare, backend="trio")


# --- without a real server ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_our_own_parser_reads_srvr_and_mntr() -> None:
    async with DevServer(start_zxid=0x100000000) as server:
        actual = await _answers(server.connect_string, ["srvr", "mntr"])
    status = parse_srvr(actual["srvr"])
    assert status is not None
    assert (status.mode, status.node_count, status.connections) == ("standalone", 5, 2)
    assert status.zxid == 0x100000002
    figures = parse_mntr(actual["mntr"])
    assert figures["zk_znode_count"] == "5"
    assert figures["zk_ephemerals_count"] == "1"
    assert figures["zk_watch_count"] == "2"
    assert figures["zk_num_alive_connections"] == "2"
    assert figures["zk_server_state"] == "standalone"


@pytest.mark.anyio
async def test_kazoo_asks_words() -> None:
    def ask_with_kazoo(hosts: str) -> tuple[str, str, tuple[int, ...]]:
        client = KazooClient(hosts)
        client.start()
        try:
            return client.command(b"mntr"), client.command(b"ruok"), client.server_version()
        finally:
            client.stop()
            client.close()

    async with DevServer() as server:
        figures, fine, version = await anyio.to_thread.run_sync(ask_with_kazoo, server.connect_string)
    assert "zk_znode_count\t4\n" in figures
    assert fine == "imok"
    assert version >= (3, 9)


@pytest.mark.anyio
async def test_requests_replies_and_events_are_counted_and_reset() -> None:
    async with DevServer() as server, zk.connect(server.connect_string, session_timeout=40.0) as client:
        async with client.get_and_watch("/") as (_, changed):
            await client.set("/", b"x")
            await changed.wait()
        before = await _ask(server.connect_string, "cons")
        # greeting, get, set and the client's own requests; one event is sent without a request
        received, sent = (int(re.search(rf"{word}=(\d+)", before)[1]) for word in ("recved", "sent"))  # type: ignore[index]
        assert sent == received + 1 >= 4
        assert re.search(r",lop=SETD,|,lop=PING,", before)
        assert await _ask(server.connect_string, "crst") == "Connection stats reset.\n"
        assert await _ask(server.connect_string, "srst") == "Server stats reset.\n"
        after = parse_mntr(await _ask(server.connect_string, "mntr"))
        assert int(after["zk_packets_sent"]) == 0
        await client.get("/")
        assert re.search(r"\(queued=0,recved=1,sent=1,sid=0x", await _ask(server.connect_string, "cons"))


@pytest.mark.anyio
async def test_an_empty_server_answers_every_word() -> None:
    async with DevServer() as server:
        for word in WORDS:
            actual = await _ask(server.connect_string, word)
            assert "not in the whitelist" not in actual
        assert await _ask(server.connect_string, "wchc") == "\n"
        assert await _ask(server.connect_string, "hash") == (
            "hash is not executed because it is not in the whitelist.\n"
        )


@pytest.mark.anyio
async def test_a_read_only_server_says_so() -> None:
    async with DevServer() as server:
        assert await _ask(server.connect_string, "isro") == "rw"
        server.become_read_only()
        assert await _ask(server.connect_string, "isro") == "ro"
        status = parse_srvr(await _ask(server.connect_string, "srvr"))
        assert status is not None
        assert status.mode == "read-only"
        assert parse_mntr(await _ask(server.connect_string, "mntr"))["zk_server_state"] == "read-only"

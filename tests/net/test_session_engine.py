"""The engine of a client without the client: each step of its life."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import accept_all, scripted
from tests.recipes.fault_sweep import TIMEOUT, World, virtual_time, world
from zkrecipes.codec.messages import DeleteRequest, ExistsRequest, WhoAmIReply
from zkrecipes.enums import OpCode, ServerVersion, SessionState
from zkrecipes.net.capability_cache import has_version
from zkrecipes.net.connect_string import Host
from zkrecipes.net.host_list import HostList
from zkrecipes.net.pending import PendingRequest
from zkrecipes.net.session import SessionOptions
from zkrecipes.net.session_engine import SessionEngine
from zkrecipes.net.transport.network import Stream
from zkrecipes.net.wakeup import current_parking
from zkrecipes.protocol.server_side import Requested, ServerSide
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


def _engine(there: World, *hosts: str, renew: bool = True, timeout: float = TIMEOUT) -> SessionEngine:
    return SessionEngine(
        there.network.view("a"),
        HostList(tuple(Host(name, 2181) for name in hosts or ("zk",)), random.Random(1)),
        SessionOptions(timeout, read_only=False, renew=renew, tick_time=None, packet_size_max=2**20),
        current_parking(),
    )


@asynccontextmanager
async def _running(there: World, *, renew: bool = True) -> AsyncIterator[SessionEngine]:
    engine = _engine(there, renew=renew)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.wait_connected()
        yield engine
        await engine.close()
        tasks.cancel_scope.cancel()


def _ask(engine: SessionEngine, *, write: bool = False) -> PendingRequest[Any]:
    request = DeleteRequest("/n", -1) if write else ExistsRequest("/")
    pending: PendingRequest[Any] = PendingRequest(request, lambda reply: reply, engine.parking)
    engine.submit(pending)
    return pending


async def test_requests_that_were_submitted_before_there_was_a_session_are_sent_when_there_is() -> None:
    async with world() as there:
        engine = _engine(there)
        pending = _ask(engine)
        assert engine.outstanding == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await pending.wait()
            assert engine.outstanding == 0
            await engine.close()


async def test_closing_while_the_answer_to_the_greeting_is_on_its_way_opens_no_session() -> None:
    async with world() as there:
        engine = _engine(there)
        held = there.server.faults.hold_replies()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await anyio.sleep(0.1)
            [link] = there.network.links
            link.to_client.hold()
            held.release()
            await anyio.sleep(0.1)
            assert link.to_client.waiting > 0
            link.to_client.release()  # it will be read …
            await engine.close()  # … after this, which does not wait
        assert engine.session.state is SessionState.CLOSED
        assert engine.session.id == 0
        assert isinstance(engine.final_error, zk.SessionClosedError)


async def test_closing_twice_is_closing_once() -> None:
    async with world() as there, _running(there) as engine:
        await engine.close()
        over = engine.final_error
        await engine.close()
        assert engine.final_error is over
        assert there.count(OpCode.CLOSE_SESSION) == 1


async def test_closing_that_is_cancelled_ends_the_client_all_the_same() -> None:
    async with world() as there, _running(there) as engine:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await engine.close()
        assert engine.final_error is not None
        assert engine.session.state is SessionState.CLOSED


async def test_a_close_that_the_server_refuses_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with world() as there, _running(there) as engine:
        session = engine.session
        await there.server.refuse()
        there.server.drop_connections()
        await anyio.sleep(0.1)
        there.server.expire(session.id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.close)
            await anyio.sleep(0.1)
            await there.server.accept()
        assert session.state is SessionState.EXPIRED
        assert engine.session is session  # no other session is opened
        assert len(there.server.processor.sessions) == 0
    assert any(
        re.search("could not close the session .*: the session expired", each.getMessage())
        for each in caplog.records
    )


async def test_each_request_after_the_end_gets_its_own_error() -> None:
    async with world() as there:
        async with _running(there) as engine:
            pass
        errors = [_ask(engine).error for _ in range(2)]
        assert [type(error) for error in errors] == [zk.SessionClosedError] * 2
        assert errors[0] is not errors[1]
        assert errors[0] is not engine.final_error
        for wait in (engine.wait_connected, partial(has_version, engine, ServerVersion.V3_5)):
            with pytest.raises(zk.SessionClosedError):
                await wait()
        assert isinstance(engine.final_error, zk.SessionClosedError)


async def test_a_deadline_that_passes_between_two_connections_ends_the_session() -> None:
    async with world() as there, _running(there) as engine:
        old = engine.session
        there.network.refuse()
        there.network.reset()
        await old.wait_closed()
        assert old.state is SessionState.EXPIRED
        assert engine.session.state is SessionState.CONNECTING
        assert engine.final_error is None
        there.network.heal()
        await engine.wait_connected()
        assert engine.session is not old


async def test_without_renewal_waiting_requests_end_with_the_session() -> None:
    async with world() as there, _running(there, renew=False) as engine:
        there.network.refuse()
        there.network.reset()
        await anyio.sleep(0.1)
        pending = [_ask(engine), _ask(engine, write=True)]
        await engine.session.wait_closed()
        assert isinstance(engine.final_error, zk.SessionExpiredError)
        for each in pending:
            with pytest.raises(
                zk.SessionExpiredError, match="no server answered for a whole session timeout"
            ):
                await each.wait()
        there.network.heal()


async def test_a_host_that_swallows_packets_does_not_take_the_turns_of_others() -> None:
    async with world() as there:
        for name in ("one", "two", "three"):
            there.network.black_hole(host=name)
        there.network.names = {name: [name] for name in ("one", "two", "three")}
        engine = _engine(there, "one", "two", "three", timeout=12.0)
        with anyio.move_on_after(4.5):
            await engine.run()
        reasons = engine.connector.failure_reasons()
        waited = "no answer to the attempt to connect within 4 seconds"
        assert sorted(reasons.values()) == [
            waited,
            "no answer yet to the attempt to connect",
            "not tried yet",
        ]


async def test_the_version_of_the_server_is_known_once_it_was_asked() -> None:
    async with world() as there, _running(there) as engine:
        links, asked = len(there.network.links), there.server.processor.zxid
        for _ in range(3):
            for version in ServerVersion:
                assert await has_version(engine, version)
        assert len(there.network.links) == links
        assert there.count(OpCode.WHO_AM_I) == 1
        assert there.server.processor.zxid == asked


async def test_a_listener_hears_the_end_and_then_nothing_more() -> None:
    async with world() as there, _running(there) as engine:
        with engine.changes.follow() as changes:
            session = engine.session
            await engine.close()
            assert [change async for change in changes] == [zk.SessionChange(session.id, SessionState.CLOSED)]
        with engine.changes.follow() as changes:
            assert [change async for change in changes] == []


class _SlowToClose:
    """A network whose streams take a second to close, as TLS may."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.resolve = network.resolve
        self.serve = network.serve
        self._network = network

    async def connect(self, host: str, port: int) -> Stream:
        stream = await self._network.connect(host, port)
        close = stream.aclose

        async def close_slowly() -> None:
            await anyio.sleep(1)
            await close()

        stream.aclose = close_slowly  # type: ignore[method-assign]
        return stream


async def test_a_question_waits_while_the_connection_of_an_ended_session_closes() -> None:
    # There is no server, and the end of the session is not announced yet: a question must wait, not spin.
    network = MemoryNetwork()

    def answer(side: ServerSide, requested: Requested) -> bool:
        if requested.opcode == OpCode.GET_DATA:
            side.reply(requested.xid, 1, zk.SessionExpiredError.code)
        else:
            side.reply(requested.xid, 1, 0, WhoAmIReply([]))
        return True

    async with (
        scripted(network, greet=accept_all(), answer=answer),
        zk.connect("scripted", network=_SlowToClose(network)) as client,
    ):
        with pytest.raises(zk.SessionExpiredError):
            await client.get("/n")
        await anyio.sleep(0.5)
        assert await client.whoami() == []

"""The calls of an instrument, and the figures of `stats`."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


class Notes(zk.Instrument):
    """An instrument that records every call."""

    def __init__(self) -> None:
        self.started: list[zk.ObservedRequest] = []
        self.finished: list[zk.ObservedRequest] = []
        self.changes: list[zk.SessionChange] = []

    def request_started(self, request: zk.ObservedRequest) -> None:
        assert (request.latency, request.error, request.is_cancelled) == (0, None, False)
        self.started.append(request)

    def request_finished(self, request: zk.ObservedRequest) -> None:
        self.finished.append(request)

    def session_changed(self, change: zk.SessionChange) -> None:
        self.changes.append(change)

    @property
    def operations(self) -> list[tuple[str, str | None]]:
        return [(request.operation, request.path) for request in self.finished]


class Broken(zk.Instrument):
    """An instrument that raises in every method."""

    def request_started(self, request: zk.ObservedRequest) -> None:
        raise ZeroDivisionError(request)

    request_finished = request_started

    def session_changed(self, change: zk.SessionChange) -> None:
        raise ZeroDivisionError(change)


async def test_each_request_is_reported_from_start_to_finish() -> None:
    notes = Notes()
    async with world() as there, there.connect("a", instrument=notes) as client:
        await client.create("/n", b"data")
        await client.get("/n")
        await client.get_children("/")
        assert notes.operations == [("create", "/n"), ("get_data", "/n"), ("get_children", "/")]
        assert notes.started == notes.finished
        for request in notes.finished:
            assert request.error is None
            assert request.outstanding == 1
            assert request.latency >= 0
        create, get, _ = notes.finished
        assert create.request_size > len(b"data") + len("/n")
        assert get.reply_size > len(b"data")


async def test_a_failed_request_is_reported_with_its_error() -> None:
    notes = Notes()
    async with world() as there, there.connect("a", instrument=notes) as client:
        with pytest.raises(zk.NoNodeError) as caught:
            await client.get("/missing")
        assert notes.finished[0].error is caught.value


async def test_an_error_that_is_an_answer_is_none() -> None:
    notes = Notes()
    async with world() as there, there.connect("a", instrument=notes) as client:
        assert await client.exists("/missing") is None
        assert notes.finished[0].error is None


async def test_time_without_a_connection_counts() -> None:
    notes = Notes()
    async with world() as there, there.connect("a", instrument=notes) as client:
        await there.server.refuse()
        there.server.drop_connections()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.exists, "/")
            await anyio.sleep(TIMEOUT / 10)
            await there.server.accept()
        assert notes.finished[0].latency >= TIMEOUT / 10


async def test_a_cancelled_request_is_finished_once() -> None:
    notes = Notes()
    async with world() as there, there.connect("a", instrument=notes) as client:
        held = there.server.faults.hold_replies()
        with anyio.move_on_after(0.5):
            await client.exists("/")
        assert [request.is_cancelled for request in notes.finished] == [True]
        held.release()
        await anyio.sleep(1)
        assert len(notes.finished) == 1


async def test_a_pipeline_that_is_cancelled_finishes_all_its_requests() -> None:
    notes = Notes()
    async with world() as there, there.connect("a", instrument=notes) as client:
        there.server.faults.hold_replies()
        with anyio.move_on_after(0.5):
            async with client.pipeline() as pipe:
                for _ in range(10):
                    pipe.exists("/")
        assert [request.is_cancelled for request in notes.finished] == [True] * 10
        assert notes.finished[-1].outstanding == 10


async def test_a_view_is_observed_with_full_paths() -> None:
    notes = Notes()
    async with world() as there, there.connect("a", instrument=notes) as client:
        await client.chroot("/app").ensure_path("/n")
        assert ("create", "/app/n") in notes.operations


async def test_reconnects_and_new_sessions_are_reported() -> None:
    notes = Notes()
    async with world() as there, there.connect("a", instrument=notes) as client:
        first = client.session.id
        there.server.drop_connections()
        await anyio.sleep(1)
        there.server.expire(first)
        await anyio.sleep(1)
        second = client.session.id
    state = zk.SessionState
    assert [(change.session_id, change.state) for change in notes.changes] == [
        (first, state.CONNECTED),
        (first, state.SUSPENDED),
        (first, state.CONNECTED),
        (first, state.SUSPENDED),
        (first, state.EXPIRED),
        (second, state.CONNECTED),
        (second, state.CLOSED),
    ]


async def test_an_error_in_an_instrument_affects_no_request(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as there, there.connect("a", instrument=Broken()) as client:
        await client.create("/n", b"data")
        assert (await client.get("/n")).data == b"data"
    failures = [record for record in caplog.records if "instrument" in record.message]
    assert len(failures) == 2 * 2 + 2  # two requests; connected and closed
    assert all(record.name == "zkrecipes.client" for record in failures)


async def test_stats_count_over_connections_and_sessions() -> None:
    async with world() as there, there.connect("a") as client:
        stats = client.stats()
        assert (stats.connections, stats.sessions, stats.outstanding) == (1, 1, 0)
        assert (stats.state, stats.session_id) == (zk.SessionState.CONNECTED, client.session.id)
        assert stats.server is not None
        before = stats.replies
        await client.create("/n", b"data")
        stats = client.stats()
        assert stats.replies == before + 1
        assert stats.last_zxid == (await client.get("/n")).stat.czxid
        there.server.drop_connections()
        await anyio.sleep(1)
        there.server.expire(client.session.id)
        await anyio.sleep(1)
        async with client.get_and_watch("/n"), zk.Mutex(client, "/lock"):
            later = client.stats()
        assert (later.connections, later.sessions) == (3, 2)
        assert (later.watches, later.holds) == (1, 1)
        assert later.replies > stats.replies
        assert later.bytes_sent > stats.bytes_sent > 0
        assert later.bytes_received > stats.bytes_received > 0


async def test_stats_say_for_how_long_nothing_was_answered() -> None:
    async with world() as there, there.connect("a") as client:
        assert client.stats().unanswered_for == pytest.approx(0)
        await anyio.sleep(TIMEOUT)
        assert client.stats().unanswered_for <= TIMEOUT / 3 + 0.01, "pings are answered"
        await client.exists("/")
        there.network.refuse()
        there.network.reset()
        await anyio.sleep(TIMEOUT / 2)
        assert client.state is zk.SessionState.SUSPENDED
        assert client.stats().unanswered_for == pytest.approx(TIMEOUT / 2)
        await client.session.wait_closed()
        assert client.stats().unanswered_for == float("inf")
        there.network.heal()


async def test_stats_say_what_waits_for_a_connection() -> None:
    async with world() as there, there.connect("a") as client, anyio.create_task_group() as tasks:
        await there.server.refuse()
        there.server.drop_connections()
        tasks.start_soon(client.exists, "/")
        await anyio.sleep(TIMEOUT / 10)
        stats = client.stats()
        assert (stats.state, stats.server, stats.outstanding) == (zk.SessionState.SUSPENDED, None, 1)
        await there.server.accept()

"""One session: id, timeout, state, and when it is given up."""

from __future__ import annotations

import logging

import anyio
import pytest

from zkrecipes.enums import SessionState
from zkrecipes.net.session import SessionKey, SessionRecord
from zkrecipes.protocol.events import Connected
from zkrecipes.protocol.states import SessionEvent

SECRET = b"sixteen secrets!"


def _connected(*, timeout: float = 6.0, sent_at: float = 100.0) -> Connected:
    return Connected(0x1234, SECRET, timeout, False, sent_at)


@pytest.mark.trio
async def test_a_new_session_has_no_id_and_is_never_given_up() -> None:
    session = SessionRecord(10.0)
    assert (session.id, session.timeout, session.last_zxid) == (0, 10.0, 0)
    assert session.state is SessionState.CONNECTING
    assert session.gives_up_at == float("inf")


@pytest.mark.trio
async def test_it_takes_its_id_and_its_timeout_from_the_server() -> None:
    session = SessionRecord(10.0)
    session.attach(_connected(timeout=6.0))
    assert (session.id, session.timeout, session.password) == (0x1234, 6.0, SECRET)


@pytest.mark.trio
async def test_it_is_given_up_one_timeout_after_the_later_of_the_last_answer_and_the_last_byte() -> None:
    session = SessionRecord(10.0)
    session.attach(_connected(timeout=6.0, sent_at=100.0))
    assert session.gives_up_at == 106.0
    session.note_progress(7, 103.0, 102.0)
    assert session.gives_up_at == 109.0
    assert session.last_zxid == 7
    session.note_progress(8, 101.0, 101.5)  # an older connection proves nothing new
    assert session.gives_up_at == 109.0
    session.note_progress(8, 103.0, 105.0)
    assert session.gives_up_at == 111.0
    session.suspended(2.0)
    assert session.gives_up_at == 109.0


@pytest.mark.trio
async def test_a_change_of_state_is_reported_once_and_logged_with_the_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    session = SessionRecord(10.0)
    session.attach(_connected())
    assert session.apply(SessionEvent.ATTACHED)
    assert session.apply(SessionEvent.DETACHED, "the cable")
    assert not session.apply(SessionEvent.DETACHED, "the cable again")
    assert session.apply(SessionEvent.EXPIRED)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "session 0x1234 is connected"),
        ("INFO", "session 0x1234 is suspended: the cable"),
        ("WARNING", "session 0x1234 is expired"),
    ]
    assert caplog.records[0].session_id == 0x1234  # type: ignore[attr-defined]  # an extra


@pytest.mark.trio
async def test_its_end_can_be_awaited() -> None:
    session, ended = SessionRecord(10.0), []

    async def wait() -> None:
        await session.handle.wait_closed()
        ended.append(session.state)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not ended
        session.apply(SessionEvent.CLOSED)
    assert ended == [SessionState.CLOSED]
    await session.handle.wait_closed()


@pytest.mark.trio
async def test_a_final_state_is_never_left() -> None:
    session = SessionRecord(10.0)
    session.apply(SessionEvent.CLOSED)
    with pytest.raises(RuntimeError, match="cannot be attached"):
        session.apply(SessionEvent.ATTACHED)


@pytest.mark.trio
async def test_it_does_not_show_its_password() -> None:
    session = SessionRecord(10.0)
    session.attach(_connected())
    assert repr(session.handle) == "<Session 0x1234 connecting>"


@pytest.mark.trio
async def test_an_id_with_its_first_bit_set_is_shown_without_a_sign(caplog: pytest.LogCaptureFixture) -> None:
    """As the server's log writes it; `id` stays the number on the wire."""
    caplog.set_level(logging.INFO)
    key = SessionKey(-2, bytes(16), 4.0)
    session = SessionRecord.resumed(key, 4.0, 0.0)
    session.apply(SessionEvent.EXPIRED)
    shown = "0xfffffffffffffffe"
    assert session.id == -2
    assert repr(session.handle) == f"<Session {shown} expired>"
    assert repr(session.handle.key) == f"SessionKey(id={shown}, timeout=4.0)"
    assert f"session {shown} is expired" in caplog.text
    assert repr(Connected(-2, bytes(16), 4.0, False, 0.0)).startswith(f"Connected(session_id={shown},")

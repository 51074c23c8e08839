"""Plays a history to a server, and returns its answers in a form that does not depend on the server.

Zxids are relative to the zxid of the history's root, session ids are the numbers of the sessions, and times
are left out. Lists without an order are sorted.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, NamedTuple, assert_never, cast, final

from tests.devserver.differential.steps import (
    OPEN,
    SESSIONS,
    Ask,
    End,
    History,
    Leave,
    Mangle,
    Return,
    SayGarbage,
    Step,
)
from tests.devserver.differential.wire_session import CLOSED, Closed, Frame, WireSession
from zkrecipes.codec.jute import Record, values_of
from zkrecipes.codec.messages import (
    ChildrenReply,
    CloseSessionRequest,
    CreateRequest,
    EphemeralsReply,
    GetChildren2Reply,
    SetWatches2Request,
    SetWatchesRequest,
    WatchEventMessage,
    WhoAmIReply,
)
from zkrecipes.codec.records import Stat
from zkrecipes.enums import SpecialXid
from zkrecipes.errors import AuthFailedError, UnimplementedError

__all__ = ["Answers", "next_root", "play"]

# After these a server closes the connection.
_ENDING = (UnimplementedError.code, AuthFailedError.code)

_roots = (f"/history-{os.getpid()}-{count}" for count in itertools.count(1))


class Answers(NamedTuple):
    """The frames that a server sent after one step: first to the session of the step, then to all."""

    step: Step
    frames: tuple[tuple[int, tuple[object, ...]], ...]
    """The session that each frame was sent to, and its content."""


def next_root() -> str:
    """A path that no history has used."""
    return next(_roots)


def play(history: History, address: tuple[str, int], root: str) -> list[Answers]:
    """Play a history below `root`, which must not exist, and return the answers to each step."""
    player = _Player(address, root)
    answers = [Answers(step, tuple(player.take(step))) for step in history]
    player.finish()
    return answers


@final
class _Player:
    def __init__(self, address: tuple[str, int], root: str) -> None:
        self._address = address
        self._root = root
        self._sessions = [WireSession(address) for _ in range(SESSIONS)]
        self._is_disconnected = [False] * SESSIONS
        self._abandoned: list[WireSession] = []
        self._names = {session.id: number for number, session in enumerate(self._sessions)}
        made = self._sessions[0].ask(CreateRequest(root, b"", OPEN, 0))[0]
        assert isinstance(made, Frame)
        assert made.err == 0, f"{root} cannot be made: {made}"
        self._first_zxid = made.zxid

    def take(self, step: Step) -> list[tuple[int, tuple[object, ...]]]:
        """Perform a step, and return the frames for each session."""
        frames = [(step.number, each) for each in self._taken(step)]
        present = [
            (number, session)
            for number, session in enumerate(self._sessions)
            if not self._is_disconnected[number] and (number, CLOSED) not in frames
        ]
        for _, session in present:
            session.ping()  # all pings first, so that the servers answer at the same time
        for number, session in present:
            frames += [(number, each) for each in session.until_pong()]
        answers = [(number, self._plain(each)) for number, each in frames]
        for number, each in frames:
            if each == CLOSED:
                self._start_session(number)
        if isinstance(step, End):
            # A server deletes a session's ephemerals in the order of a hash table.
            answers.sort(key=repr)
        return answers

    def finish(self) -> None:
        """End all sessions, so that none expires in the middle of another history."""
        for session in self._sessions:
            session.close()
        for session in self._abandoned + self._sessions:
            again = self._attached_again(session)
            if again.id != 0:
                again.ask(CloseSessionRequest())
            again.close()

    def _taken(self, step: Step) -> list[Frame | Closed]:
        number = step.number
        session = self._sessions[number]
        if self._is_disconnected[number] and not isinstance(step, Return):
            return []
        match step:
            case Ask(_, requests):
                frames = session.ask(*(self._meant(request) for request in requests))
                return self._with_farewell(session, frames)
            case SayGarbage(_, opcode, body):
                return self._with_farewell(session, session.ask_raw(opcode, body))
            case Mangle(_, request, position, other):
                body = self._meant(request).encode()
                tail = body[position + len(other) :] if other else b""
                frames = session.ask_raw(request.opcode, body[:position] + other + tail, request.reply)
                return self._with_farewell(session, frames)
            case Leave():
                session.close()
                self._is_disconnected[number] = True
                return []
            case Return():
                return self._return(number)
            case End():
                return session.ask(CloseSessionRequest()) + session.rest()
            case _:
                assert_never(step)

    def _with_farewell(self, session: WireSession, frames: list[Frame | Closed]) -> list[Frame | Closed]:
        """Wait for the end of a connection that the server closes after an answer; it may be late."""
        last = frames[-1] if frames else None
        return frames + session.rest() if isinstance(last, Frame) and last.err in _ENDING else frames

    def _return(self, number: int) -> list[Frame | Closed]:
        before = self._sessions[number]
        after = self._sessions[number] = self._attached_again(before)
        last_frames = [] if self._is_disconnected[number] else before.rest()
        self._is_disconnected[number] = False
        assert after.greeting is not None
        assert after.id == before.id, "it has expired"
        return last_frames[:-1]

    def _attached_again(self, session: WireSession) -> WireSession:
        return WireSession(
            session.address, session_id=session.id, password=session.password, zxid=self._first_zxid
        )

    def _start_session(self, number: int) -> None:
        """Open another session if the connection was closed. The old session may stay alive without one."""
        self._abandoned.append(self._sessions[number])
        session = self._sessions[number] = WireSession(self._address)
        self._names[session.id] = number

    def _meant(self, request: Any) -> Any:
        if isinstance(request, (SetWatchesRequest, SetWatches2Request)):
            relative, *paths = cast("tuple[Any, ...]", request)
            return type(request)(self._first_zxid + relative, *self._below_root(list(paths)))
        return self._below_root(request)

    def _below_root(self, value: Any) -> Any:
        """`value` with paths that start with `~` moved below the root."""
        if isinstance(value, str):
            return value.replace("~", self._root, 1) if value.lstrip().startswith("~") else value
        if isinstance(value, list):
            return [self._below_root(each) for each in value]
        if isinstance(value, Record):
            return type(value)(*(self._below_root(each) for each in values_of(value)))
        if isinstance(value, tuple):
            return tuple(self._below_root(each) for each in value)
        return value

    def _plain(self, frame: Frame | Closed) -> tuple[object, ...]:
        if isinstance(frame, Closed):
            return ("closed",)
        if frame.xid == SpecialXid.NOTIFICATION and isinstance(frame.body, WatchEventMessage):
            kind, state, path = frame.body
            return ("event", self._zxid(frame.zxid), kind, state, path.replace(self._root, "~", 1))
        return ("reply", frame.xid, self._zxid(frame.zxid), frame.err, self._plain_body(frame.body))

    def _plain_body(self, body: Any) -> object:
        if isinstance(body, Stat):
            return self._plain_stat(body)
        if isinstance(body, GetChildren2Reply):
            return (sorted(body.children or ()), self._plain_stat(body.stat))
        if isinstance(body, (ChildrenReply, EphemeralsReply, WhoAmIReply)):
            return sorted((self._plain_body(each) for each in values_of(body)[0] or ()), key=repr)
        if isinstance(body, str):
            return body.replace(self._root, "~", 1)
        if isinstance(body, (tuple, list)):
            return (type(body).__name__, *(self._plain_body(each) for each in body))
        return body

    def _plain_stat(self, stat: Stat) -> object:
        assert stat.ctime <= stat.mtime
        return {
            "czxid": self._zxid(stat.czxid),
            "mzxid": self._zxid(stat.mzxid),
            "pzxid": self._zxid(stat.pzxid),
            "versions": (stat.version, stat.cversion, stat.aversion),
            "owner": self._names.get(stat.ephemeral_owner, stat.ephemeral_owner),
            "sizes": (stat.data_length, stat.num_children),
        }

    def _zxid(self, zxid: int) -> int:
        """The zxid relative to that of the root; 0 and -1 mean no zxid and stay."""
        return zxid - self._first_zxid if zxid > 0 else zxid

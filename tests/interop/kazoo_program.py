"""kazoo's client and recipes, driven over stdin and stdout; `kazoo_peer.py` starts it.

The arguments are the connect string and the session timeout in seconds. A line of input is a command, and a
line of output is its answer, if it has one:

    TAG CLASS NAME PATH WORD...     create an object of one of kazoo's classes, named NAME
    TAG COMMAND NAME WORD...        run a command of an object
    TAG session-id | expire-session | close

    TAG ok JSON
    TAG error CLASS JSON

Words are URL-encoded. An object runs its commands one after another in its own thread, except those in
`at_once`. The program ends with its input.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.election import Election
from kazoo.recipe.lock import Lock, ReadLock, Semaphore, WriteLock
from kazoo.recipe.party import Party, ShallowParty

Command = Callable[..., Any]
Answer = Callable[[Callable[[], Any]], None]


class Recipe:
    """One of kazoo's objects, and its thread."""

    def __init__(self, in_turn: dict[str, Command], at_once: dict[str, Command]) -> None:
        self._in_turn = in_turn
        self._at_once = at_once
        self._turns: queue.Queue[Callable[[], None]] = queue.Queue()
        start_thread(self._take_turns)

    def take(self, name: str, words: list[str], answer: Answer) -> None:
        """Run the command now or later, and pass its result to `answer` in the same thread."""
        if name in self._in_turn:
            self._turns.put(lambda: answer(lambda: self._in_turn[name](*words)))
        else:
            start_thread(lambda: answer(lambda: self._at_once[name](*words)))

    def _take_turns(self) -> None:
        while True:
            self._turns.get()()


def lock(lock: Lock | Semaphore) -> Recipe:
    """PATH [IDENTIFIER [PATTERN...]]; a semaphore has a limit instead of patterns."""
    names = lock.lease_holders if isinstance(lock, Semaphore) else lock.contenders
    return Recipe(
        # [SECONDS]: wait at most this long, or for ever without it; false if the time was too short
        in_turn={"acquire": lambda *seconds: acquire(lock, *seconds), "release": lock.release},
        # `cancel` ends the wait
        at_once={"contenders": names, "cancel": lock.cancel},
    )


def acquire(lock: Lock | Semaphore, seconds: str | None = None) -> bool:
    try:
        return bool(lock.acquire(timeout=None if seconds is None else float(seconds)))
    except LockTimeout:
        return False


def election(election: Election) -> Recipe:
    """PATH IDENTIFIER. It leads until the command `relinquish`."""
    elections, resignations = threading.Semaphore(0), threading.Semaphore(0)

    def lead() -> None:
        elections.release()
        resignations.acquire()

    return Recipe(
        # `run` is answered when it has led or was cancelled while waiting
        in_turn={"run": lambda: election.run(lead)},
        at_once={
            # [SECONDS]: wait until it leads, once for each leadership
            "await": lambda *seconds: elections.acquire(timeout=float(seconds[0]) if seconds else None),
            "relinquish": resignations.release,
            "contenders": election.contenders,
            "cancel": election.cancel,
        },
    )


def party(party: Party | ShallowParty) -> Recipe:
    """PATH IDENTIFIER."""
    return Recipe(
        in_turn={"join": party.join, "leave": party.leave}, at_once={"members": lambda: sorted(party)}
    )


def barrier(barrier: Barrier) -> Recipe:
    """PATH."""
    return Recipe(
        in_turn={"wait": lambda *seconds: barrier.wait(*map(float, seconds))},
        at_once={"create": barrier.create, "remove": barrier.remove},
    )


def double_barrier(barrier: DoubleBarrier) -> Recipe:
    """PATH COUNT [IDENTIFIER]."""
    return Recipe(in_turn={"enter": barrier.enter, "leave": barrier.leave}, at_once={})


RECIPES: dict[str, Callable[..., Recipe]] = {
    "Lock": lambda client, path, name="", *patterns: lock(Lock(client, path, name, patterns)),
    "ReadLock": lambda client, path, name="": lock(ReadLock(client, path, name)),
    "WriteLock": lambda client, path, name="": lock(WriteLock(client, path, name)),
    "Semaphore": lambda client, path, name, limit: lock(Semaphore(client, path, name, int(limit))),
    "Election": lambda client, path, name: election(Election(client, path, name)),
    "Party": lambda client, path, name: party(Party(client, path, name)),
    "ShallowParty": lambda client, path, name: party(ShallowParty(client, path, name)),
    "Barrier": lambda client, path: barrier(Barrier(client, path)),
    "DoubleBarrier": lambda client, path, count, name="": double_barrier(
        DoubleBarrier(client, path, int(count), name)
    ),
}


class KazooProgram:
    def __init__(self, hosts: str, timeout: float) -> None:
        self._hosts = hosts
        self._client = KazooClient(hosts, timeout=timeout)
        self._recipes: dict[str, Recipe] = {}
        self._writing = threading.Lock()
        self._commands: dict[str, Command] = {
            "session-id": self._session_id,
            "expire-session": self._expire_session,
            "close": self._close,
        }

    def run(self) -> None:
        self._client.start()
        for line in sys.stdin:
            tag, command, *words = [unquote_plus(word) for word in line.rstrip("\n").split(" ")]
            self._take(tag, command, words)
        os._exit(0)  # the reader has closed the pipe; the session will expire

    def _take(self, tag: str, command: str, words: list[str]) -> None:
        def answer(call: Callable[[], Any]) -> None:
            self._answer(tag, call)

        if command in RECIPES:
            answer(lambda: self._make(command, *words))
        elif not words:
            start_thread(lambda: answer(lambda: self._own(command)))
        elif words[0] in self._recipes:
            self._recipes[words[0]].take(command, words[1:], answer)
        else:
            answer(lambda: self._recipes[words[0]])

    def _session_id(self) -> int | None:
        """Return the session's id; None while there is no session."""
        client_id = self._client.client_id
        return None if client_id is None else client_id[0]

    def _own(self, command: str) -> Any:
        return self._commands[command]()

    def _make(self, command: str, name: str, *words: str) -> None:
        self._recipes[name] = RECIPES[command](self._client, *words)

    def _expire_session(self) -> None:
        """Take the session over with another client and close it, so that it ends for this one."""
        other = KazooClient(self._hosts, client_id=self._client.client_id)
        other.start()
        other.stop()
        other.close()

    def _close(self) -> None:
        self._client.stop()
        self._client.close()

    def _answer(self, tag: str, call: Callable[[], Any]) -> None:
        try:
            line = f"{tag} ok {json.dumps(call())}"
        except Exception as error:  # noqa: BLE001 - every exception is the answer
            line = f"{tag} error {type(error).__name__} {json.dumps(str(error))}"
        with self._writing:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


def start_thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True).start()


if __name__ == "__main__":
    KazooProgram(sys.argv[1], float(sys.argv[2])).run()

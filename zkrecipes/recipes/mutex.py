"""Mutex: one holder at a time, in order of arrival."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, final

import anyio

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Guard, recipe_api
from zkrecipes.enums import Perms
from zkrecipes.errors import LockLostError, NoAuthError, NoNodeError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.contender import Place, Queue, in_order
from zkrecipes.recipes.hold import Hold, HoldBlock
from zkrecipes.recipes.layouts import lock_layout

__all__ = ["Contender", "Mutex", "MutexAcquisition"]


@final
@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody in the queue of a lock.

    Attributes:
        identifier: what the contender calls itself.
        path: its znode, as the client sees it.
        fencing_token: what its hold has, or will have.
        session_id: the session that owns its znode.
    """

    identifier: str
    path: str
    fencing_token: int
    session_id: int


@final
class Mutex:
    """A lock that one contender holds at a time, first come first served, across processes and machines.

        mutex = zk.Mutex(client, "/locks/job")
        async with mutex as hold:
            ...  # cancelled if the lock can no longer be proven; leaving raises LockLostError then

    Building it does no I/O, and tasks may share it. It contends with kazoo's `Lock` on the same path.

    Args:
        client: whose session holds the lock.
        path: a directory of its own, made when it is missing; no other data belongs there.
        identifier: what `contenders` shows of this one; host and process id by default.
        layout: how the contenders' znodes are named: `"kazoo"`.
        acl: of the contenders' znodes; it must give their owner READ. None: the client's default.

    Raises:
        ValueError: the path, the layout or the ACL cannot be right.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        identifier: str | None = None,
        layout: str = "kazoo",
        acl: Sequence[ACL] | None = None,
    ) -> None:
        self.path = check_path(path)
        self.identifier = f"{socket.gethostname()}:{os.getpid()}" if identifier is None else identifier
        if acl is not None and not any(entry.perms & Perms.READ for entry in acl):
            # or the checks that prove the hold would be refused
            raise ValueError(f"the ACL of a lock must give its owner READ: {acl!r}")
        self._queue = Queue(client, path, lock_layout(layout), acl)
        self._acquisitions: dict[int, MutexAcquisition] = {}

    def acquire(self, *, blocking: bool = True) -> MutexAcquisition:
        """Enter the result to hold the lock: `async with mutex.acquire(blocking=False) as hold`.

        Args:
            blocking: wait for one's turn. With False entering raises `anyio.WouldBlock` unless the lock is
                free.

        Entering raises:
            anyio.WouldBlock: somebody else has it, with `blocking=False`.
            RuntimeError: this task has it already, and would wait for itself.
            NoAuthError: the ACL of the directory does not let this client in, or that of the contender before
                it does not let it read and watch.
            PacketTooLargeError: the directory has too many children to be listed.
            ZooKeeperError: the client is over.

        Leaving raises:
            LockLostError: the lock was lost while the block ran; the block was cancelled.

        Cancellation: no znode is left behind, whatever was under way; the removal goes on in the background.
        """
        return MutexAcquisition(self, self._queue, self.identifier.encode(), blocking, self._acquisitions)

    async def __aenter__(self) -> Hold:
        return await self.acquire().__aenter__()

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._acquisitions[_task_id()].__aexit__(error_type, error, traceback)

    async def contenders(self) -> list[Contender]:
        """Who holds the lock and who waits for it, in order; the first one holds it, or is about to."""
        queue = self._queue
        try:
            entries = in_order(await queue.client.get_children(queue.directory), queue.layout)
        except NoNodeError:
            return []
        async with queue.client.pipeline() as pipe:
            paths = [join(queue.directory, entry.name) for entry in entries]
            nodes = [pipe.get(path) for path in paths]
        found = []
        for path, node in zip(paths, nodes, strict=True):
            if isinstance(node.error, NoNodeError):
                continue  # it left meanwhile
            data, stat = node.result()
            identifier = (data or b"").decode(errors="replace")
            found.append(Contender(identifier, path, stat.czxid, stat.ephemeral_owner))
        return found

    def __repr__(self) -> str:
        return f"<Mutex {self.path} {self.identifier}>"


@final
class MutexAcquisition:
    """One acquisition of a mutex, to be entered once with `async with`."""

    def __init__(
        self,
        mutex: Mutex,
        queue: Queue,
        data: bytes,
        blocking: bool,
        acquisitions: dict[int, MutexAcquisition],
    ) -> None:
        self._mutex = mutex
        self._queue = queue
        self._blocking = blocking
        self._acquisitions = acquisitions
        self._place = Place(queue, data)
        self._task = 0
        self._is_entered = False
        self._block: HoldBlock

    async def __aenter__(self) -> Hold:
        if self._is_entered:
            raise RuntimeError("an acquisition is entered once; call acquire() again")
        self._is_entered = True
        self._task = _task_id()
        if self._task in self._acquisitions:
            raise RuntimeError(
                f"this task has {self._mutex!r} already, or waits for it: it would wait for itself"
            )
        self._acquisitions[self._task] = self
        try:
            guard = await self._acquire()
        except BaseException:
            del self._acquisitions[self._task]
            await self._place.leave()
            raise
        place = self._place
        self._block = HoldBlock(guard, place.path, LockLostError)
        self._block.enter()
        return Hold(self._queue.client, guard, place.path, place.token, LockLostError)

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome = self._block.exit(error_type, error, traceback)
        del self._acquisitions[self._task]
        await self._place.leave()
        if outcome is not None and outcome is not error:
            raise outcome

    def __await__(self) -> Generator[None, None, NoReturn]:
        self._is_entered = True  # told here, so `__del__` need not
        raise TypeError("a lock is entered, not awaited: `async with mutex.acquire() as hold:`")

    def __del__(self) -> None:
        if not self._is_entered:
            message = f"an acquisition of {self._mutex!r} was never entered: nothing was locked"
            warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)

    async def _acquire(self) -> Guard:
        """Queue up until it is our turn and the hold is proven."""
        place = self._place
        while True:
            children = await place.take()
            if not self._blocking and not place.is_first(children):
                raise anyio.WouldBlock
            if await place.wait_turn(children):
                api = recipe_api(self._queue.client)
                guard = api.guard(place.path, place.session)
                try:
                    if await guard.wait_proven():
                        return guard
                except BaseException:
                    guard.release()
                    raise
                if guard.is_unreadable:
                    raise NoAuthError(place.path, detail="the ACL of a lock must give its owner READ")
            # The znode is gone, with its session or by somebody's hand, or is about to go: again.
            await place.leave()


def _task_id() -> int:
    return anyio.get_current_task().id

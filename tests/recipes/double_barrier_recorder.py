"""Records the history of one double barrier for `double_barrier_checker`.

It observes the server's transactions, on a dev server or a simulated ensemble, and the test reports what the
members do. It knows the znode layout (ephemeral children and `ready`), and nothing else about the recipe.

```python
recorder = Recorder("/steps")
recorder.follow_server(there.server)
async with there.connect("A") as client:
    member = recorder.register("A", client)
    recorder.arrived(member)
    try:
        async with zk.DoubleBarrier(client, "/steps", parties=3, identifier="A"):
            with recorder.block(member):
                ...
    finally:
        recorder.left(member)
recorder.settled()
assert not check(recorder.events, parties=3)
```

`recorder.call(member)` records `arrived` and `left` around one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import zkrecipes as zk
from tests.recipes.double_barrier_checker import (
    Arrived,
    BlockBegan,
    BlockEnded,
    Crashed,
    Event,
    Left,
    Member,
    ReadyCreated,
    ReadyDeleted,
    SessionEnded,
    Settled,
    ZnodeCreated,
    ZnodeDeleted,
)
from zkrecipes.devserver.data_tree import DataTree, ZNode
from zkrecipes.testing import SimulatedEnsemble
from zkrecipes.testing.simulated.history import CommittedTransaction

__all__ = ["Recorder", "merged"]

_READY = "ready"
_EPSILON = 1e-6


@final
class Recorder:
    """The history of one barrier in one process: the server's transactions and the test's reports.

    Args:
        path: the path of the barrier, without a chroot.

    Attributes:
        events: the history so far.
    """

    def __init__(self, path: str) -> None:
        self.events: list[Event] = []
        self._path = path
        self._clients: dict[Member, tuple[zk.Client, bytes]] = {}
        self._known: dict[int, dict[Member, None]] = {}
        """The members of each session, including ended sessions."""
        self._crashed: set[Member] = set()
        self._children: dict[str, tuple[int, int]] = {}
        """The czxid and the owner of each child, `ready` included."""
        self._sessions: set[int] = set()
        """The sessions that have had a znode here and have not ended."""
        self._forced: set[int] = set()

    # --- reports of the test -------------------------------------------------------------------------------

    def register(self, name: str, client: zk.Client, *, data: bytes | None = None) -> Member:
        """Add a member, or the next incarnation of one.

        Args:
            name: the member's name, unique among the members of one client.
            client: the member's client; all sessions of the client are the member's.
            data: the data of its znode, which distinguish several members of one client; None for `name`.
        """
        incarnation = 1 + sum(member.name == name for member in self._clients)
        member = Member(name, incarnation)
        self._clients[member] = (client, name.encode() if data is None else data)
        return member

    @contextmanager
    def call(self, member: Member) -> Iterator[None]:
        """Record one call of the recipe around this block."""
        self.arrived(member)
        try:
            yield
        finally:
            self.left(member)

    @contextmanager
    def block(self, member: Member) -> Iterator[None]:
        """Record the member's block around this one."""
        self._add(member, BlockBegan)
        try:
            yield
        finally:
            self._add(member, BlockEnded)

    def arrived(self, member: Member) -> None:
        """Report that a member calls the recipe."""
        self._add(member, Arrived)

    def left(self, member: Member) -> None:
        """Report that the call has returned."""
        self._add(member, Left)

    def crashed(self, member: Member) -> None:
        """Report that the member's process is dead, and record nothing more of it.

        Cut the client off first: a dead process sends nothing more.
        """
        if member not in self._crashed:
            self.events.append(Crashed(member))
            self._crashed.add(member)

    def expect_forced_end(self, session_id: int) -> None:
        """Expect that the test ends this session, which no client can foresee. Call it just before.

        On a dev server it is necessary only before a jump of the server's clock: a session that ends before
        its timeout, for example by `server.expire` or a fault, is recognized.
        """
        self._forced.add(session_id)

    def settled(self) -> None:
        """Report that everything is healthy, and that nothing has happened for a session timeout."""
        self.events.append(Settled())

    def _add(self, member: Member, kind: Callable[[Member, int], Event]) -> None:
        if member not in self._crashed:
            client, _ = self._clients[member]
            self._known.setdefault(client.session.id, {})[member] = None
            self.events.append(kind(member, client.stats().last_zxid))

    # --- the server's transactions -------------------------------------------------------------------------

    def follow_server(self, server: zk.DevServer) -> None:
        """Record the transactions of a dev server from now on.

        A restart that forgets everything (`keep=False`) creates a new processor: call this again after it.
        """
        processor = server.processor
        process, expire = processor.process, processor.expire
        self._look(processor.tree, processor.zxid, 0)

        def processed(client: Any, opcode: int, request: Any, time: Any) -> Any:
            reply = process(client, opcode, request, time)
            session_id = 0 if client.session is None else client.session.id
            has_ended = client.session is not None and processor.sessions.find(session_id) is None
            self._look(processor.tree, processor.zxid, session_id, ended=session_id if has_ended else None)
            return reply

        def expired(session: Any, time: Any) -> None:
            if session not in processor.sessions.expired(time.now + _EPSILON):
                self.expect_forced_end(session.id)
            expire(session, time)
            self._look(processor.tree, processor.zxid, session.id, ended=session.id)

        processor.process = processed  # type: ignore[method-assign]
        processor.expire = expired  # type: ignore[method-assign]

    def follow_ensemble(self, ensemble: SimulatedEnsemble) -> None:
        """Record the transactions of a simulated ensemble, those so far and each when a quorum commits it."""

        def record(transaction: CommittedTransaction) -> None:
            session_id = transaction.session_id or 0
            ended = session_id if transaction.is_session_end else None
            self._look(transaction.tree, transaction.zxid, session_id, ended=ended)

        ensemble.follow_commits(record)

    def _look(self, tree: DataTree, zxid: int, session_id: int, *, ended: int | None = None) -> None:
        """Compare the barrier's children with those before the transaction."""
        before, after = self._children, self._children_in(tree)
        if ended in self._sessions:
            self.events.append(SessionEnded(zxid, ended, is_forced=ended in self._forced))
            self._sessions.discard(ended)
        for name, (czxid, _) in before.items():
            if name not in after or after[name][0] != czxid:
                self._deleted(name, zxid, session_id, ended)
        for name, (czxid, owner) in after.items():
            # The members come first: one transaction may create a member's znode and `ready`.
            if name != _READY and before.get(name, (0, 0))[0] != czxid:
                self._sessions.add(owner)
                member = self._member(owner, tree.get(f"{self._path}/{name}"))
                self.events.append(ZnodeCreated(zxid, name, owner, member))
        if _READY in after and before.get(_READY, (0, 0))[0] != after[_READY][0]:
            self.events.append(ReadyCreated(zxid, session_id, self._is_ours(session_id)))
        self._children = after

    def _deleted(self, name: str, zxid: int, session_id: int, ended: int | None) -> None:
        if name == _READY:
            self.events.append(ReadyDeleted(zxid, session_id, self._is_ours(session_id)))
        else:
            self.events.append(ZnodeDeleted(zxid, name, None if ended is not None else session_id))

    def _children_in(self, tree: DataTree) -> dict[str, tuple[int, int]]:
        parent = tree.find(self._path)
        names = () if parent is None or parent.children is None else parent.children
        nodes = {name: tree.get(f"{self._path}/{name}") for name in names}
        return {
            name: (node.czxid, node.owner) for name, node in nodes.items() if node.owner or name == _READY
        }

    def _members_of(self, session_id: int) -> list[Member]:
        known = self._known.setdefault(session_id, {})
        known.update(
            (member, None) for member, (client, _) in self._clients.items() if client.session.id == session_id
        )
        return list(known)

    def _is_ours(self, session_id: int) -> bool:
        return bool(self._members_of(session_id))

    def _member(self, session_id: int, node: ZNode) -> Member | None:
        members = self._members_of(session_id)
        if len(members) > 1:
            members = [member for member in members if self._clients[member][1] == (node.data or b"")]
            if len(members) != 1:
                raise ValueError(f"members of one client must have different data, not {node.data!r}")
        return members[0] if members else None


def merged(
    transactions: Sequence[tuple[float, Event]], reported: Iterable[tuple[float, Event]]
) -> list[Event]:
    """Return the history of several processes as one list.

    Each event has a time in seconds, all on one clock. An event of a program is placed after every
    transaction that its client had seen, and otherwise by its time.

    Args:
        transactions: the transactions, in the order of their zxids. Their time must not be too early: a
            server's log states whole milliseconds and the time of the proposal, so add a millisecond.
        reported: the events that the programs recorded, in any order.
    """
    events: list[Event] = []
    position = 0
    for time, event in sorted(reported, key=lambda pair: pair[0]):
        seen = getattr(event, "zxid", None) or 0
        while position < len(transactions):
            committed_at, transaction = transactions[position]
            zxid = getattr(transaction, "zxid", 0)
            if committed_at >= time and zxid > seen:
                break
            events.append(transaction)
            position += 1
        events.append(event)
    return events + [transaction for _, transaction in transactions[position:]]

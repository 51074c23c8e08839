"""The client: one short method for each request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, final

import anyio
import anyio.lowlevel

from zkrecipes.client.async_block import async_block
from zkrecipes.client.credentials import check_credential
from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.multi_read import MultiRead
from zkrecipes.client.observing import Observer
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.client.pipeline import Pipeline
from zkrecipes.client.stats import ClientStats, stats_of
from zkrecipes.client.stream import AsyncSource, Replies, SyncSource, check_window
from zkrecipes.client.tasks import ClientTasks
from zkrecipes.client.transaction import Transaction
from zkrecipes.client.tree_deletion import delete_tree
from zkrecipes.client.trees import ensure_path
from zkrecipes.client.walking import Walk
from zkrecipes.client.watch_emulation import keep_watching
from zkrecipes.client.watching import OneShotWatch, WatchEvents
from zkrecipes.codec.messages import AddWatchRequest
from zkrecipes.codec.records import ACL, Id, Node, Stat
from zkrecipes.codec.secret import hides_arguments
from zkrecipes.enums import AddWatchMode, SessionState, WatcherType
from zkrecipes.errors import (
    ConnectionLossError,
    NoNodeError,
    ServerError,
    SessionExpiredError,
    UnimplementedError,
)
from zkrecipes.net.connect_string import Host, parse_connect_string
from zkrecipes.net.session import Session
from zkrecipes.net.session_changes import SessionChanges
from zkrecipes.net.session_engine import SessionEngine
from zkrecipes.net.watch_requests import WatchOwner
from zkrecipes.paths import check_path, parent_of

__all__ = ["Client", "check_client"]

T = TypeVar("T")


@final
class Client:
    """A client of a ZooKeeper ensemble; `connect()` makes it, and any number of tasks may use it.

    Paths are absolute, as seen under the chroot. Data is `bytes`, or None for null. A `version` guards a
    write: it is refused with `BadVersionError` unless the znode has that version; None means any.

    **When the connection is lost**, a request that was not yet sent waits for the next connection, a read
    that was not answered is sent again, and a write that was not answered raises `ConnectionLossError`:
    whether it was applied is unknown. While there is no connection requests wait; `anyio.fail_after` bounds
    that. When the session expires, waiting writes raise `SessionExpiredError`.

    **Cancelling** a call is always safe: a request not yet sent is dropped, one in flight is left to finish
    and its reply thrown away.

    Every call may raise a `ServerError` with the server's answer, and a `ValueError` or `TypeError`, before
    anything is sent, for an argument that cannot be right.
    """

    def __init__(
        self,
        engine: SessionEngine,
        operations: Operations,
        tasks: ClientTasks,
        observer: Observer | None = None,
    ) -> None:
        self._engine = engine
        self._operations = operations
        self._tasks = tasks
        self._observer = observer
        self._calls = Dispatcher(engine, operations, tasks, observer)
        self._submit = self._calls.submit
        self._run = self._calls.run

    if not TYPE_CHECKING:

        def __new__(cls, *parts: object, **options: object) -> Self:  # noqa: D102
            is_made_by_us = bool(parts) and isinstance(parts[0], SessionEngine)
            del parts, options  # which may hold a password
            if not is_made_by_us:
                raise TypeError(
                    "a Client is made by connect(), not by calling Client: "
                    '`async with zk.connect("host:2181") as client:`'
                )
            return super().__new__(cls)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Client can be neither pickled nor copied: its session belongs to this process. Open one in "
            "each process, with connect(), and one for all tasks of a process"
        )

    def __repr__(self) -> str:
        chroot = f" under {self._operations.chroot}" if self._operations.chroot else ""
        return f"<Client{chroot} {self.session!r}>"

    # --- the session ---------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The present session; after a renewal it is a new object."""
        return self._engine.session

    @property
    def state(self) -> SessionState:
        """The state of the present session."""
        return self._engine.session.state

    @async_block("client.session_changes()", "changes")
    async def session_changes(self) -> AsyncIterator[SessionChanges]:
        """Follow the client's state across sessions: an async iterator of every change from now on."""
        self._engine.check_loop()
        with self._engine.changes.follow() as changes:
            yield changes

    def stats(self) -> ClientStats:
        """The client's figures at this moment: state, server, requests, bytes, watches, holds."""
        return stats_of(self._engine)

    async def add_auth(self, scheme: str, credential: str | bytes) -> None:
        """Add an identity to the session, now and on every later connection.

        Args:
            scheme: `digest` as a rule.
            credential: for `digest`, `user:password`; a secret, shown nowhere.

        Raises:
            AuthFailedError: the server refused it, which ends the client.
            TypeError: it is neither a string nor bytes.
            ValueError: it cannot be encoded, or a `digest` has no colon.
        """
        try:
            self._engine.check_loop()
            self._engine.authenticate(*check_credential(scheme, credential))
        finally:
            del scheme, credential  # which some tracebacks would show
        # The server answers in order, and breaks the connection if it refuses: any later answer is a yes.
        try:
            await self._run(self._operations.exists("/"))
        except ServerError:
            return

    def update_hosts(self, hosts: str, *, rebalance: bool = False) -> None:
        """Use other hosts from the next connection on; the present one stays.

        Args:
            hosts: a connect string without a chroot.
            rebalance: let chance decide whether this client moves to another of them, so that all clients
                that do this were spread evenly before and are afterwards. A client whose server is no longer
                among them moves. What was sent is answered first; nothing is lost.

        Raises:
            ValueError: it is not one.
        """
        try:
            self._engine.check_loop()
            others = _hosts_without_chroot(hosts)
        finally:
            del hosts  # which may hold a password by mistake
        known = self._engine.connector.hosts
        if not rebalance:
            known.replace(others)
            return
        host = known.rebalance(others, known.last_tried)
        if host is not None:
            self._engine.move_to(host, "the list of servers has changed")

    def chroot(self, path: str) -> Client:
        """A view of the tree under `path`, sharing this session; the path need not exist yet."""
        check_path(path)
        if path == "/":
            return self
        return Client(self._engine, self._operations.under(path), self._tasks, self._observer)

    async def whoami(self) -> list[Id]:
        """The identities of this session: its address, and what `add_auth` added (servers from 3.7).

        The `id` of a `digest` is the user's name alone; what an ACL holds is made by `digest_id`.

        Raises:
            UnimplementedError: the server is older.
        """
        return await self._calls.run(self._operations.whoami())

    # --- the ensemble --------------------------------------------------------------------------------------

    async def get_config(self) -> Node:
        """The members of the ensemble (servers from 3.5).

        As text: one `server.N=…` a line, then `version=` and a hexadecimal number. It is the data of
        `/zookeeper/config`, whatever the chroot; it is empty where a server stands alone.

        Raises:
            UnimplementedError: the server is older.
        """
        return await self._calls.run(self._operations.get_config())

    async def four_letter_word(self, word: str) -> str:
        """What the server that this client is attached to says to a four-letter word.

        A server that does not answer the word (`4lw.commands.whitelist`) says that.

        Args:
            word: `srvr`, `mntr`, `ruok` …

        Raises:
            ValueError: it has not four small letters.
            ConnectionLossError: the server could not be asked.
        """
        if not re.fullmatch("[a-z]{4}", str(word)):
            raise ValueError(f"a four-letter word is four small letters, not {word!r}")
        self._engine.check_loop()
        address = await self._engine.wait_address()
        try:
            return (await self._engine.connector.ask(address, word.encode())).decode(errors="replace")
        except OSError as error:
            raise ConnectionLossError(word, reason=str(error)) from error

    async def reconfig(
        self,
        *,
        joining: Sequence[str] = (),
        leaving: Sequence[str | int] = (),
        new_members: Sequence[str] = (),
        from_version: int | None = None,
    ) -> Node:
        """Change the ensemble's members, and return the new configuration, as `get_config` does (from 3.5).

        Args:
            joining: servers to add or change, each as in the configuration and with its port for clients:
                `server.4=h4:2888:3888;2181`.
            leaving: numbers of servers to remove.
            new_members: all servers from now on, in place of the other two.
            from_version: change nothing unless the configuration has this version (the `version=` that
                `get_config` shows, as an int); None means any.

        Raises:
            ValueError: nothing is to be changed, or `new_members` has company.
            ReconfigDisabledError: the servers do not allow it (`reconfigEnabled`).
            NoAuthError: this session may not write to `/zookeeper/config`.
            BadVersionError: the configuration has another version.
            BadArgumentsError: the servers cannot be changed in this way.
            NewConfigNoQuorumError: too few of the new members are up and in step.
            ReconfigInProgressError: another change is going on.
            ConnectionLossError: it is unknown whether it was changed, as when the leader is told to leave, or
                the server that this client is connected to.
            UnimplementedError: the server is older, or stands alone.
        """
        operation = self._operations.reconfig(joining, leaving, new_members, from_version=from_version)
        return await self._calls.run(operation)

    # --- writing -------------------------------------------------------------------------------------------

    async def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        acl: Sequence[ACL] | None = None,
        make_parents: bool = False,
    ) -> str:
        """Make a znode.

        Args:
            path: where; with `sequential` it may end in a slash.
            data: its first data.
            ephemeral: it goes when this session ends, and can have no children.
            sequential: the server appends a number that grows (ten digits).
            container: it goes some time after its last child has gone (servers from 3.5).
            ttl: it goes when it has no children and was not changed for so many seconds (servers from 3.5
                with `extendedTypesEnabled`).
            acl: who may do what; None for the client's default.
            make_parents: make what is missing above it, persistent and empty, with the same ACL.

        Returns:
            Its path, with the number of a sequential one.

        Raises:
            NodeExistsError: there is one already.
            NoNodeError: there is no parent.
            NoChildrenForEphemeralsError: the parent is ephemeral.
            ConnectionLossError: it is unknown whether it was made.
        """
        operation = self._operations.create(
            path, data, ephemeral=ephemeral, sequential=sequential, container=container, ttl=ttl, acl=acl
        )
        return await self._create(path, operation, acl, make_parents)

    async def create_with_stat(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        acl: Sequence[ACL] | None = None,
        make_parents: bool = False,
    ) -> tuple[str, Stat]:
        """Make a znode, as `create` does, and return its path and its stat.

        On a server before 3.5 the stat comes from a second request, and is that of the moment after.
        """
        options: dict[str, Any] = {
            "ephemeral": ephemeral,
            "sequential": sequential,
            "container": container,
            "ttl": ttl,
            "acl": acl,
        }
        operation = self._operations.create_with_stat(path, data, **options)
        try:
            return await self._create(path, operation, acl, make_parents)
        except UnimplementedError:
            pass  # nothing was sent
        made = await self.create(path, data, make_parents=make_parents, **options)
        stat = await self.exists(made)
        if stat is None:
            raise NoNodeError(self._operations.full(made), detail="deleted right after it was made")
        return made, stat

    async def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Stat:
        """Replace a znode's data and return its new stat.

        Raises:
            NoNodeError: there is no znode.
            BadVersionError: it has another version.
            ConnectionLossError: it is unknown whether it was changed.
        """
        return await self._run(self._operations.set(path, data, version=version))

    async def delete(self, path: str, *, version: int | None = None, recursive: bool = False) -> None:
        """Remove a znode.

        Args:
            path: which znode.
            version: which version it must have; None for any.
            recursive: and all below it first. That is many requests and happens at no single moment: others
                see a part of the tree meanwhile, and what they make or remove in it is no error. What a
                broken connection leaves unknown is tried again. An error or a cancellation leaves what is
                not yet removed.

        Raises:
            NoNodeError: there is no znode.
            BadVersionError: it has another version.
            NotEmptyError: it has children; with `recursive`: others make new ones as fast as they go.
            ConnectionLossError: it is unknown whether it was removed; not with `recursive`.
            ValueError: `recursive` with a version or for the root, which is that of a chroot, too.
        """
        if not recursive:
            await self._run(self._operations.delete(path, version=version))
        elif version is None:
            await delete_tree(self._calls, self._operations, path)
        else:
            raise ValueError("a version guards one znode, so it cannot guard what is deleted recursively")

    async def set_acl(self, path: str, acl: Sequence[ACL], *, version: int | None = None) -> Stat:
        """Replace a znode's ACL and return its stat; `version` is that of the ACL (`Stat.aversion`).

        Raises:
            NoNodeError: there is no znode.
            BadVersionError: its ACL has another version.
            InvalidACLError: the server does not accept the ACL.
            ConnectionLossError: it is unknown whether it was changed.
        """
        return await self._run(self._operations.set_acl(path, acl, version=version))

    async def ensure_path(self, path: str, *, acl: Sequence[ACL] | None = None) -> None:
        """Make a znode and what is missing above it, persistent and empty; what is there is left alone.

        What a broken connection leaves unknown is tried again, so `ConnectionLossError` is never raised.

        Raises:
            NoAuthError: what is missing may not be made.
            NoChildrenForEphemeralsError: a znode above is ephemeral.
        """
        # by full path: a chroot that does not exist is made with it
        operations = self._operations
        entries = operations.default_acl if acl is None else acl
        await ensure_path(self._root(), operations.full(path), acl=entries)
        self._calls.found()

    @async_block("client.transaction()", "tx")
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Collect operations in the block, and apply all of them or none when it ends without an error.

        Raises:
            TransactionError: an operation failed, and none was applied; it names which one and why.
            ConnectionLossError: it is unknown whether they were applied.
        """
        transaction = Transaction(self._operations, self._engine.parking)
        try:
            yield transaction
        finally:
            transaction.close()
        await transaction.commit(self._calls)

    # --- reading -------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Node:
        """A znode's data and stat: `node.data`, `node.stat`, or `data, stat = await client.get(path)`.

        Raises:
            NoNodeError: there is no znode.
        """
        return await self._run(self._operations.get(path))

    async def exists(self, path: str) -> Stat | None:
        """A znode's stat, or None where there is none."""
        return await self._run(self._operations.exists(path))

    async def wait_for_node(self, path: str) -> Stat:
        """Wait until there is a znode, and return its stat.

        It may be gone again by then. One that comes and goes while there is no connection can be missed.
        Waiting outlives reconnects and new sessions.

        Raises:
            SessionExpiredError: the session is over, and is not renewed.
        """
        while True:
            async with self.exists_and_watch(path) as (stat, changed):
                if stat is not None:
                    return stat
                # A new session has no watch: look again. Where there is none, that raises.
                with suppress(SessionExpiredError):
                    await changed.wait()

    async def get_children(self, path: str) -> list[str]:
        """The names of a znode's children, in no order.

        Raises:
            NoNodeError: there is no znode.
        """
        return await self._run(self._operations.get_children(path))

    async def get_children_with_stat(self, path: str) -> tuple[list[str], Stat]:
        """The names of a znode's children, in no order, and its stat.

        Raises:
            NoNodeError: there is no znode.
        """
        return await self._run(self._operations.get_children_with_stat(path))

    async def get_acl(self, path: str) -> tuple[list[ACL], Stat]:
        """A znode's ACL and stat.

        Raises:
            NoNodeError: there is no znode.
        """
        return await self._run(self._operations.get_acl(path))

    @async_block("client.multi_read()", "reads")
    async def multi_read(self) -> AsyncIterator[MultiRead]:
        """Collect reads in the block, and ask for all of them in one request when it ends (servers from 3.6).

        Each result or error is in the `Pending` that each call returned; the block raises none of them.
        The reads are done one after the other by one server; that no change comes between is not promised.

        Raises:
            UnimplementedError: the server is older; nothing was sent.
        """
        reads = MultiRead(self._operations, self._engine.parking)
        try:
            yield reads
        finally:
            reads.close()
        await reads.ask(self._calls)

    async def sync(self, path: str = "/") -> None:
        """Wait until the server has caught up with its leader, so that the next read is not older than this.

        No proof that the leader still has a quorum; only a write is that.
        """
        await self._run(self._operations.sync(path))

    @async_block("client.walk(…)", "znodes")
    async def walk(self, path: str = "/", *, window: int = 100) -> AsyncIterator[Walk]:
        """Come to a znode and to every one below it: an async iterator of paths with their stats.

            async with client.walk("/app") as znodes:
                async for path, stat in znodes:
                    print(path, stat.data_length)

        One request a znode, many of them under way. In memory are the paths of the siblings of what is on the
        way. Leaving the block drops what was not sent.

        Args:
            path: where to begin.
            window: how many requests are under way at most.

        Raises:
            NoNodeError: there is no znode to begin with; raised by the iteration.
            ValueError: the window has no room.
        """
        with closing(Walk(self._calls, self._operations, check_path(path), check_window(window))) as walk:
            yield walk

    @property
    def operations(self) -> Operations:
        """The calls of this client as values, for `stream` and pipelines: `client.operations.get("/n")`."""
        return self._operations

    @async_block("client.stream(…)", "replies")
    async def stream(
        self, requests: Iterable[Operation[T]] | AsyncIterable[Operation[T]], *, window: int = 1000
    ) -> AsyncIterator[Replies[T]]:
        """Not atomic: any number of requests, of which so many are under way that memory stays flat.

        An async iterator of the replies, in the order of the requests; each is a `Pending` that is done, with
        its result or its own error:

            ops = client.operations
            async with client.stream(ops.get(path) for path in paths) as replies:
                async for reply in replies:
                    node = reply.result()

        The iterable is read as far as there is room; an async one by a task of the client's own, which closes
        it if it is a generator. Requests leave while somebody iterates, and a slow reader slows them down.
        Leaving the block drops what was not sent; what was sent and not answered may happen.

        Args:
            requests: operations, made by `operations` when their turn comes, or before.
            window: how many are under way at most. A wide one is fast, and needs the memory of its replies.

        Raises:
            ValueError: the window has no room.
        """
        if isinstance(requests, AsyncIterable):
            source = AsyncSource(requests, self._calls, window)
            with closing(source):
                async with self._calls.background(source.run):
                    yield Replies(source, self._calls)
        else:
            with closing(SyncSource(requests, self._calls, window)) as plain:
                yield Replies(plain, self._calls)

    @async_block("client.pipeline()", "pipe")
    async def pipeline(self) -> AsyncIterator[Pipeline]:
        """Not atomic: send many requests without waiting for each other, and wait once, at the end.

        Each result or error is in its place in the `Pending` that each call returned; the block raises none
        of them. Leaving the block with an exception drops what was not sent.
        """
        pipeline = Pipeline(self._operations, self._calls)
        try:
            yield pipeline
            await pipeline.wait_all()
        except BaseException:
            pipeline.drop()
            raise

    async def get_all_children_number(self, path: str) -> int:
        """How many znodes there are below one, at any depth (servers from 3.6).

        Raises:
            NoNodeError: there is no znode.
            UnimplementedError: the server is older.
        """
        return await self._calls.run(self._operations.get_all_children_number(path))

    async def get_ephemerals(self, prefix: str = "/") -> list[str]:
        """The paths of this session's ephemeral znodes, in no order (servers from 3.6).

        Args:
            prefix: what their paths begin with, to the letter: `/workers/a` also finds `/workers/ab`.

        Raises:
            UnimplementedError: the server is older.
        """
        return await self._calls.run(self._operations.get_ephemerals(prefix))

    # --- watching ------------------------------------------------------------------------------------------

    async def check_watches(self, path: str, kind: WatcherType = WatcherType.ANY) -> bool:
        """Whether the server itself says that it watches a path for this client (servers from 3.5).

        For looking into what goes on: a block that watches needs no check, and takes its watch back when it
        is left. From 3.6 to 3.8 a server says yes where any of its clients watches the path
        (`WatchManager.containsWatcher`).

        Args:
            path: which znode, whether it exists or not.
            kind: whether its children are watched, or its data and existence, or either of them.

        Raises:
            UnimplementedError: the server is older.
        """
        return await self._calls.run(self._operations.check_watches(path, kind))

    @async_block("client.watch(…)", "events")
    async def watch(self, path: str, *, recursive: bool = False) -> AsyncIterator[WatchEvents]:
        """Watch a znode, whether it exists or not, for as long as the block runs.

        The watch outlives reconnects and new sessions; after each it yields a `RESYNC` event first, because
        what happened meanwhile is not replayed. Leaving the block removes the watch.

        Args:
            path: which znode.
            recursive: it and everything below it; then changes of lists of children are not told, as the
                events of the children are.

        Raises:
            UnimplementedError: `recursive` on a server before 3.6. The iteration raises it, too, when the
                client comes to such a server from a newer one, as in an upgrade: watch again.
            NoAuthError: such a server, which must read the znode to watch it, and may not.
        """
        self._engine.check_loop()
        full_path = self._operations.full(path)
        events = WatchEvents(path, self._operations.seen)
        mode = AddWatchMode.PERSISTENT_RECURSIVE if recursive else AddWatchMode.PERSISTENT
        request: Operation[object] = Operation(AddWatchRequest(full_path, mode), _itself)
        async with AsyncExitStack() as watching:
            try:
                await watching.enter_async_context(self._watched(request, events))
            except UnimplementedError:
                if recursive:
                    raise
                events = WatchEvents(path, self._operations.seen)  # the first has ended with its request
                watching.callback(events.left)
                await watching.enter_async_context(self._rearmed(path, full_path, events))
            yield events

    @async_block("client.get_and_watch(…)", "(node, changed)")
    async def get_and_watch(self, path: str) -> AsyncIterator[tuple[Node, OneShotWatch]]:
        """A znode's data and stat, and a watch that fires once when they may have changed.

        `await changed.wait()` gives the one event. Leaving the block removes the watch.

        Raises:
            NoNodeError: there is no znode; then there is no watch either.
        """
        changed = OneShotWatch(self._operations.seen)
        async with self._watched(self._operations.get(path, watch=True), changed) as node:
            yield node, changed

    @async_block("client.exists_and_watch(…)", "(stat, changed)")
    async def exists_and_watch(self, path: str) -> AsyncIterator[tuple[Stat | None, OneShotWatch]]:
        """A znode's stat or None, and a watch that fires once when it is made, changed or removed."""
        changed = OneShotWatch(self._operations.seen)
        async with self._watched(self._operations.exists(path, watch=True), changed) as stat:
            yield stat, changed

    @async_block("client.get_children_and_watch(…)", "(children, changed)")
    async def get_children_and_watch(self, path: str) -> AsyncIterator[tuple[list[str], OneShotWatch]]:
        """The names of a znode's children, in no order, and a watch that fires once when they change.

        Raises:
            NoNodeError: there is no znode; then there is no watch either.
        """
        changed = OneShotWatch(self._operations.seen)
        async with self._watched(self._operations.get_children(path, watch=True), changed) as children:
            yield children, changed

    # --- how a call travels --------------------------------------------------------------------------------

    def _root(self) -> Client:
        """A view without the chroot."""
        return Client(self._engine, self._operations.without_chroot(), self._tasks, self._observer)

    async def _create(
        self, path: str, operation: Operation[T], acl: Sequence[ACL] | None, make_parents: bool
    ) -> T:
        while True:
            try:
                return await self._run(operation)
            except NoNodeError:
                if not make_parents:
                    raise
                await self.ensure_path(parent_of(path), acl=acl)

    @asynccontextmanager
    async def _watched(self, operation: Operation[T], watcher: WatchOwner) -> AsyncIterator[T]:
        try:
            yield await self._run(operation, watcher=watcher)
        finally:
            self._engine.unwatch(watcher)
            # One task may leave very many, one after the other: the loop must turn in between.
            await anyio.lowlevel.cancel_shielded_checkpoint()

    @asynccontextmanager
    async def _rearmed(self, path: str, full_path: str, events: WatchEvents) -> AsyncIterator[None]:
        async def read(watch: OneShotWatch) -> Stat | None:
            stat = await self._run(self._operations.exists(path, watch=True), watcher=watch)
            if stat is None:
                return None
            _, after = await self._run(
                self._operations.get_children_with_stat(path, watch=True), watcher=watch
            )
            return after

        is_set = anyio.Event()

        async def watch_on() -> None:
            await keep_watching(read, self._engine, full_path, events, is_set.set)

        async with self._calls.background(watch_on):
            await is_set.wait()
            events.check()
            yield


def check_client(client: object) -> None:
    """Return if it is a client; recipes call it on what they are given.

    Raises:
        TypeError: it is something else. It is not shown, as a connect string may hold a password.
    """
    if isinstance(client, Client):
        return
    remedy = 'open one with `async with zk.connect("host:2181") as client:`'
    raise TypeError(f"client must be a zkrecipes.Client, not {type(client).__name__}: {remedy}")


@hides_arguments
def _hosts_without_chroot(hosts: str) -> tuple[Host, ...]:
    parsed = parse_connect_string(hosts)
    if parsed.chroot:
        raise ValueError("update_hosts must be given hosts without a chroot: the client's own stays")
    return parsed.hosts


def _itself(reply: T) -> T:
    return reply

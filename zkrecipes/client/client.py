"""The client: one short method for each request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar, Unpack, final

from zkrecipes.client.async_block import async_block
from zkrecipes.client.background_tasks import ClientTasks
from zkrecipes.client.create_options import CreateOptions
from zkrecipes.client.credentials import check_credential
from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.instrument import Observer
from zkrecipes.client.multi_read import MultiRead, open_multi_read
from zkrecipes.client.operations import Operation, Operations, TreeView
from zkrecipes.client.path_creation import ensure_path
from zkrecipes.client.pipeline import Pipeline, open_pipeline
from zkrecipes.client.stats import ClientStats, stats_of
from zkrecipes.client.stream import Replies, open_stream
from zkrecipes.client.transaction import Transaction, open_transaction
from zkrecipes.client.tree_deletion import delete_tree
from zkrecipes.client.walk import Walk, open_walk
from zkrecipes.client.watch_blocks import open_one_shot_watch, open_persistent_watch
from zkrecipes.client.watching import OneShotWatch, WatchEvents
from zkrecipes.codec.records import ACL, Id, Node, Stat
from zkrecipes.codec.secret import hides_arguments
from zkrecipes.enums import SessionState, WatcherType
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
from zkrecipes.paths import check_path, parent_of

__all__ = ["Client", "check_client"]

T = TypeVar("T")


@final
class Client:
    """A client of a ZooKeeper ensemble. `connect()` creates it, and any number of tasks may use it.

    Paths are absolute, as seen under the chroot. Data is `bytes`, or None for null. A `version` guards a
    write: the server refuses it with `BadVersionError` unless the znode has that version. None means any.

    **When the connection is lost**, a request that was not yet sent waits for the next connection, a read
    that was not answered is sent again, and a write that was not answered raises `ConnectionLossError`:
    whether it was applied is unknown. While there is no connection, requests wait; `anyio.fail_after` bounds
    the wait. When the session expires, waiting writes raise `SessionExpiredError`.

    **Cancelling** a call is always safe: a request not yet sent is dropped; a request in flight completes,
    and its reply is discarded.

    Every call may raise a `ServerError` with the server's answer. For an argument that cannot be valid, it
    raises a `ValueError` or `TypeError` before anything is sent.
    """

    def __init__(
        self,
        engine: SessionEngine,
        view: TreeView,
        tasks: ClientTasks,
        observer: Observer | None = None,
    ) -> None:
        self._engine = engine
        self._view = view
        self._operations = Operations(view)
        self._tasks = tasks
        self._observer = observer
        self._calls = Dispatcher(engine, view, tasks, observer)
        self._run = self._calls.run

    if not TYPE_CHECKING:

        def __new__(cls, *parts: object, **options: object) -> Self:  # noqa: D102
            is_made_by_us = bool(parts) and isinstance(parts[0], SessionEngine)
            del parts, options  # which may hold a password
            if not is_made_by_us:
                raise TypeError(
                    "a Client must be created by connect(), not by calling Client: "
                    '`async with zk.connect("host:2181") as client:`'
                )
            return super().__new__(cls)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Client can be neither pickled nor copied, because its session belongs to this process. Open a "
            "client in each process, with connect(), and share it among the tasks of the process"
        )

    def __repr__(self) -> str:
        chroot = f" under {self._view.chroot}" if self._view.chroot else ""
        return f"<Client{chroot} {self.session!r}>"

    # --- the session ---------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The current session; after a renewal it is a new object."""
        return self._engine.session

    @property
    def state(self) -> SessionState:
        """The state of the current session."""
        return self._engine.session.state

    @async_block("client.session_changes()", "changes")
    async def session_changes(self) -> AsyncIterator[SessionChanges]:
        """Follow the client's state across sessions: an async iterator of every change from now on."""
        self._engine.check_loop()
        with self._engine.changes.follow() as changes:
            yield changes

    def stats(self) -> ClientStats:
        """Return the client's current figures: state, server, requests, bytes, watches, holds."""
        return stats_of(self._engine)

    async def add_auth(self, scheme: str, credential: str | bytes) -> None:
        """Add an identity to the session, now and on every later connection.

        Args:
            scheme: usually `digest`.
            credential: for `digest`, `user:password`; a secret, which no message shows.

        Raises:
            AuthFailedError: the server refused the credential, which ends the client.
            TypeError: the credential is neither a string nor bytes.
            ValueError: the credential cannot be encoded, or a `digest` credential has no colon.
        """
        try:
            self._engine.check_loop()
            self._engine.authenticate(*check_credential(scheme, credential))
        finally:
            del scheme, credential  # which some tracebacks would show
        # The server answers in order and closes the connection if it refuses, so any later answer is a yes.
        with suppress(ServerError):
            await self._run(self._operations.exists("/"))

    def update_hosts(self, hosts: str, *, rebalance: bool = False) -> None:
        """Use other hosts from the next connection on; the current connection stays.

        Args:
            hosts: a connect string without a chroot.
            rebalance: decide at random whether this client moves to one of the new hosts. If all clients do
                this, those that were evenly spread before stay evenly spread. A client whose server is no
                longer in the list moves. Requests that were sent are answered first; none is lost.

        Raises:
            ValueError: `hosts` is not a valid connect string, or has a chroot.
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
        """Return a view of the tree under `path`, with the same session; the znode need not exist yet."""
        check_path(path)
        if path == "/":
            return self
        return Client(self._engine, self._view.under(path), self._tasks, self._observer)

    async def whoami(self) -> list[Id]:
        """List the identities of this session: its address, and those of `add_auth` (servers from 3.7).

        The `id` of a `digest` is the user's name alone; `digest_id` makes the id that an ACL contains.

        Raises:
            UnimplementedError: the server is too old.
        """
        return await self._run(self._operations.whoami())

    # --- the ensemble --------------------------------------------------------------------------------------

    async def get_config(self) -> Node:
        """Read the members of the ensemble (servers from 3.5).

        The data is text: one line `server.N=…` for each member, then `version=` and a hexadecimal number. It
        is the data of `/zookeeper/config`, whatever the chroot, and empty for a standalone server.

        Raises:
            UnimplementedError: the server is too old.
        """
        return await self._run(self._operations.get_config())

    async def four_letter_word(self, word: str) -> str:
        """Send a four-letter word to the server that this client is attached to, and return the answer.

        A server that does not answer the word (`4lw.commands.whitelist`) says so.

        Args:
            word: `srvr`, `mntr`, `ruok` …

        Raises:
            ValueError: the word does not consist of four lower-case letters.
            ConnectionLossError: the server did not answer.
        """
        if not re.fullmatch("[a-z]{4}", str(word)):
            raise ValueError(f"word must be four lower-case letters, not {word!r}")
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
            new_members: all servers from now on, instead of `joining` and `leaving`.
            from_version: change nothing unless the configuration has this version (the `version=` that
                `get_config` shows, as an int); None means any.

        Raises:
            ValueError: no change is given, or `new_members` together with one of the others.
            ReconfigDisabledError: the servers do not allow it (`reconfigEnabled`).
            NoAuthError: this session may not write to `/zookeeper/config`.
            BadVersionError: the configuration has another version.
            BadArgumentsError: the servers cannot be changed in this way.
            NewConfigNoQuorumError: too few of the new members are running and up to date.
            ReconfigInProgressError: another change is in progress.
            ConnectionLossError: it is unknown whether the change was applied. This happens if the leader
                leaves the ensemble, or the server that this client is connected to.
            UnimplementedError: the server is too old, or standalone.
        """
        operation = self._operations.reconfig(joining, leaving, new_members, from_version=from_version)
        return await self._run(operation)

    # --- writing -------------------------------------------------------------------------------------------

    async def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        make_parents: bool = False,
        **options: Unpack[CreateOptions],
    ) -> str:
        """Create a znode, and return its path, which has the number of a sequential znode.

        Args:
            path: the path; with `sequential` it may end in a slash.
            data: the znode's first data.
            make_parents: create the missing znodes above it, persistent and empty, with the same ACL.
            options: `ephemeral`, `sequential`, `container`, `ttl` and `acl`, as `CreateOptions` describes
                them.

        Raises:
            NodeExistsError: the znode exists already.
            NoNodeError: its parent does not exist.
            NoChildrenForEphemeralsError: its parent is ephemeral.
            ConnectionLossError: it is unknown whether the znode was created.
        """
        operation = self._operations.create(path, data, **options)
        return await self._create(path, operation, options.get("acl"), make_parents)

    async def create_with_stat(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        make_parents: bool = False,
        **options: Unpack[CreateOptions],
    ) -> tuple[str, Stat]:
        """Create a znode, as `create` does, and return its path and its stat.

        On a server before 3.5, the stat is that of a second request, right after the first.
        """
        operation = self._operations.create_with_stat(path, data, **options)
        try:
            return await self._create(path, operation, options.get("acl"), make_parents)
        except UnimplementedError:
            pass  # nothing was sent
        created = await self.create(path, data, make_parents=make_parents, **options)
        stat = await self.exists(created)
        if stat is None:
            raise NoNodeError(self._view.full(created), detail="deleted right after it was created")
        return created, stat

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

    async def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Stat:
        """Replace a znode's data, and return its new stat.

        Raises:
            NoNodeError: the znode does not exist.
            BadVersionError: the znode has another version.
            ConnectionLossError: it is unknown whether the data was replaced.
        """
        return await self._run(self._operations.set(path, data, version=version))

    async def delete(self, path: str, *, version: int | None = None, recursive: bool = False) -> None:
        """Delete a znode.

        Args:
            path: the path.
            version: the version that the znode must have; None for any.
            recursive: delete all znodes below it first. This takes many requests and is not atomic: others
                see a part of the tree during the deletion, and znodes that they create or delete in it cause
                no error. A request whose outcome a broken connection leaves unknown is repeated. An error or
                a cancellation leaves the znodes that are not yet deleted.

        Raises:
            NoNodeError: the znode does not exist.
            BadVersionError: the znode has another version.
            NotEmptyError: the znode has children. With `recursive`, other clients create children as fast as
                they are deleted.
            ConnectionLossError: it is unknown whether the znode was deleted; never with `recursive`.
            ValueError: `recursive` with a version, or for the root, even the root of a chroot.
        """
        if not recursive:
            await self._run(self._operations.delete(path, version=version))
        elif version is None:
            await delete_tree(self._calls, path)
        else:
            raise ValueError("version must be None with recursive=True: a version guards only one znode")

    async def set_acl(self, path: str, acl: Sequence[ACL], *, version: int | None = None) -> Stat:
        """Replace a znode's ACL, and return its stat; `version` is that of the ACL (`Stat.aversion`).

        Raises:
            NoNodeError: the znode does not exist.
            BadVersionError: the znode's ACL has another version.
            InvalidACLError: the server does not accept the ACL.
            ConnectionLossError: it is unknown whether the ACL was replaced.
        """
        return await self._run(self._operations.set_acl(path, acl, version=version))

    async def ensure_path(self, path: str, *, acl: Sequence[ACL] | None = None) -> None:
        """Create a znode and the missing znodes above it, persistent and empty; existing ones do not change.

        A request whose outcome a broken connection leaves unknown is repeated, so this never raises
        `ConnectionLossError`.

        Raises:
            NoAuthError: this session may not create a missing znode.
            NoChildrenForEphemeralsError: a znode above is ephemeral.
        """
        # By full path: this also creates a missing chroot.
        view = self._view
        entries = view.default_acl if acl is None else acl
        whole = Client(self._engine, view.without_chroot(), self._tasks, self._observer)
        await ensure_path(whole, view.full(path), acl=entries)
        self._calls.note_chroot()

    @async_block("client.transaction()", "tx")
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Collect operations in the block, and apply all of them or none when it ends without an error.

        Raises:
            TransactionError: an operation failed, and none was applied; the error names the operation and its
                cause.
            ConnectionLossError: it is unknown whether the operations were applied.
        """
        async with open_transaction(self._operations, self._calls) as transaction:
            yield transaction

    # --- reading -------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Node:
        """Read a znode's data and stat: `node.data`, `node.stat`, or `data, stat = await client.get(path)`.

        Raises:
            NoNodeError: the znode does not exist.
        """
        return await self._run(self._operations.get(path))

    async def exists(self, path: str) -> Stat | None:
        """Read a znode's stat; None if it does not exist."""
        return await self._run(self._operations.exists(path))

    async def wait_for_node(self, path: str) -> Stat:
        """Wait until a znode exists, and return its stat.

        The znode may be deleted again by then. A znode that is created and deleted while there is no
        connection can be missed. The wait outlives reconnects and new sessions.

        Raises:
            SessionExpiredError: the session is over, and is not renewed.
        """
        while True:
            async with self.exists_and_watch(path) as (stat, changed):
                if stat is not None:
                    return stat
                # A new session has no watch, so read again. If the client has ended, the read raises.
                with suppress(SessionExpiredError):
                    await changed.wait()

    async def get_children(self, path: str) -> list[str]:
        """List the names of a znode's children, in no particular order.

        Raises:
            NoNodeError: the znode does not exist.
        """
        return await self._run(self._operations.get_children(path))

    async def get_children_with_stat(self, path: str) -> tuple[list[str], Stat]:
        """List the names of a znode's children, in no particular order, and read its stat.

        Raises:
            NoNodeError: the znode does not exist.
        """
        return await self._run(self._operations.get_children_with_stat(path))

    async def get_acl(self, path: str) -> tuple[list[ACL], Stat]:
        """Read a znode's ACL and stat.

        Raises:
            NoNodeError: the znode does not exist.
        """
        return await self._run(self._operations.get_acl(path))

    @async_block("client.multi_read()", "reads")
    async def multi_read(self) -> AsyncIterator[MultiRead]:
        """Collect reads in the block, and send them in one request when it ends (servers from 3.6).

        The `Pending` that each call returned holds its result or its error; the block raises none of these
        errors. One server executes the reads in order; other changes may be applied between them.

        Raises:
            UnimplementedError: the server is too old; nothing was sent.
        """
        async with open_multi_read(self._operations, self._calls) as reads:
            yield reads

    async def sync(self, path: str = "/") -> None:
        """Wait until the server has caught up with its leader, so that the next read is not older than this.

        It does not prove that the leader still has a quorum; only a write proves that.
        """
        await self._run(self._operations.sync(path))

    @async_block("client.walk(…)", "znodes")
    async def walk(self, path: str = "/", *, window: int = 100) -> AsyncIterator[Walk]:
        """Visit a znode and every znode below it: an async iterator of paths with their stats.

            async with client.walk("/app") as znodes:
                async for path, stat in znodes:
                    print(path, stat.data_length)

        Each znode takes one request; many requests are in flight. Memory holds the paths of the siblings of
        the current znode and of each znode above it. Leaving the block drops the requests that were not sent.

        Args:
            path: the znode to start at.
            window: the maximum number of requests in flight.

        Raises:
            NoNodeError: the first znode does not exist; raised by the iteration.
            ValueError: `window` is less than 1.
        """
        async with open_walk(self._calls, path, window=window) as walk:
            yield walk

    @property
    def operations(self) -> Operations:
        """The calls of this client as values, for `stream` and pipelines: `client.operations.get("/n")`."""
        return self._operations

    @async_block("client.stream(…)", "replies")
    async def stream(
        self, requests: Iterable[Operation[T]] | AsyncIterable[Operation[T]], *, window: int = 1000
    ) -> AsyncIterator[Replies[T]]:
        """Send any number of requests, not atomically: a bounded number at a time, so that memory stays flat.

        The block yields an async iterator of the replies, in the order of the requests. Each reply is a
        `Pending` that is done, with its result or its error:

            ops = client.operations
            async with client.stream(ops.get(path) for path in paths) as replies:
                async for reply in replies:
                    node = reply.result()

        The client reads the iterable as far as the window has room. A task of the client reads an async
        iterable, and closes it if it is a generator. Requests leave while the caller iterates, so a slow
        reader slows them down. Leaving the block drops the requests that were not sent; those that were sent
        and not answered may still be applied.

        Args:
            requests: operations that `operations` makes, one by one or in advance.
            window: the maximum number in flight. A wide window is fast, and needs the memory of its replies.

        Raises:
            ValueError: `window` is less than 1.
        """
        async with open_stream(requests, self._calls, window=window) as replies:
            yield replies

    @async_block("client.pipeline()", "pipe")
    async def pipeline(self) -> AsyncIterator[Pipeline]:
        """Send many requests without waiting for each other, and wait once, at the end; this is not atomic.

        The `Pending` that each call returned holds its result or its error; the block raises none of these
        errors. Leaving the block with an exception drops the requests that were not sent.
        """
        async with open_pipeline(self._operations, self._calls) as pipeline:
            yield pipeline

    async def get_all_children_number(self, path: str) -> int:
        """Count the znodes below a znode, at any depth (servers from 3.6).

        Raises:
            NoNodeError: the znode does not exist.
            UnimplementedError: the server is too old.
        """
        return await self._run(self._operations.get_all_children_number(path))

    async def get_ephemerals(self, prefix: str = "/") -> list[str]:
        """List the paths of this session's ephemeral znodes, in no particular order (servers from 3.6).

        Args:
            prefix: the first characters of the paths: `/workers/a` also finds `/workers/ab`.

        Raises:
            UnimplementedError: the server is too old.
        """
        return await self._run(self._operations.get_ephemerals(prefix))

    # --- watching ------------------------------------------------------------------------------------------

    async def check_watches(self, path: str, kind: WatcherType = WatcherType.ANY) -> bool:
        """Ask the server whether it watches a path for this client (servers from 3.5).

        This is for diagnosis: a block that watches needs no check, and leaving it removes its watch. From 3.6
        to 3.8, a server says yes if any of its clients watches the path (`WatchManager.containsWatcher`).

        Args:
            path: the path of the znode, whether it exists or not.
            kind: a watch of its children, of its data and existence, or either.

        Raises:
            UnimplementedError: the server is too old.
        """
        return await self._run(self._operations.check_watches(path, kind))

    @async_block("client.watch(…)", "events")
    async def watch(self, path: str, *, recursive: bool = False) -> AsyncIterator[WatchEvents]:
        """Watch a znode, whether it exists or not, until the block ends.

        The watch outlives reconnects and new sessions. After each of them it yields a `RESYNC` event first,
        because the server does not replay the changes that the client missed. Leaving the block removes the
        watch.

        Args:
            path: the path of the znode.
            recursive: watch the znode and everything below it. Changes of lists of children are then not
                reported, because the events of the children are.

        Raises:
            UnimplementedError: `recursive` on a server before 3.6. The iteration raises it if the client
                moves to such a server from a newer one, as in an upgrade: watch again.
            NoAuthError: on a server before 3.6, the client must read the znode to watch it, and may not.
        """
        self._engine.check_loop()
        async with open_persistent_watch(self._calls, self._operations, path, recursive=recursive) as events:
            yield events

    @async_block("client.get_and_watch(…)", "(node, changed)")
    async def get_and_watch(self, path: str) -> AsyncIterator[tuple[Node, OneShotWatch]]:
        """Read a znode's data and stat, and set a watch that fires once when they may have changed.

        `await changed.wait()` returns the one event. Leaving the block removes the watch.

        Raises:
            NoNodeError: the znode does not exist; then no watch is set.
        """
        read = self._operations.get(path, watch=True)
        async with open_one_shot_watch(self._calls, read) as pair:
            yield pair

    @async_block("client.exists_and_watch(…)", "(stat, changed)")
    async def exists_and_watch(self, path: str) -> AsyncIterator[tuple[Stat | None, OneShotWatch]]:
        """Read a znode's stat or None, and set a watch that fires once: on creation, change or deletion."""
        read = self._operations.exists(path, watch=True)
        async with open_one_shot_watch(self._calls, read) as pair:
            yield pair

    @async_block("client.get_children_and_watch(…)", "(children, changed)")
    async def get_children_and_watch(self, path: str) -> AsyncIterator[tuple[list[str], OneShotWatch]]:
        """List a znode's children, in no particular order, and set a watch that fires once when they change.

        Raises:
            NoNodeError: the znode does not exist; then no watch is set.
        """
        read = self._operations.get_children(path, watch=True)
        async with open_one_shot_watch(self._calls, read) as pair:
            yield pair


def check_client(client: object) -> None:
    """Check that `client` is a `Client`. Recipes call this on their first argument.

    Raises:
        TypeError: `client` is not a `Client`. The message does not show the value, because a connect string
            may hold a password.
    """
    if isinstance(client, Client):
        return
    remedy = 'open one with `async with zk.connect("host:2181") as client:`'
    raise TypeError(f"client must be a zkrecipes.Client, not {type(client).__name__}: {remedy}")


@hides_arguments
def _hosts_without_chroot(hosts: str) -> tuple[Host, ...]:
    parsed = parse_connect_string(hosts)
    if parsed.chroot:
        raise ValueError("hosts must be given without a chroot in update_hosts: the client keeps its own")
    return parsed.hosts

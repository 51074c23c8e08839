"""A client of three real servers that are killed, stopped and restarted loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.apache.members import drop_connection, follower_of, member_of
from tests.apache.server_versions import since
from tests.apache.waiting import until
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer
from zkrecipes.enums import ServerVersion
from zkrecipes.protocol.send_window import FIRST_SIZE

pytestmark = pytest.mark.anyio

# This is long enough for an election on a busy machine.
SESSION_TIMEOUT = 12.0


class Ledger:
    """One client's writes to its own znode, and the checks of every client's reads.

    Each write carries the previous number plus one, guarded by its version, so that a lost or doubled write
    shows. A read after a sync settles a write of unknown outcome.
    """

    def __init__(self, client: zk.Client, path: str) -> None:
        self.client = client
        self.path = path
        self.written = 0
        self.losses = 0
        self._seen: dict[str, int] = {}

    async def write(self) -> None:
        number = self.written + 1
        try:
            stat = await self.client.set(self.path, b"%d" % number, version=self.written)
            assert stat.version == number
        except zk.ConnectionLossError:
            self.losses += 1
            # The session has moved since, and the leader refuses requests from its old server, so after the
            # sync the write has been applied or never will be.
            await self.client.sync(self.path)
            data, stat = await self.client.get(self.path)
            assert (data, stat.version) in {(b"%d" % self.written, self.written), (b"%d" % number, number)}
            self.written = stat.version
            return
        self.written = number
        await self.read(self.path, at_least=number)

    async def read(self, path: str, *, at_least: int = 0) -> None:
        data, stat = await self.client.get(path)
        assert data == b"%d" % stat.version
        assert stat.version >= max(at_least, self._seen.get(path, 0)), "a client never reads an older version"
        self._seen[path] = stat.version


@asynccontextmanager
async def busy_clients(ensemble: ApacheEnsemble, path: str, count: int) -> AsyncIterator[list[Ledger]]:
    """Run clients that write, read and check continuously while the block runs."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                zk.connect(ensemble.connect_string, session_timeout=SESSION_TIMEOUT)
            )
            for _ in range(count)
        ]
        ledgers = [Ledger(client, f"{path}/{number}") for number, client in enumerate(clients)]
        for ledger in ledgers:
            await ledger.client.create(ledger.path, b"0", make_parents=True)
        async with anyio.create_task_group() as tasks:
            done = anyio.Event()

            async def work(ledger: Ledger) -> None:
                while not done.is_set():
                    await ledger.write()
                    for other in ledgers:
                        await ledger.read(other.path)
                    await anyio.sleep(0.005)

            for ledger in ledgers:
                tasks.start_soon(work, ledger)
            yield ledgers
            done.set()
        for ledger in ledgers:
            for other in ledgers:
                await ledger.client.sync()
                assert (await ledger.client.get(other.path)).data == b"%d" % other.written


async def until_written(ledgers: list[Ledger], more: int) -> None:
    """Wait until each client has written this many more times."""
    goals = [ledger.written + more for ledger in ledgers]

    async def have_written() -> bool:
        return all(ledger.written >= goal for ledger, goal in zip(ledgers, goals, strict=True))

    await until(have_written, within=40)


Harm = Callable[[ApacheServer], None]


@pytest.mark.parametrize("harm", [ApacheServer.kill, ApacheServer.pause])
async def test_a_session_outlives_its_server(
    apache_ensemble: ApacheEnsemble, fresh_path: str, harm: Harm
) -> None:
    async with zk.connect(apache_ensemble.connect_string, session_timeout=6) as client:
        session = client.session
        await client.create(fresh_path, b"0")
        await client.create(f"{fresh_path}/e", ephemeral=True)
        async with (
            client.session_changes() as changes,
            client.watch(fresh_path) as events,
            client.get_and_watch(fresh_path) as (_, changed),
        ):
            first = await follower_of(apache_ensemble, client)
            harm(first)
            with anyio.fail_after(30):
                assert (await anext(changes)).state is zk.SessionState.SUSPENDED
                # a read waits, and is sent to another server
                assert (await client.get(fresh_path)).data == b"0"
                assert (await anext(changes)).state is zk.SessionState.CONNECTED
                assert (await anext(events)).type is zk.EventType.RESYNC
                assert await member_of(apache_ensemble, client) is not first
                await client.set(fresh_path, b"1")
                assert (await anext(events)).type is zk.EventType.DATA_CHANGED
                assert (await changed.wait()).type is zk.EventType.DATA_CHANGED
        assert client.session is session
        assert await client.get_children(fresh_path) == ["e"]


async def test_requests_in_flight_when_a_server_dies_are_settled(
    apache_ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    async with zk.connect(apache_ensemble.connect_string, session_timeout=SESSION_TIMEOUT) as client:
        await client.create(fresh_path, b"0")
        member = await follower_of(apache_ensemble, client)
        member.pause()  # requests sent now are not answered
        async with client.pipeline() as pipe:
            reads = [pipe.get(fresh_path) for _ in range(10)]
            write = pipe.set(fresh_path, b"1")
            creations = [pipe.create(f"{fresh_path}/{number}") for number in range(10)]
            last = pipe.get_children(fresh_path)
            await anyio.sleep(0.2)
            member.kill()
        assert all(read.error is None for read in reads)
        assert isinstance(write.error, zk.ConnectionLossError)
        assert write.error.path == fresh_path
        # Only the requests that were in the window are in doubt; the others were sent to the next server.
        lost = [creation.error is not None for creation in creations]
        assert lost == sorted(lost, reverse=True)
        assert 0 < sum(lost) < FIRST_SIZE
        for creation in creations:
            assert creation.error is None or isinstance(creation.error, zk.ConnectionLossError)
        assert last.error is None
        await client.sync()
        # The requests in doubt were lost, because the server never read them; a client cannot know that.
        made = {str(number) for number, is_lost in enumerate(lost) if not is_lost}
        assert set(await client.get_children(fresh_path)) == made


async def test_nothing_goes_back_when_the_leader_dies(
    apache_ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    async with busy_clients(apache_ensemble, fresh_path, 4) as ledgers:
        sessions = [ledger.client.session for ledger in ledgers]
        await until_written(ledgers, 5)
        leader = await apache_ensemble.leader()
        leader.kill()
        await until_written(ledgers, 5)
        await apache_ensemble.heal()
        await until_written(ledgers, 5)
        assert [ledger.client.session for ledger in ledgers] == sessions, "every session is kept"


@since(ServerVersion.V3_6, "a recursive watch")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # it takes long
async def test_nothing_is_lost_when_all_are_restarted_one_by_one(
    apache_ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    async with (
        busy_clients(apache_ensemble, fresh_path, 2) as ledgers,
        zk.connect(apache_ensemble.connect_string, session_timeout=SESSION_TIMEOUT) as client,
        client.watch(fresh_path, recursive=True) as events,
    ):
        session = client.session
        await client.create(f"{fresh_path}/mine", ephemeral=True)
        newest: dict[str, int] = {}

        async def follow() -> None:
            async for event in events:
                paths = (
                    [ledger.path for ledger in ledgers] if event.type is zk.EventType.RESYNC else [event.path]
                )
                for path in paths:
                    stat = await client.exists(path)
                    assert stat is not None
                    assert stat.version >= newest.get(path, 0)
                    newest[path] = stat.version

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            for member in apache_ensemble.members:
                await member.stop()
                await member.start()
                await apache_ensemble.start()  # waits until all members follow one leader again
                await until_written(ledgers, 3)
            # the watch finally reports everything that was written
            final = f"{fresh_path}/{len(ledgers)}"
            await client.create(final)

            async def has_reported() -> bool:
                return final in newest

            await until(has_reported)
            known = dict(newest)
            tasks.cancel_scope.cancel()
        assert client.session is session, "the session is kept during all restarts"
        assert await client.exists(f"{fresh_path}/mine") is not None
        for ledger in ledgers:
            assert known[ledger.path] > 0


async def test_after_a_sync_a_read_is_not_older(apache_ensemble: ApacheEnsemble, fresh_path: str) -> None:
    one, other, _ = apache_ensemble.members
    async with zk.connect(one.connect_string) as writer, zk.connect(other.connect_string) as reader:
        await writer.create(fresh_path, b"0")
        for number in range(1, 101):
            await writer.set(fresh_path, b"%d" % number)
            await reader.sync(fresh_path)
            assert (await reader.get(fresh_path)).data == b"%d" % number


async def test_a_server_that_is_behind_the_client_shows_it_nothing_old(
    apache_ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    lagging = (await apache_ensemble.followers())[0]
    others = ",".join(each.connect_string for each in apache_ensemble.members if each is not lagging)
    async with zk.connect(others, session_timeout=SESSION_TIMEOUT) as client:
        session = client.session
        await client.create(fresh_path, b"0")
        lagging.pause()
        for number in range(1, 51):
            await client.set(fresh_path, b"%d" % number)
        client.update_hosts(lagging.connect_string)
        with anyio.move_on_after(0.2):
            await drop_connection(client)  # and finds no other server
        lagging.resume()
        with anyio.fail_after(30):
            node = await client.get(fresh_path)
        assert node.data == b"50"
        assert client.session is session
        assert await member_of(apache_ensemble, client) is lagging

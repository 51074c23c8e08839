"""Mistakes that every user makes once: each message names the mistake and the remedy."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import World, virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

ENTER_CONNECT = "`async with zk.connect("
ENTER_SERVER = "`async with zk.DevServer() as server:`"
ENTRY = zk.ACL(zk.Perms.READ, zk.Id("world", "anyone"))

Doing = Callable[[World, zk.Client], Awaitable[object] | object]


@dataclass(frozen=True)
class Mistake:
    """A mistake, and the error that it must raise."""

    name: str
    do: Doing
    error: type[Exception]
    says: Sequence[str]


async def _in_a_transaction(_: World, client: zk.Client) -> None:
    async with client.transaction() as tx:
        tx.create("/a/b")


async def _change_in_a_transaction(_: World, client: zk.Client) -> None:
    await client.create("/n")
    async with client.transaction() as tx:
        tx.set("/n", b"", version=7)


async def _in_a_pipeline(_: World, client: zk.Client) -> None:
    async with client.pipeline() as pipe:
        made = pipe.create("/a/b")
    made.result()


async def _wrong_version(client: zk.Client, change: Callable[[], Awaitable[object]]) -> None:
    await client.create("/n")
    await change()


async def _iterate(events: Any) -> None:
    async for _ in events:
        pass


async def _enter_async(recipe: Any) -> None:
    async with recipe:
        pass


async def _wait_for(awaitable: Any) -> None:
    await awaitable


def _enter(block: Any) -> None:
    with block:
        pass


async def _await_in_a_transaction(client: zk.Client) -> None:
    async with client.transaction() as tx:
        await _wait_for(tx.create("/n"))


def _recipe(name: str, make: Callable[[Any], object]) -> Mistake:
    says = ("client must be a zkrecipes.Client, not str", ENTER_CONNECT)
    return Mistake(f"{name} of a connect string", lambda _, __: make("h:2181"), TypeError, says)


def _one_acl(name: str, make: Callable[[zk.Client, Any], object]) -> Mistake:
    says = ("a list of ACL entries, not one entry", "write [ACL(perms=")
    return Mistake(f"one ACL of a {name}", lambda _, client: make(client, ENTRY), TypeError, says)


def _kazoos_limit(name: str, make: Callable[[zk.Client], Any]) -> Mistake:
    def wait(_: World, client: zk.Client) -> None:
        for given, named in (([3], {}), ([], {"blocking": False}), ([], {"timeout": 3})):
            with pytest.raises(TypeError, match=f"{name} takes keyword arguments only; pass the limit"):
                make(client)(*given, **named)
        make(client)(blocking=False)

    says = ("wait=0 is one try (kazoo's blocking=False)", "3 seconds at most (kazoo's timeout=3)")
    return Mistake(f"kazoo's limit of {name}", wait, TypeError, says)


WAITING: dict[str, Callable[[zk.Client], Any]] = {
    "Mutex.acquire": lambda client: zk.Mutex(client, "/lock").acquire,
    "Semaphore.acquire": lambda client: zk.Semaphore(client, "/permits", limit=3).acquire,
    "MultiLock.acquire": lambda client: zk.MultiLock([zk.Mutex(client, "/lock")]).acquire,
    "ReadWriteLock.read": lambda client: zk.ReadWriteLock(client, "/lock").read,
    "ReadWriteLock.write": lambda client: zk.ReadWriteLock(client, "/lock").write,
    "Election.lead": lambda client: zk.Election(client, "/leader").lead,
}


def _unentered(name: str, use: Callable[[Any], object]) -> Mistake:
    says = ("the DevServer must be entered first", ENTER_SERVER)
    return Mistake(f"{name} of a server not entered", lambda _, __: use(zk.DevServer()), RuntimeError, says)


def _elsewhere(name: str, here: str) -> Mistake:
    says = (f"has no attribute {name!r}", f"its counterpart is zkrecipes.{here}")
    return Mistake(f"zk.{name}", lambda _, __: getattr(zk, name), AttributeError, says)


NO_PARENT = ("no such znode: /a/b", "its parent /a does not exist", "make_parents=True")
NEEDS_BYTES = "a znode's data must be bytes or None, not"

MISTAKES = [
    Mistake("no parent", lambda _, client: client.create("/a/b"), zk.NoNodeError, NO_PARENT),
    Mistake(
        "no parent, with stat", lambda _, client: client.create_with_stat("/a/b"), zk.NoNodeError, NO_PARENT
    ),
    Mistake("no parent in a transaction", _in_a_transaction, zk.TransactionError, NO_PARENT),
    Mistake("no parent in a pipeline", _in_a_pipeline, zk.NoNodeError, NO_PARENT),
    Mistake(
        "another version",
        lambda _, client: _wrong_version(client, lambda: client.set("/n", b"", version=7)),
        zk.BadVersionError,
        ("the znode has another version than the expected 7: /n",),
    ),
    Mistake(
        "another version deleted",
        lambda _, client: _wrong_version(client, lambda: client.delete("/n", version=8)),
        zk.BadVersionError,
        ("another version than the expected 8",),
    ),
    Mistake(
        "another version of an ACL",
        lambda _, client: _wrong_version(client, lambda: client.set_acl("/n", zk.OPEN_ACL, version=9)),
        zk.BadVersionError,
        ("another version than the expected 9",),
    ),
    Mistake(
        "another version in a transaction",
        _change_in_a_transaction,
        zk.TransactionError,
        ("operation 1 of 1", "another version than the expected 7: /n"),
    ),
    # --- `async with` forgotten
    Mistake(
        "connect used",
        lambda _, __: zk.connect("h").get("/"),  # type: ignore[attr-defined]
        AttributeError,
        ("zk.connect(…) must be entered before .get can be used", ENTER_CONNECT, "as client:`"),
    ),
    Mistake(
        "connect awaited",
        lambda _, __: _wait_for(zk.connect("h")),
        TypeError,
        ("zk.connect(…) must be entered with `async with`, not awaited", ENTER_CONNECT),
    ),
    Mistake(
        "connect entered with with",
        lambda _, __: _enter(zk.connect("h")),
        TypeError,
        ("entered with `async with`, not `with`", ENTER_CONNECT),
    ),
    Mistake(
        "call of a transaction awaited",
        lambda _, client: _await_in_a_transaction(client),
        TypeError,
        ("must not be awaited", "read its result() after the block"),
    ),
    Mistake(
        "config watch read",
        lambda _, client: zk.ConfigWatch(client, "/n").value,
        RuntimeError,
        ("<ConfigWatch /n> must be entered before it is read", "`async with zk.ConfigWatch(…) as config:`"),
    ),
    Mistake(
        "watch iterated over",
        lambda _, client: _iterate(client.watch("/")),
        TypeError,
        ("client.watch(…) must be entered before it is iterated over", "`async with client.watch(…) as"),
    ),
    Mistake(
        "walk iterated over",
        lambda _, client: _iterate(client.walk("/")),
        TypeError,
        ("client.walk(…) must be entered", "`async with client.walk(…) as znodes:`"),
    ),
    Mistake(
        "transaction used",
        lambda _, client: client.transaction().create("/n"),  # type: ignore[attr-defined]
        AttributeError,
        ("client.transaction() must be entered", "`async with client.transaction() as tx:`"),
    ),
    Mistake(
        "pipeline awaited",
        lambda _, client: _wait_for(client.pipeline()),
        TypeError,
        ("client.pipeline() must be entered", "`async with client.pipeline() as pipe:`"),
    ),
    Mistake(
        "acquire awaited",
        lambda _, client: _wait_for(zk.Mutex(client, "/lock").acquire()),
        TypeError,
        ("must be entered, not awaited", "`async with"),
    ),
    Mistake(
        "a mutex awaited",
        lambda _, client: _wait_for(zk.Mutex(client, "/lock")),
        TypeError,
        ("<Mutex /lock", "must be entered, not awaited: `async with … as hold:`"),
    ),
    Mistake(
        "join awaited",
        lambda _, client: _wait_for(zk.Group(client, "/group").join("a")),
        TypeError,
        ("<PersistentNode /group/a> must be entered, not awaited: `async with … as member:`",),
    ),
    Mistake(
        "an election entered",
        lambda _, client: _enter_async(zk.Election(client, "/leader")),
        TypeError,
        ("<Election /leader", "use `async with election.lead()`"),
    ),
    Mistake(
        "a read-write lock entered",
        lambda _, client: _enter_async(zk.ReadWriteLock(client, "/lock")),
        TypeError,
        ("<ReadWriteLock /lock", "use `async with lock.read()` or `async with lock.write()`"),
    ),
    # --- names and habits of other libraries
    Mistake(
        "Client of a connect string",
        lambda _, __: zk.Client("h:2181", session_timeout=10.0),  # type: ignore[call-arg, arg-type]
        TypeError,
        ("a Client must be created by connect()", ENTER_CONNECT),
    ),
    Mistake("Client of nothing", lambda _, __: zk.Client(), TypeError, ("created by connect()",)),  # type: ignore[call-arg]
    _recipe("Mutex", lambda hosts: zk.Mutex(hosts, "/lock")),
    _recipe("ReadWriteLock", lambda hosts: zk.ReadWriteLock(hosts, "/lock")),
    _recipe("Semaphore", lambda hosts: zk.Semaphore(hosts, "/permits", limit=3)),
    _recipe("Election", lambda hosts: zk.Election(hosts, "/leader")),
    _recipe("Group", lambda hosts: zk.Group(hosts, "/group")),
    _recipe("Barrier", lambda hosts: zk.Barrier(hosts, "/gate")),
    _recipe("DoubleBarrier", lambda hosts: zk.DoubleBarrier(hosts, "/start", parties=2)),
    _recipe("ConfigWatch", lambda hosts: zk.ConfigWatch(hosts, "/config")),
    _recipe("ConfigTree", lambda hosts: zk.ConfigTree(hosts, "/config")),
    _recipe("PersistentNode", lambda hosts: zk.PersistentNode(hosts, "/node")),
    _recipe("TypedClient", lambda hosts: zk.TypedClient(hosts, decode=int, encode=str)),
    Mistake(
        "a recipe of what connect returns",
        lambda _, __: zk.Mutex(zk.connect("h"), "/lock"),  # type: ignore[arg-type]
        TypeError,
        ("client must be a zkrecipes.Client, not AsyncBlock", ENTER_CONNECT),
    ),
    _elsewhere("Lock", "Mutex"),
    _elsewhere("DataWatch", "ConfigWatch, or Client.watch"),
    _elsewhere("ChildrenWatch", "Group (its changes), or Client.watch"),
    _elsewhere("Party", "Group"),
    _elsewhere("KazooClient", "connect"),
    _elsewhere("LeaderLatch", "Election"),
    *(_kazoos_limit(name, make) for name, make in WAITING.items()),
    Mistake(
        "a function that is not async to lead",
        lambda _, client: zk.Election(client, "/leader").run(lambda _: None),  # type: ignore[arg-type, return-value]
        TypeError,
        ("func must be an async function of the leadership, not <function",),
    ),
    # --- arguments
    Mistake(
        "a Stat as version",
        lambda _, client: client.set("/", b"", version=zk.Stat(*range(11))),  # type: ignore[arg-type]
        TypeError,
        ("version must be an int or None, not a Stat; write stat.version",),
    ),
    Mistake(
        "an Id as ACL",
        lambda _, client: client.create("/n", acl=zk.ANYONE_ID),  # type: ignore[arg-type]
        TypeError,
        ("not an Id: write [ACL(Perms.ALL, Id(scheme='world', id='anyone'))]",),
    ),
    Mistake(
        "one ACL",
        lambda _, client: client.create("/n", acl=ENTRY),  # type: ignore[arg-type]
        TypeError,
        ("a list of ACL entries, not one entry", "write [ACL(perms="),
    ),
    Mistake(
        "one ACL set",
        lambda _, client: client.set_acl("/", ENTRY),  # type: ignore[arg-type]
        TypeError,
        ("not one entry", "write [ACL("),
    ),
    _one_acl("Mutex", lambda client, acl: zk.Mutex(client, "/lock", acl=acl)),
    _one_acl("ReadWriteLock", lambda client, acl: zk.ReadWriteLock(client, "/lock", acl=acl)),
    _one_acl("Semaphore", lambda client, acl: zk.Semaphore(client, "/permits", limit=3, acl=acl)),
    _one_acl("Election", lambda client, acl: zk.Election(client, "/leader", acl=acl)),
    _one_acl("DoubleBarrier", lambda client, acl: zk.DoubleBarrier(client, "/start", parties=2, acl=acl)),
    _one_acl("PersistentNode", lambda client, acl: zk.PersistentNode(client, "/node", acl=acl)),
    _one_acl("Barrier", lambda client, acl: zk.Barrier(client, "/gate", acl=acl).create()),
    _one_acl("Group", lambda client, acl: zk.Group(client, "/group", acl=acl).join("a").__aenter__()),
    Mistake(
        "text as data",
        lambda _, client: client.create("/n", "text"),  # type: ignore[arg-type]
        TypeError,
        (f"{NEEDS_BYTES} str", "text.encode()"),
    ),
    Mistake(
        "a bytearray as data",
        lambda _, client: client.set("/n", bytearray(b"data")),  # type: ignore[arg-type]
        TypeError,
        (f"{NEEDS_BYTES} bytearray", "bytes(data)"),
    ),
    Mistake(
        "a memoryview as data",
        lambda _, client: client.create("/n", memoryview(b"data")),  # type: ignore[arg-type]
        TypeError,
        (f"{NEEDS_BYTES} memoryview", "bytes(data)"),
    ),
    Mistake(
        "an ACL that is no text",
        lambda _, client: client.create("/n", acl=[zk.ACL(1, zk.Id("digest", "\ud800"))]),
        ValueError,
        ("the id of an ACL entry must be text that UTF-8 can encode", "'\\ud800'"),
    ),
    Mistake(
        "a server that is no text",
        lambda _, client: client.reconfig(joining=["server.1=\ud800"]),
        ValueError,
        ("the description of a server must be text that UTF-8 can encode",),
    ),
    # --- processes
    Mistake(
        "a client pickled",
        lambda _, client: pickle.dumps(client),
        TypeError,
        ("a Client can be neither pickled nor copied", "Open a client in each process, with connect()"),
    ),
    Mistake("a client copied", lambda _, client: copy.copy(client), TypeError, ("nor copied",)),
    Mistake(
        "a recipe pickled",
        lambda _, client: pickle.dumps(zk.Group(client, "/group")),
        TypeError,
        ("Open a client in each process",),
    ),
    # --- the dev server
    _unentered("pause", lambda server: server.pause()),
    _unentered("resume", lambda server: server.resume()),
    _unentered("jump", lambda server: server.jump(1.0)),
    _unentered("expire", lambda server: server.expire()),
    _unentered("drop_connections", lambda server: server.drop_connections()),
    _unentered("refuse", lambda server: server.refuse()),
    _unentered("accept", lambda server: server.accept()),
    _unentered("restart", lambda server: server.restart()),
    _unentered("become_read_only", lambda server: server.become_read_only()),
    _unentered("become_writable", lambda server: server.become_writable()),
    _unentered("reap", lambda server: server.reap()),
    _unentered("port", lambda server: server.port),
    _unentered("connect_string", lambda server: server.connect_string),
]


async def _make(mistake: Mistake, there: World, client: zk.Client) -> None:
    done = mistake.do(there, client)
    if isinstance(done, Awaitable):
        await done


@pytest.mark.filterwarnings("ignore:.*was never entered")
@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.name for mistake in MISTAKES])
async def test_the_message_says_what_is_wrong_and_what_would_be_right(mistake: Mistake) -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(mistake.error) as caught:
            await _make(mistake, there, client)
        for part in mistake.says:
            assert part in str(caught.value)


async def test_every_name_from_elsewhere_leads_to_one_of_ours() -> None:
    called_here = zk._CALLED_HERE  # noqa: SLF001 - the front door's own table
    for name, here in called_here.items():
        assert name not in zk.__all__
        assert not hasattr(zk, name)
        assert here.split()[0].rstrip(",") in zk.__all__


async def test_a_version_error_has_the_expected_version() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        with pytest.raises(zk.BadVersionError) as caught:
            await client.set("/n", b"", version=7)
        assert caught.value.expected == 7
        assert pickle.loads(pickle.dumps(caught.value)).expected == 7


# --- another loop or thread --------------------------------------------------------------------------------


async def _lock(client: zk.Client) -> None:
    async with zk.Mutex(client, "/lock"):
        pass


async def _watch(client: zk.Client) -> None:
    async with client.watch("/"):
        pass


async def _changes(client: zk.Client) -> None:
    async with client.session_changes():
        pass


async def _update_hosts(client: zk.Client) -> None:
    client.update_hosts("h:1")


FROM_ELSEWHERE: dict[str, Callable[[zk.Client], Awaitable[object]]] = {
    "get": lambda client: client.get("/"),
    "create": lambda client: client.create("/made-elsewhere"),
    "create container": lambda client: client.create("/made-elsewhere", container=True),
    "ensure_path": lambda client: client.ensure_path("/made-elsewhere/n"),
    "add_auth": lambda client: client.add_auth("digest", "a:b"),
    "four_letter_word": lambda client: client.four_letter_word("ruok"),
    "update_hosts": _update_hosts,
    "mutex": _lock,
    "watch": _watch,
    "session_changes": _changes,
}


@pytest.mark.parametrize("anyio_backend", ["trio", "asyncio"])
@pytest.mark.parametrize("elsewhere", ["trio", "asyncio"])
@pytest.mark.parametrize("call", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
async def test_use_from_another_loop_is_reported_and_nothing_is_sent(
    call: Callable[[zk.Client], Awaitable[object]],
    elsewhere: str,
    anyio_backend: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[BaseException] = []
    async with world() as there, there.connect("a") as client:

        async def use() -> None:
            with anyio.fail_after(5):
                await call(client)

        def run() -> None:
            try:
                anyio.run(use, backend=elsewhere)
            except BaseException as error:  # noqa: BLE001 - looked at below
                raised.append(error)

        before = len(there.requests)
        await anyio.to_thread.run_sync(run)
        assert len(there.requests) == before
        (error,) = raised
        assert isinstance(error, RuntimeError)
        for part in ("belongs to the event loop in which it was opened", "from_thread", "open another"):
            assert part in str(error)
        assert not [record for record in caplog.records if record.exc_info]
        assert await client.create("/still-usable") == "/still-usable"
        async with zk.Mutex(client, "/lock"):
            pass
    assert "/made-elsewhere" not in there.znodes()


async def test_a_plain_thread_without_a_loop_is_another_place() -> None:
    async with world() as there, there.connect("a") as client:
        raised: list[BaseException] = []

        def use() -> None:
            try:
                client.update_hosts("h:1")
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=use, name="worker-1")
        thread.start()
        thread.join()
        assert "'worker-1'" in str(raised[0])


def test_use_from_the_next_loop_of_the_same_thread_is_reported() -> None:
    """This happens to a client that outlives the loops of a test suite."""
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def enter() -> tuple[contextlib.AsyncExitStack, zk.Client]:
        stack = contextlib.AsyncExitStack()
        server = await stack.enter_async_context(zk.DevServer())
        return stack, await stack.enter_async_context(zk.connect(server.connect_string))

    async def live() -> None:
        stack, client = await enter()
        entered.set_result(client)
        await leave.wait()
        await stack.aclose()

    async def make_event() -> asyncio.Event:
        return asyncio.Event()

    entered: asyncio.Future[zk.Client] = first.create_future()
    leave = first.run_until_complete(make_event())
    life = first.create_task(live())
    client = first.run_until_complete(entered)
    with pytest.raises(RuntimeError, match="belongs to the event loop in which it was opened"):
        second.run_until_complete(client.get("/"))
    assert first.run_until_complete(client.exists("/")) is not None
    leave.set()
    first.run_until_complete(life)
    first.close()
    second.close()

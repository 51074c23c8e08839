"""connect(): options in, a running client out."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import anyio

from zkrecipes.client.async_block import async_block
from zkrecipes.client.client import Client
from zkrecipes.client.config_following import ConfigFollower
from zkrecipes.client.credentials import check_credentials, check_resume, check_sasl
from zkrecipes.client.observing import Instrument, Observer
from zkrecipes.client.operations import Operations
from zkrecipes.client.recipe_api import note_resumption, recipe_api
from zkrecipes.client.tasks import AsyncFunction, ClientTasks
from zkrecipes.codec.records import ACL
from zkrecipes.enums import SessionState
from zkrecipes.errors import ConnectTimeoutError
from zkrecipes.net.connect_string import parse_connect_string
from zkrecipes.net.hosts import HostList
from zkrecipes.net.session import SessionKey, SessionOptions, SessionRecord
from zkrecipes.net.session_engine import SessionEngine
from zkrecipes.net.transport.network import Network, TcpNetwork, bare_errors
from zkrecipes.net.transport.tls import TLS
from zkrecipes.net.transport.tls_network import TlsNetwork
from zkrecipes.net.wakeup import CallingTask, current_parking
from zkrecipes.protocol.sasl import SaslMechanism

__all__ = ["connect"]

_PACKET_SIZE_MAX: Final = 4 * 1024 * 1024
"""Bytes; what the Java client accepted by default up to 3.5, and four times what a server takes."""
# Beside the data a request holds a header, a path and an ACL.
_REQUEST_OVERHEAD: Final = 1024
_SESSION_TIMEOUT_MAX: Final = 1000.0
_RNG: Final = random.Random()  # one for all clients of a process: its state is 2.5 KiB


@async_block("zk.connect(…)", "client")
async def connect(
    hosts: str,
    *,
    session_timeout: float = 10.0,
    connect_timeout: float | None = 15.0,
    auth: Sequence[tuple[str, str | bytes]] = (),
    sasl: SaslMechanism | None = None,
    default_acl: Sequence[ACL] | None = None,
    read_only: bool = False,
    renew: bool = True,
    resume: SessionKey | None = None,
    keep_session: bool = False,
    create_chroot: bool = False,
    tick_time: float | None = None,
    max_packet_size: int = _PACKET_SIZE_MAX,
    tls: TLS | ssl.SSLContext | None = None,
    follow_config: bool = False,
    instrument: Instrument | None = None,
    network: Network | None = None,
) -> AsyncIterator[Client]:
    """Connect to a ZooKeeper ensemble, and keep a session for as long as the block runs.

        async with zk.connect("zk1:2181,zk2:2181,zk3:2181/app") as client:
            data, stat = await client.get("/config")

    Entering waits until there is a session. Leaving closes it on the server, which removes its ephemeral
    znodes (unless `keep_session` says otherwise); that is bounded in time. An exception of the block comes
    out as itself.

    Args:
        hosts: `host:port` of each server with commas between (port 2181 where none is named; IPv6 addresses
            in brackets), then the chroot, if any: a path that the client sees as `/`.
        session_timeout: in seconds; the server may give less or more (`Session.timeout`). The session and its
            ephemeral znodes live so long without an answer.
        connect_timeout: how long entering may take, in seconds; None for no limit.
        auth: (scheme, credential) pairs, sent on every connection before any request: `("digest",
            "user:pw")`.
        sasl: authenticate through SASL, on every connection and even before `auth`: a `DigestMD5` or a
            `Kerberos`. None: no SASL.
        default_acl: the ACL of znodes that are created without one; None: everybody may do everything.
        read_only: a server that has lost its quorum will do; writes raise `NotReadOnlyError` there. A server
            that has one is looked for meanwhile; the session does not come along if it began read-only.
            Servers are read-only if they are started with `readonlymode.enabled`. From 3.5 on they need
            `localSessionsEnabled`, too; 3.8 and 3.9 turn away a session that is the whole ensemble's, as one
            with ephemeral znodes is, and it waits for a quorum (`ReadOnlyZooKeeperServer`).
        renew: open a new session after one has expired. With False the block is cancelled then, and leaving
            it raises `SessionExpiredError`.
        resume: go on with the session of an earlier client, and its ephemeral znodes: its `session.key`.
            Where it has expired by now it is as with any session, so by default a new one begins;
            `client.session.id` tells. No two clients may have one session at the same time. When a recipe
            comes to what the earlier client left of it in the session, it removes it or takes it over, so
            that this client does not wait for its own session. What the earlier one has read is not
            remembered: `sync` before a read that must not be older.
        keep_session: leave the session alive when the block ends, for `resume`; it then expires by itself,
            `Session.timeout` later.
        create_chroot: make the chroot where it is missing.
        tick_time: the ensemble's `tickTime` in seconds, where it is known: holds then outlive longer outages.
        max_packet_size: the largest reply to accept, in bytes; data to be written may have 1 KiB less. A
            server takes no more than 1 MiB in one request, and so in one transaction, unless its
            `jute.maxbuffer` says otherwise; it drops the connection then.
        tls: speak TLS, to the ensemble's `secureClientPort`: a `TLS`, or a context of your own, which decides
            all by itself then. None: no TLS.
        follow_config: use the hosts of the ensemble's own configuration (`/zookeeper/config`, servers from
            3.5) as soon as they are known, and follow its changes: by chance, so that all clients that do
            this stay evenly spread, and only those move that must. `hosts` are still tried where all of its
            hosts fail. Not with `tls`, as it names no secure ports.
        instrument: is told of each request and of the session, for tracing and metrics.
        network: where the hosts are; None for TCP. Tests pass one in memory.

    Raises:
        ValueError: an argument cannot be right; the message names it. So it is with a file of `tls` that is
            damaged, or a key that is not the certificate's.
        OSError: a file of `tls` cannot be read.
        ConnectTimeoutError: there was no session in time; it lists each host with its last reason.
        AuthFailedError: the server refused a credential, now or later; with `sasl` also when it does not
            prove who it is, speaks another mechanism, or none, or when there are no good tickets.
        SessionExpiredError: the session expired, with `renew=False`.
    """
    try:
        parsed, credentials = parse_connect_string(hosts), check_credentials(auth)
        mechanism, key = check_sasl(sasl), check_resume(resume)
    finally:
        # Errors pass through here, and crash reporters show the local variables of each frame.
        del hosts, auth, sasl, resume
    _check_times(session_timeout, connect_timeout, tick_time)
    _check_packet_size(max_packet_size)
    if follow_config and tls is not None:
        raise ValueError(
            "follow_config: the ensemble's configuration names no secure ports, as tls needs them"
        )
    operations = Operations(parsed.chroot, default_acl, max_packet_size - _REQUEST_OVERHEAD)
    carrier = network or TcpNetwork()
    engine = SessionEngine(
        carrier if tls is None else TlsNetwork(carrier, tls),
        HostList(parsed.hosts, _RNG),
        SessionOptions(
            session_timeout, read_only, renew, tick_time, max_packet_size, keep_session, connect_timeout
        ),
        current_parking(),
        None if key is None else SessionRecord.resumed(key, session_timeout, anyio.current_time()),
    )
    engine.credentials += credentials
    engine.connector.sasl = mechanism
    del credentials
    tasks = ClientTasks()
    observer = None if instrument is None else Observer(instrument, engine)
    client = Client(engine, operations, tasks, observer)
    block = anyio.CancelScope()
    engine.on_end = block.cancel
    engines: list[AsyncFunction] = [engine.run]
    if follow_config:
        whole = Client(engine, operations.without_chroot(), tasks)
        engines.append(ConfigFollower(whole, engine, _RNG).run)
    run = partial(tasks.run, *engines, close=partial(_close, engine, tasks))
    error: BaseException | None = None
    with _one_task(), bare_errors():
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            try:
                chrooted = client if create_chroot and parsed.chroot else None
                await _enter(engine, connect_timeout, chrooted, None if key is None else client)
                with block:
                    yield client
                error = engine.final_error
            except BaseException as raised:  # noqa: BLE001 - it is raised again
                # Raised again outside the task group, which would wrap it, and copy a group of the caller's.
                error = raised
            finally:
                await tasks.stop()
    if error is not None:
        try:
            raise error
        finally:
            del error  # or it and this frame would keep each other


@contextmanager
def _one_task() -> Iterator[None]:
    """Name the remedy if the block was left by another task, which the loop reports as a matter of scopes."""
    task = CallingTask()
    try:
        yield
    except RuntimeError as error:
        if task.is_current:
            raise
        raise RuntimeError(
            "the client was left by another task than the one that entered it; its session is closed. "
            "Enter and leave it in one task: keep `async with` in the task that does the work, or give it a "
            "task of its own (see 'Blocks left in another task' on the documentation's page on asyncio)"
        ) from error


async def _enter(
    engine: SessionEngine, connect_timeout: float | None, chrooted: Client | None, resuming: Client | None
) -> None:
    """Wait until there is a session, and a chroot if there shall be one."""
    with anyio.move_on_after(connect_timeout):
        await engine.wait_connected()
        if resuming is not None:
            await note_resumption(recipe_api(resuming))
        if chrooted is not None:
            await chrooted.ensure_path("/")
        return
    assert connect_timeout is not None
    raise ConnectTimeoutError(connect_timeout, engine.connector.failure_reasons())


async def _close(engine: SessionEngine, tasks: ClientTasks) -> None:
    if engine.session.state is not SessionState.CONNECTING:
        # as long as it takes a clean-up to be sent and answered, or its session to end
        with anyio.move_on_after(min(engine.session.timeout / 3, 2.0)):
            await tasks.wait_clean_ups()
    await engine.close()


def _check_times(session_timeout: float, connect_timeout: float | None, tick_time: float | None) -> None:
    _check_positive("session_timeout", session_timeout)
    if session_timeout > _SESSION_TIMEOUT_MAX:
        raise ValueError(f"session_timeout is in seconds, not milliseconds: {session_timeout!r}")
    for name, value in (("connect_timeout", connect_timeout), ("tick_time", tick_time)):
        if value is not None:
            _check_positive(name, value)


def _check_packet_size(max_packet_size: int) -> None:
    if isinstance(max_packet_size, bool) or not isinstance(max_packet_size, int):
        raise TypeError(f"max_packet_size is a number of bytes, not {max_packet_size!r}")
    if max_packet_size <= _REQUEST_OVERHEAD:
        raise ValueError(f"max_packet_size must be above {_REQUEST_OVERHEAD} bytes, not {max_packet_size!r}")


def _check_positive(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be above 0 seconds, not {value!r}")

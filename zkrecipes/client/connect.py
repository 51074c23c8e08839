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
from zkrecipes.client.background_tasks import AsyncFunction, ClientTasks
from zkrecipes.client.client import Client
from zkrecipes.client.credentials import check_credentials, check_resume, check_sasl
from zkrecipes.client.ensemble_config_follower import ConfigFollower
from zkrecipes.client.instrument import Instrument, Observer
from zkrecipes.client.operations import TreeView
from zkrecipes.client.recipe_api import note_resumption, recipe_api
from zkrecipes.codec.records import ACL
from zkrecipes.enums import SessionState
from zkrecipes.errors import ConnectTimeoutError
from zkrecipes.net.connect_string import parse_connect_string
from zkrecipes.net.host_list import HostList
from zkrecipes.net.session import SessionKey, SessionOptions, SessionRecord
from zkrecipes.net.session_engine import SessionEngine
from zkrecipes.net.transport.network import Network, TcpNetwork, bare_errors
from zkrecipes.net.transport.tls import TLS
from zkrecipes.net.transport.tls_network import TlsNetwork
from zkrecipes.net.wakeup import CallingTask, current_parking
from zkrecipes.protocol.sasl import SaslMechanism

__all__ = ["connect"]

_PACKET_SIZE_MAX: Final = 4 * 1024 * 1024
"""In bytes: the default limit of the Java client up to 3.5, and four times the limit of a server."""
# The room for the header, the path and the ACL of a request.
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
    """Connect to a ZooKeeper ensemble, and keep a session until the block ends.

        async with zk.connect("zk1:2181,zk2:2181,zk3:2181/app") as client:
            data, stat = await client.get("/config")

    Entering waits for a session. Leaving closes it on the server within a bounded time, which deletes its
    ephemeral znodes (but see `keep_session`). An exception of the block is raised unchanged.

    Args:
        hosts: `host:port` of each server, separated by commas (the default port is 2181; IPv6 addresses are
            in brackets), then the chroot, if any: a path that the client sees as `/`.
        session_timeout: in seconds; the server may set another one (`Session.timeout`). The ensemble keeps
            the session and its ephemeral znodes alive for this long without hearing from the client.
        connect_timeout: the maximum time of entering, in seconds; None for no limit.
        auth: (scheme, credential) pairs, sent on every connection before any request: `("digest",
            "user:pw")`.
        sasl: authenticate through SASL, on every connection and before `auth`: a `DigestMD5` or a `Kerberos`.
            None: no SASL.
        default_acl: the ACL of znodes that are created without one. None: `OPEN_ACL`.
        read_only: accept a server that has lost its quorum; writes raise `NotReadOnlyError` there. The client
            then looks for a server with a quorum. A session that was opened read-only ends with that move.
            A server becomes read-only only if it was started with `readonlymode.enabled`. From 3.5 on it
            also needs `localSessionsEnabled`. Servers of 3.8 and 3.9 refuse a session that the whole ensemble
            knows, for example one with ephemeral znodes, so such a session waits for a quorum
            (`ReadOnlyZooKeeperServer`).
        renew: open a new session after an expiry. With False, an expiry cancels the block, and leaving it
            raises `SessionExpiredError`.
        resume: the `session.key` of an earlier client: continue its session, with its ephemeral znodes. If
            the session has expired, this is like any expiry, so by default a new session starts;
            `client.session.id` shows which. Two clients must never use one session at the same time. A recipe
            that finds a znode of the earlier client in this session deletes it or takes it over, so that this
            client does not wait for its own session. The reads of the earlier client are not remembered:
            `sync` before a read that must not be older.
        keep_session: leave the session alive when the block ends, for `resume`. It then expires after
            `Session.timeout`.
        create_chroot: create the chroot if it does not exist.
        tick_time: the ensemble's `tickTime` in seconds, if you know it: holds then outlive longer outages.
        max_packet_size: the largest reply to accept, in bytes; the data of a write must be at least 1 KiB
            smaller. A server accepts at most 1 MiB in one request, and so in one transaction, unless its
            `jute.maxbuffer` differs; it closes the connection on a larger one.
        tls: use TLS, to the ensemble's `secureClientPort`: a `TLS`, or an `ssl.SSLContext`, which is used
            unchanged. None: no TLS.
        follow_config: use the hosts of the ensemble's configuration (`/zookeeper/config`, servers from 3.5)
            as soon as they are known, and follow its changes. Each client decides at random whether to move,
            so that the clients stay evenly spread and no more of them move than necessary. If all these hosts
            fail, the client tries `hosts` again. Not with `tls`, because the configuration names no secure
            ports.
        instrument: notified of each request and of the session, for tracing and metrics.
        network: opens the connections to the hosts. None: TCP. Tests pass an in-memory network.

    Raises:
        ValueError: an argument is not valid; the message names it. This includes a file of `tls` that is
            damaged, and a key that does not match the certificate.
        OSError: a file of `tls` cannot be read.
        ConnectTimeoutError: no session was established in time; the error lists each host's last reason.
        AuthFailedError: the server refused a credential, now or later. With `sasl`, also: the server does
            not prove its identity, or uses another mechanism or none, or there are no valid tickets.
        SessionExpiredError: the session expired, with `renew=False`.
    """
    try:
        parsed, credentials = parse_connect_string(hosts), check_credentials(auth)
        mechanism, key = check_sasl(sasl), check_resume(resume)
    finally:
        # Errors pass through this frame, and crash reporters show local variables.
        del hosts, auth, sasl, resume
    _check_times(session_timeout, connect_timeout, tick_time)
    _check_packet_size(max_packet_size)
    if follow_config and tls is not None:
        raise ValueError(
            "follow_config must be given without tls: the ensemble's configuration names no secure ports"
        )
    view = TreeView(parsed.chroot, default_acl, max_packet_size - _REQUEST_OVERHEAD)
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
    client = Client(engine, view, tasks, observer)
    block = anyio.CancelScope()
    engine.on_end = block.cancel
    engines: list[AsyncFunction] = [engine.run]
    if follow_config:
        whole = Client(engine, view.without_chroot(), tasks)
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
                # Raised outside the task group, which would wrap it, and copy the caller's exception group.
                error = raised
            finally:
                await tasks.stop()
    if error is not None:
        try:
            raise error
        finally:
            del error  # otherwise it and this frame would keep each other alive


@contextmanager
def _one_task() -> Iterator[None]:
    """Name the remedy if another task left the block: the loop's error mentions only cancel scopes."""
    task = CallingTask()
    try:
        yield
    except RuntimeError as error:
        if task.is_current:
            raise
        raise RuntimeError(
            "the client must be left by the task that entered it; its session is closed. "
            "Keep `async with` in the task that does the work, or give it a "
            "separate task (see 'Blocks left in another task' on the documentation's page on asyncio)"
        ) from error


async def _enter(
    engine: SessionEngine, connect_timeout: float | None, chrooted: Client | None, resuming: Client | None
) -> None:
    """Wait for a session, and create the chroot if required."""
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
        # long enough for a clean-up to be sent and answered, or for its session to end
        with anyio.move_on_after(min(engine.session.timeout / 3, 2.0)):
            await tasks.wait_clean_ups()
    await engine.close()


def _check_times(session_timeout: float, connect_timeout: float | None, tick_time: float | None) -> None:
    _check_positive("session_timeout", session_timeout)
    if session_timeout > _SESSION_TIMEOUT_MAX:
        raise ValueError(
            f"session_timeout must be in seconds, not milliseconds: at most {_SESSION_TIMEOUT_MAX:g}, "
            f"not {session_timeout!r}"
        )
    for name, value in (("connect_timeout", connect_timeout), ("tick_time", tick_time)):
        if value is not None:
            _check_positive(name, value)


def _check_packet_size(max_packet_size: int) -> None:
    if isinstance(max_packet_size, bool) or not isinstance(max_packet_size, int):
        raise TypeError(f"max_packet_size must be a number of bytes, not {max_packet_size!r}")
    if max_packet_size <= _REQUEST_OVERHEAD:
        raise ValueError(f"max_packet_size must be above {_REQUEST_OVERHEAD} bytes, not {max_packet_size!r}")


def _check_positive(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be above 0 seconds, not {value!r}")

"""Byte streams: open one to an address, or listen for them. No other package knows of sockets.

`net` and the dev server take a `Network`; `TcpNetwork` is the real one, and tests pass one that lives in
memory. Every failure is an `OSError`: anyio's exceptions are mapped here, once.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import Any, Protocol, final

import anyio
import anyio.lowlevel
from anyio.abc import Listener, SocketAttribute, SocketStream, TaskGroup

from zkrecipes.net.transport.address import Address
from zkrecipes.net.transport.lookups import look_up
from zkrecipes.net.wakeup import is_on_trio

__all__ = ["Address", "Handler", "Network", "Stream", "TcpNetwork", "bare_errors"]

logger: logging.Logger = logging.getLogger("zkrecipes.connection")
# Only the dev server listens, and its users look for messages under this name.
listening_logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

# Above this a receive gains nothing: one wake-up of the loop already brings dozens of whole frames.
_RECEIVE_SIZE = 64 * 1024

# In seconds, after a failed accept (usually no file descriptor is left), so that the loop does not spin.
_ACCEPT_PAUSE = 0.1


class Stream(Protocol):
    """A stream of bytes in both directions, in order.

    One task may send while another receives; two tasks must not send at once, nor receive at once. A call
    that does not wait need not be a checkpoint.
    """

    @property
    def peer(self) -> Address:
        """The address of the other end."""

    async def send(self, data: bytes) -> None:
        """Send all of `data`, waiting while the peer does not take it.

        Raises:
            OSError: the connection is broken or closed; how much of `data` arrived is unknown.

        Cancellation: any part of `data` may have been sent, so the stream is unusable.
        """

    async def receive(self) -> bytes:
        """Return the next bytes, those that have arrived and at most 256 KiB; `b""` at the end of the stream.

        Raises:
            OSError: the connection is broken or closed.

        Cancellation: nothing is lost.
        """

    async def aclose(self) -> None:
        """Close at once; both sides' calls end. Closing twice is fine.

        Cancellation: the stream is closed all the same.
        """


Handler = Callable[[Stream], Coroutine[Any, Any, None]]


class Network(Protocol):
    """A network: it resolves names, and opens and accepts streams."""

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a name in the order in which to try them; they are not cached.

        Raises:
            OSError: the name does not resolve.
        """

    async def connect(self, host: str, port: int) -> Stream:
        """Open a stream to one address. Only the caller limits the time.

        Raises:
            OSError: no server listens there, or it cannot be reached; the text states which.
        """

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        """Listen, and run `handler` in a new task for each accepted stream.

        Entering returns the bound address (port 0 takes a free one). The handler owns its stream and closes
        it. Leaving stops listening and cancels the handlers that still run.

        Raises:
            OSError: the listener cannot be bound to the address.
        """


@final
class TcpNetwork:
    """TCP over IPv4 and IPv6."""

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Ask the system's resolver for the addresses of a name; see `Network.resolve`."""
        if _is_ip_address(host):
            await anyio.lowlevel.checkpoint()
            return [Address(host, port)]
        try:
            found = await look_up(host, port)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a host name") from error
        # dict.fromkeys: the resolver may list an address twice, and its order is worth keeping
        return list(dict.fromkeys(Address(_host_of(sockaddr), port) for sockaddr in found))

    async def connect(self, host: str, port: int) -> Stream:
        """Open a TCP connection; see `Network.connect`."""
        try:
            if is_on_trio():
                from zkrecipes.net.transport.trio_stream import TrioStream

                return await TrioStream.connect(host, port)
            from zkrecipes.net.transport.asyncio_stream import AsyncioStream

            return await AsyncioStream.connect(host, port)
        except OSError as error:
            raise _plain_os_error(error) from error

    @asynccontextmanager
    async def serve(self, host: str, port: int, handler: Handler) -> AsyncIterator[Address]:
        """Listen on a TCP port; see `Network.serve`."""
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        try:
            with bare_errors():
                async with anyio.create_task_group() as tasks:
                    for each in listener.listeners:
                        tasks.start_soon(_accept_forever, each, handler, tasks)
                    bound = listener.listeners[0].extra(SocketAttribute.local_address)
                    try:
                        yield Address(str(bound[0]), int(bound[1]))
                    finally:
                        tasks.cancel_scope.cancel()
        finally:
            # Not earlier: anyio would turn the cancellation of an accept into a ClosedResourceError.
            with anyio.CancelScope(shield=True):
                await listener.aclose()


async def _accept_forever(listener: Listener[SocketStream], handler: Handler, tasks: TaskGroup) -> None:
    is_logged = False

    async def handle(stream: SocketStream) -> None:
        nonlocal is_logged
        is_logged = False
        await handler(_wrap_accepted(stream))

    while True:
        try:
            await listener.serve(handle, tasks)
        except (OSError, anyio.BrokenResourceError) as error:
            if not is_logged:  # logged once, not ten times a second
                cause = error.__cause__ or error
                why = cause.strerror if isinstance(cause, OSError) else cause
                listening_logger.warning("cannot accept connections: %s (retrying)", why)
                is_logged = True
            await anyio.sleep(_ACCEPT_PAUSE)


def _wrap_accepted(stream: SocketStream) -> Stream:
    """Turn anyio's stream of an accepted connection into a `Stream`."""
    # None if the peer has closed the connection already: the first receive reports it.
    remote = stream.extra(SocketAttribute.remote_address, None)
    peer = Address("unknown", 0) if remote is None else Address(str(remote[0]), int(remote[1]))
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)
    try:
        # A reply is one small packet that must leave at once, and not wait for the answer to another.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        # The peer has closed the connection already (EINVAL on macOS); the first receive reports it.
        logger.debug("could not set TCP_NODELAY: %s (continuing without it)", error)
    if is_on_trio():
        from zkrecipes.net.transport.trio_stream import TrioStream

        # A send is then a checkpoint only if it has to wait, and costs half as much CPU.
        return TrioStream(socket.socket(fileno=raw.detach()), peer)
    return _AcceptedStream(stream, peer)


@final
class _AcceptedStream:
    """`Stream` over anyio's socket stream, for the server's end on asyncio."""

    def __init__(self, stream: SocketStream, peer: Address) -> None:
        self._stream = stream
        self._peer = peer

    @property
    def peer(self) -> Address:
        return self._peer

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise _os_error(error) from error

    async def receive(self) -> bytes:
        try:
            return await self._stream.receive(_RECEIVE_SIZE)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise _os_error(error) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _os_error(error: anyio.BrokenResourceError | anyio.ClosedResourceError) -> OSError:
    if isinstance(error, anyio.ClosedResourceError):
        return ConnectionAbortedError(errno.ECONNABORTED, "the connection was closed here")
    if isinstance(error.__cause__, OSError):
        return _plain_os_error(error.__cause__)
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


def _plain_os_error(error: OSError) -> OSError:
    """Return the error with the system's text, because loops and anyio wrap it or word it differently."""
    cause = error.__cause__
    if error.errno is None and isinstance(cause, OSError):
        error = cause
    if error.errno is None or isinstance(error, socket.gaierror):
        return error
    return OSError(error.errno, os.strerror(error.errno))


def _host_of(sockaddr: tuple[Any, ...]) -> str:
    """Return the IP address, with its interface if it is a link-local one of IPv6."""
    host, scope = str(sockaddr[0]), sockaddr[3] if len(sockaddr) == 4 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@contextmanager
def bare_errors() -> Iterator[None]:
    """Raise a lone error of a task group around a user's block unwrapped, not in an exception group."""
    try:
        yield
    except BaseExceptionGroup as group:
        # Trio puts a cancellation from outside beside the block's own error, which is more useful.
        cancelled = anyio.get_cancelled_exc_class()
        errors = [each for each in group.exceptions if not isinstance(each, cancelled)]
        if len(errors) != 1:
            raise
        error = errors[0]
        context = error.__context__
        try:
            raise error
        finally:
            # `raise` has set it to the group, which would show the error twice and keep a reference cycle.
            error.__context__ = context
            del error, context

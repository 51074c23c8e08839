"""A dev server in its own thread, for synchronous code: unittest, kazoo, fixtures.

The server runs on an event loop in that thread; each method runs there and returns when it is done. A
call takes well below a millisecond and never waits for a client, so async tests may also make such calls.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, final, overload

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from zkrecipes.devserver import DevServer, Fault, FaultKind, Faults, HeldReplies, RequestSelector
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address

__all__ = ["ThreadedDevServer", "ThreadedFault", "ThreadedFaults", "ThreadedHold"]

P = ParamSpec("P")
T = TypeVar("T")


@final
class ThreadedDevServer:
    """A `DevServer` that runs in a thread while the block runs.

    ```python
    with ThreadedDevServer() as server:
        kazoo_client = KazooClient(server.connect_string)
    ```

    The methods that inject faults have the names and arguments of those of `DevServer`.

    Args:
        server: a server with other options than the defaults, not yet entered.

    Raises:
        OSError: on entering: the server cannot listen on the address.
    """

    def __init__(self, server: DevServer | None = None) -> None:
        self.server: DevServer = DevServer() if server is None else server
        """The server itself. It belongs to its thread: use it through `run`."""
        self.faults: ThreadedFaults = ThreadedFaults(self)
        """Faults of requests and replies."""
        self._portal: BlockingPortal | None = None
        self._leave = ExitStack()

    @property
    def connect_string(self) -> str:
        """The connect string."""
        return self.server.connect_string

    @property
    def address(self) -> Address:
        """The `(host, port)` that the server listens on."""
        return Address(self.server.host, self.server.port)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # The portal runs asyncio, because trio refuses calls from a thread that runs trio, such as the
            # thread of a trio test.
            self._portal = stack.enter_context(start_blocking_portal("asyncio", name="zkrecipes dev server"))
            stack.enter_context(self._portal.wrap_async_context_manager(self.server))
            self._leave = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal = None
        self._leave.close()

    @overload
    def run(self, func: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    def run(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    def run(self, func: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> object:
        """Call `func` in the server's thread, on its loop, and return what it returns or awaits.

        Raises:
            RuntimeError: outside the block.
        """
        if self._portal is None:
            raise RuntimeError("the server runs only inside its `with` block")
        return self._portal.call(partial(func, *args, **kwargs))

    def expire(self, session_id: int | None = None) -> None:
        """Expire a session now, or all sessions; as `DevServer.expire`."""
        self.run(self.server.expire, session_id)

    def drop_connections(self) -> None:
        """Drop every connection; as `DevServer.drop_connections`."""
        self.run(self.server.drop_connections)

    def refuse(self) -> None:
        """Refuse new connections until `accept`; as `DevServer.refuse`."""
        self.run(self.server.refuse)

    def accept(self) -> None:
        """Accept connections again; as `DevServer.accept`."""
        self.run(self.server.accept)

    def pause(self) -> None:
        """Answer nothing and stop the server's clock until `resume`; as `DevServer.pause`."""
        self.run(self.server.pause)

    def resume(self) -> None:
        """Continue after a pause; as `DevServer.resume`."""
        self.run(self.server.resume)

    def restart(self, *, keep: bool = True) -> None:
        """Stop the server and start it again on the same address; as `DevServer.restart`."""
        self.run(self.server.restart, keep=keep)

    def jump(self, seconds: float) -> None:
        """Move the server's clock forward; as `DevServer.jump`."""
        self.run(self.server.jump, seconds)

    def become_read_only(self) -> None:
        """Serve read-only, like a server without a quorum; as `DevServer.become_read_only`."""
        self.run(self.server.become_read_only)

    def become_writable(self) -> None:
        """End the read-only mode; as `DevServer.become_writable`."""
        self.run(self.server.become_writable)

    def reap(self) -> None:
        """Delete the containers and TTL znodes that are due; as `DevServer.reap`."""
        self.run(self.server.reap)


@final
class ThreadedFaults:
    """The faults of a `ThreadedDevServer`: the methods of `Faults`, callable from another thread."""

    def __init__(self, server: ThreadedDevServer) -> None:
        self._server = server

    def drop_request(self, *opcodes: OpCode, **which: Unpack[RequestSelector]) -> ThreadedFault:
        """Drop the connection on a request without applying it; as `Faults.drop_request`."""
        return self._fault(partial(self._faults.drop_request, *opcodes, **which))

    def lose_reply(self, *opcodes: OpCode, **which: Unpack[RequestSelector]) -> ThreadedFault:
        """Apply a request, and drop the connection instead of replying; as `Faults.lose_reply`."""
        return self._fault(partial(self._faults.lose_reply, *opcodes, **which))

    def corrupt_reply(self, *opcodes: OpCode, **which: Unpack[RequestSelector]) -> ThreadedFault:
        """Apply a request, and answer with a frame of garbage; as `Faults.corrupt_reply`."""
        return self._fault(partial(self._faults.corrupt_reply, *opcodes, **which))

    def delay_reply(
        self, seconds: float, *opcodes: OpCode, **which: Unpack[RequestSelector]
    ) -> ThreadedFault:
        """Apply a request, and reply this many seconds later; as `Faults.delay_reply`."""
        return self._fault(partial(self._faults.delay_reply, seconds, *opcodes, **which))

    def inject(
        self, nth: int, kind: FaultKind, *, session_id: int | None = None, seconds: float = 1.0
    ) -> ThreadedFault:
        """Inject a fault into the nth request of a session, of any kind; as `Faults.inject`."""
        return self._fault(partial(self._faults.inject, nth, kind, session_id=session_id, seconds=seconds))

    def hold_replies(self, *, session_id: int | None = None) -> ThreadedHold:
        """Hold back replies and events until they are released; as `Faults.hold_replies`."""
        held = self._server.run(self._faults.hold_replies, session_id=session_id)
        return ThreadedHold(self._server, held)

    def clear(self) -> None:
        """Remove all faults, and release held replies."""
        self._server.run(self._faults.clear)

    @property
    def _faults(self) -> Faults:
        return self._server.server.faults

    def _fault(self, inject: Callable[[], Fault]) -> ThreadedFault:
        return ThreadedFault(self._server, self._server.run(inject))


@final
class ThreadedFault:
    """A handle on one fault: a `Fault` seen from another thread."""

    def __init__(self, server: ThreadedDevServer, fault: Fault) -> None:
        self._server = server
        self._fault = fault

    @property
    def times_used(self) -> int:
        """The number of requests that the fault has hit."""
        return self._fault.times_used

    @property
    def is_spent(self) -> bool:
        """Whether the fault will hit no more requests."""
        return self._fault.is_spent

    def remove(self) -> None:
        """Remove the fault, so that it hits no more requests."""
        self._server.run(self._fault.remove)

    def wait_used(self, times: int = 1, *, timeout: float = 10.0) -> None:
        """Block this thread until the fault has hit `times` requests.

        Do not call it in the thread that runs the client's event loop, because that blocks the client.

        Args:
            times: the number of requests.
            timeout: the longest wait in seconds.

        Raises:
            TimeoutError: the fault had hit fewer requests by then.
        """

        async def wait() -> None:
            with anyio.fail_after(timeout):
                await self._fault.wait_used(times)

        self._server.run(wait)


@final
class ThreadedHold:
    """A handle on replies and events that are held back: a `HeldReplies` seen from another thread."""

    def __init__(self, server: ThreadedDevServer, held: HeldReplies) -> None:
        self._server = server
        self._held = held

    def release(self) -> None:
        """Send the held replies and events, and hold back no more."""
        self._server.run(self._held.release)

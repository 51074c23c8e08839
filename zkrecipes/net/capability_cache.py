"""The capabilities of the servers at addresses, remembered as a guess for the next connection.

Another server may have the address by then, so a guess decides only two things: how the watches are set
again, and which questions are not worth breaking another connection. Every other question is asked on the
connection itself (`protocol/capabilities.py`); `has_version` waits for its answer.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, final

from zkrecipes.codec.messages import ExistsRequest
from zkrecipes.enums import ServerVersion
from zkrecipes.errors import UnimplementedError
from zkrecipes.net.pending import PendingRequest, ignore_reply
from zkrecipes.net.transport.address import Address, AddressTable
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.capabilities import Capabilities
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.server_requirement import Requirement

__all__ = ["CapabilityCache", "has_version"]

_SILENT_REFUSALS: Final = 2
"""One connection that ends on an unanswered question may be chance; two in a row are not."""


class _Requester(Protocol):
    """The engine, as far as `has_version` needs it."""

    parking: Parking

    @property
    def side(self) -> ClientSide | None:
        """The protocol of the current connection, or None."""

    def submit(self, pending: PendingRequest[Any]) -> None:
        """Send a request in its turn."""


async def has_version(engine: _Requester, version: ServerVersion) -> bool:
    """Wait until there is a server, and return whether it is of this version or a later one.

    Raises:
        ZooKeeperError: the client has ended.
    """
    known = None if engine.side is None else engine.side.capabilities.has(version)
    if known is not None:
        return known
    # The read may be any one, because the connection settles its requirement before it sends the read.
    read = PendingRequest(ExistsRequest("/", watch=False), ignore_reply, engine.parking)
    read.requirement = Requirement("this", version)
    engine.submit(read)
    try:
        await read.wait()
    except UnimplementedError:
        return False
    return True


@final
class CapabilityCache:
    """The guesses of one client, by address."""

    def __init__(self) -> None:
        self._known: AddressTable[Capabilities] = AddressTable()
        self._refusals: AddressTable[tuple[ServerVersion, int]] = AddressTable()

    def guess(self, address: Address) -> Capabilities:
        """Return the guess for a new connection to the address."""
        return self._known.get(address, Capabilities())

    def forget(self, address: Address) -> None:
        """Drop the guess for one address."""
        self._known.pop(address, None)

    def forget_all(self) -> None:
        """Drop every guess: no server could be reached, so the addresses may belong to others next time."""
        self._known.clear()
        self._refusals.clear()

    def note_attached(self, address: Address, side: ClientSide) -> None:
        """Note the known capabilities of a server that has attached the session."""
        self._note(address, side.capabilities)

    def note_end(self, address: Address, side: ClientSide) -> bool:
        """Note how a connection has ended.

        Returns:
            Whether a question ended it. The server works then, and is tried again next.
        """
        if side.probe.is_surprising:
            self.forget(address)
            return False
        question = side.open_question
        if question is not None and question > ServerVersion.V3_5:  # every server answers the first question
            self._note_silent_refusal(address, question, side.capabilities)
            return True
        self._refusals.pop(address, None)  # it has answered since
        below = side.capabilities.below
        if below is not None and below > max(ServerVersion.V3_5, self.guess(address).below or 0):
            self._note(address, side.capabilities)
            return True
        return False

    def _note_silent_refusal(self, address: Address, question: ServerVersion, known: Capabilities) -> None:
        earlier, count = self._refusals.pop(address, (question, 0))
        count = count + 1 if earlier is question else 1
        if count < _SILENT_REFUSALS:
            self._refusals[address] = (question, count)
        else:
            self._note(address, known.learned(question, has_it=False))

    def _note(self, address: Address, known: Capabilities) -> None:
        # Each connection asks anew whether its server is older than 3.5, because that question costs nothing.
        below = None if known.below is ServerVersion.V3_5 else known.below
        self._known[address] = Capabilities(known.at_least, below)

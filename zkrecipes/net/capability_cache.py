"""What servers at addresses could do, remembered as a guess for the next connection.

Another server may stand at the same address by then, so a guess decides only two things: how the watches are
set again, and which questions are not worth breaking another connection. Everything else is asked on the
connection itself (`protocol/capabilities.py`).
"""

from __future__ import annotations

from typing import Final, final

from zkrecipes.enums import ServerVersion
from zkrecipes.net.address_cache import remember
from zkrecipes.net.transport.network import Address
from zkrecipes.protocol.capabilities import Capabilities
from zkrecipes.protocol.client_side import ClientSide

__all__ = ["CapabilityCache"]

_SILENT_REFUSALS: Final = 2
"""A connection that ends on a question without an answer may do so by chance; two in a row do not."""


@final
class CapabilityCache:
    """The guesses of one client, by address."""

    def __init__(self) -> None:
        self._capability_cache: dict[Address, Capabilities] = {}
        self._refusals: dict[Address, tuple[ServerVersion, int]] = {}

    def of(self, address: Address) -> Capabilities:
        """The guess for a new connection to the address."""
        return self._capability_cache.get(address, Capabilities())

    def forget(self, address: Address) -> None:
        """Drop the guess for one address."""
        self._capability_cache.pop(address, None)

    def forget_all(self) -> None:
        """Drop every guess: no server could be reached, so others may stand there next time."""
        self._capability_cache.clear()
        self._refusals.clear()

    def attached(self, address: Address, side: ClientSide) -> None:
        """Note what a server that has attached the session is known to have."""
        self._note(address, side.capabilities)

    def ended(self, address: Address, side: ClientSide) -> bool:
        """Note how a connection has ended.

        Returns:
            Whether a question ended it. The server is well, then, and has the next turn.
        """
        if side.is_surprising:
            self.forget(address)
            return False
        question = side.open_question
        if question is not None and question > ServerVersion.V3_5:  # no server minds the first question
            self._refused_silently(address, question, side.capabilities)
            return True
        self._refusals.pop(address, None)  # it has answered since
        below = side.capabilities.below
        if below is not None and below > max(ServerVersion.V3_5, self.of(address).below or 0):
            self._note(address, side.capabilities)
            return True
        return False

    def _refused_silently(self, address: Address, question: ServerVersion, known: Capabilities) -> None:
        earlier, count = self._refusals.pop(address, (question, 0))
        count = count + 1 if earlier is question else 1
        if count < _SILENT_REFUSALS:
            remember(self._refusals, address, (question, count))
        else:
            self._note(address, known.learned(question, has_it=False))

    def _note(self, address: Address, known: Capabilities) -> None:
        # That a server is older than 3.5 is asked anew each time: the question costs nothing.
        below = None if known.below is ServerVersion.V3_5 else known.below
        remember(self._capability_cache, address, Capabilities(known.at_least, below))

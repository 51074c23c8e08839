"""TLS for the dev server, which lets users test the TLS options of their clients."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, final

import anyio

from zkrecipes.codec.records import Id
from zkrecipes.net.transport.network import Address, Handler, Network, Stream
from zkrecipes.net.transport.tls_network import TlsStream

__all__ = ["TlsListeningNetwork", "x509_id"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

_HANDSHAKE_TIME_MAX: Final = 10.0
# Java's names of the attributes of a subject (RFC 2253, 2.3). Java shows any other as a number with its value
# in hexadecimal; here it keeps its name in Python.
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
# Java puts a backslash before each of these characters, and before blanks at either end
# (`sun.security.x509.AVA`).
_SPECIAL: Final = re.compile(r'[,=+<>#;"\\]|^ +| +$')


@final
class TlsListeningNetwork:
    """A `Network` whose accepted connections must speak TLS; outgoing ones are unchanged.

    Args:
        network: carries the connections.
        context: the server's certificate and key, and whether clients need a certificate.
    """

    def __init__(self, network: Network, context: ssl.SSLContext) -> None:
        self._network = network
        self._context = context

    async def resolve(self, host: str, port: int) -> list[Address]:
        """See `Network.resolve`."""
        return await self._network.resolve(host, port)

    async def connect(self, host: str, port: int) -> Stream:
        """See `Network.connect`."""
        return await self._network.connect(host, port)

    @asynccontextmanager
    async def serve(self, host: str, port: int, handler: Handler) -> AsyncIterator[Address]:
        """Listen; the handler gets each connection once its handshake has succeeded."""

        async def shake_hands(stream: Stream) -> None:
            tls = TlsStream.of_server(stream, self._context)
            try:
                with anyio.fail_after(_HANDSHAKE_TIME_MAX):
                    await tls.shake_hands()
            except (OSError, TimeoutError) as error:
                logger.warning("could not set up TLS with %s: %s", stream.peer, error)
                with anyio.CancelScope(shield=True):
                    await stream.aclose()
                return
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()
                raise
            await handler(tls)

        async with self._network.serve(host, port, shake_hands) as address:
            yield address


def x509_id(stream: object) -> Id | None:
    """Return the identity in a client's certificate (`X509AuthenticationProvider`); None without one."""
    if not isinstance(stream, TlsStream):
        return None
    certificate = stream.peer_certificate()
    return Id("x509", _distinguished_name(certificate["subject"])) if certificate else None


def _distinguished_name(subject: Any) -> str:
    """Return the name as `X500Principal.getName()` does: the last part first, with commas and no blanks."""
    return ",".join(
        "+".join(f"{_SHORT_NAMES.get(key, key)}={_escape(value)}" for key, value in each)
        for each in reversed(subject)
    )


def _escape(value: str) -> str:
    return _SPECIAL.sub(lambda found: "".join(f"\\{each}" for each in found[0]), value)

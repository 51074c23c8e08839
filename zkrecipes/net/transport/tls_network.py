"""TLS over any network: the handshake and the stream. `net/transport/tls_errors.py` explains failures.

It uses `Stream` instead of sockets, so that it runs in memory and in virtual time as well.
"""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, final

import anyio
import anyio.lowlevel

from zkrecipes.net.transport.address import AddressTable
from zkrecipes.net.transport.network import Address, Handler, Network, Stream
from zkrecipes.net.transport.tls import TLS, ContextSource, context_source
from zkrecipes.net.transport.tls_errors import TlsError, TlsPeer, is_end

__all__ = ["TlsNetwork", "TlsStream"]

# The size of the data that a stream returns at once: see `Stream.receive`.
_RECEIVE_SIZE: Final = 64 * 1024


@final
class TlsNetwork:
    """A `Network` whose connections speak TLS.

    Certificates are for names, and connections are opened to addresses: `resolve` remembers the name of each
    address.

    Args:
        network: carries the connections.
        tls: the caller's options, whose files are read now.

    Raises:
        ValueError, OSError, TypeError: as `context_source`.
    """

    def __init__(self, network: Network, tls: TLS | ssl.SSLContext) -> None:
        self.carrier = network
        """The network that carries the connections."""
        self._contexts: ContextSource = context_source(tls)
        self._lacks_certificate = isinstance(tls, TLS) and tls.cert_file is None
        self._names: AddressTable[str] = AddressTable()

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a name, which their servers must prove; see `Network.resolve`."""
        addresses = await self.carrier.resolve(host, port)
        for address in addresses:
            self._names[address] = host
        return addresses

    async def connect(self, host: str, port: int) -> Stream:
        """Open a stream to an address, whose server must prove the name that was last resolved to it.

        Only the caller limits the time.

        Raises:
            CertificateRefusedError: the server has not proven the name.
            TlsError: the server does not speak TLS, or refuses the client.
            OSError: as `Network.connect`.

        Cancellation: the connection is closed.
        """
        return await self.secure(await self.carrier.connect(host, port), Address(host, port))

    async def secure(self, stream: Stream, address: Address) -> Stream:
        """Shake hands on a stream to an address that `carrier` has opened; otherwise as `connect`."""
        try:
            context = self._contexts()
            name = self._names.get(address, address.host)
            tls = TlsStream.of_client(stream, context, TlsPeer(name, self._lacks_certificate))
            await tls.shake_hands()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise
        return tls

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        """Listen without TLS, as the network below does: this class is for clients."""
        return self.carrier.serve(host, port, handler)


@final
class TlsStream:
    """`Stream` over another one, through OpenSSL's engine in memory.

    After the handshake only `send` sends, because a receive may be cancelled. The answer to a change of keys,
    which a receive produces, need not be sent before the next data (RFC 8446, 4.6.3).
    """

    def __init__(self, stream: Stream, context: ssl.SSLContext, peer: TlsPeer) -> None:
        self._stream = stream
        self._peer = peer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._first = b""
        self._has_received = False
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=peer.name is None,
            server_hostname=None if peer.name is None else _name_in_certificates(peer.name),
        )

    @classmethod
    def of_client(cls, stream: Stream, context: ssl.SSLContext, server: TlsPeer) -> TlsStream:
        """Return the client's end; the server must prove `server.name`.

        Raises:
            TlsError: no certificate can be for that name.
        """
        try:
            return cls(stream, context, server)
        except ValueError as error:  # an invalid name; UnicodeError is a ValueError
            raise TlsError(f"no certificate can be for {server.name!r}: {error}") from error

    @classmethod
    def of_server(cls, stream: Stream, context: ssl.SSLContext) -> TlsStream:
        """Return the server's end."""
        return cls(stream, context, TlsPeer())

    def peer_certificate(self) -> dict[str, Any]:
        """Return the contents of the peer's certificate, once it is verified; empty if there is none."""
        return self._tls.getpeercert() or {}

    @property
    def peer(self) -> Address:
        """See `Stream.peer`."""
        return self._stream.peer

    async def shake_hands(self) -> None:
        """Agree on keys, and verify the peer."""
        try:
            while not self._is_agreed():
                await self._flush()
                await self._fill()
            await self._flush()
        except ssl.SSLError as error:
            with suppress(OSError):
                await self._flush()  # the alert for the server
            raise self._peer.failed_handshake(error, self._first) from error
        except OSError as error:
            raise self._peer.loss_in_handshake(error, self._first) from error

    async def send(self, data: bytes) -> None:
        """See `Stream.send`."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            raise self._peer.failure(error) from error
        try:
            await self._flush()
        except OSError:
            if not self._has_received:
                await self._raise_alert()
            raise

    async def receive(self) -> bytes:
        """See `Stream.receive`."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            data = self._decrypt()
            if data is not None:
                await anyio.lowlevel.cancel_shielded_checkpoint()
            while data is None:
                await self._fill()
                data = self._decrypt()
        except ssl.SSLError as error:
            raise self._peer.failure(error) from error
        self._has_received = True
        return data

    async def aclose(self) -> None:
        """See `Stream.aclose`."""
        await self._stream.aclose()

    def _is_agreed(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _decrypt(self) -> bytes | None:
        """Return the data that can be read; empty at the end of the stream, None if more must arrive."""
        found = bytearray()
        try:
            while len(found) < _RECEIVE_SIZE and (data := self._tls.read(_RECEIVE_SIZE - len(found))):
                found += data
        except ssl.SSLWantReadError:
            return bytes(found) or None
        except ssl.SSLError as error:
            # The data before the error counts; the next read raises the error again.
            if not found and not is_end(error):
                raise
        # ZooKeeper's frames have lengths, so an end without TLS's close_notify cannot hide a truncation.
        return bytes(found)

    async def _fill(self) -> None:
        data = await self._stream.receive()
        if data:
            self._first = self._first or data[:1]
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        while self._outgoing.pending:
            await self._stream.send(self._outgoing.read())

    async def _raise_alert(self) -> None:
        """Raise the server's alert, if it sent one before it broke the connection.

        In TLS 1.3 the server verifies our certificate only after the handshake has ended here.
        """
        try:
            while self._decrypt() is None:
                await self._fill()
        except ssl.SSLError as error:
            raise self._peer.failure(error) from error
        except OSError:
            return


def _name_in_certificates(name: str) -> str:
    """Return the name without the parts for resolvers: a trailing dot, the interface of an IPv6 address."""
    return name.partition("%")[0] if ":" in name else name.removesuffix(".")

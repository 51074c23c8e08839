"""TLS over any network: the handshake, the stream, and in plain words why there is none.

Written over `Stream` rather than over sockets, so that it runs over memory and in virtual time as well.
"""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, final

import anyio
import anyio.lowlevel

from zkrecipes.net.tls import TLS, ContextSource, context_source
from zkrecipes.net.transport import Address, Handler, Network, Stream

__all__ = ["CertificateRefusedError", "TlsError", "TlsNetwork", "TlsStream"]

# As much as a stream gives at once: see `Stream.receive`.
_RECEIVE_SIZE: Final = 64 * 1024
# Pods come and go under new addresses; no ensemble has as many.
_NAMES_MAX: Final = 1000
# The types of the two records that a server's first can be (RFC 8446, 5.1); ZooKeeper's frames begin with 0.
_FIRST_RECORDS: Final = (b"\x15", b"\x16")
_PORT_WITHOUT_TLS: Final = "is this a port without TLS?"

# What OpenSSL finds wrong with a server's certificate (`X509_V_ERR_…` of its x509_vfy.h), as we say it.
_FINDINGS: Final = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself, and not among those trusted here",
    19: "no authority that is trusted here has signed it",
    20: "no authority that is trusted here has signed it",
    21: "no authority that is trusted here has signed it",
}
_WRONG_NAME: Final = (62, 64)

# What servers say of a client's certificate, or of none (RFC 8446, 6.2). Java 17 says the first of none.
_CLIENT_ALERTS: Final = frozenset(
    "BAD_CERTIFICATE CERTIFICATE_REQUIRED CERTIFICATE_UNKNOWN CERTIFICATE_EXPIRED CERTIFICATE_REVOKED "
    "UNSUPPORTED_CERTIFICATE UNKNOWN_CA ACCESS_DENIED".split()
)
_VERSION_REASONS: Final = frozenset({"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"})


class TlsError(ConnectionError):
    """There is no TLS with this server, or no longer; the text says why."""


@final
class CertificateRefusedError(TlsError):
    """The server's certificate does not prove that it is the host that was asked for."""


@final
class TlsNetwork:
    """A `Network` whose connections speak TLS.

    Certificates are for names, and connections go to addresses: `resolve` remembers the name that led to
    each.

    Args:
        network: what carries it.
        tls: how; its files are read now.

    Raises:
        ValueError, OSError, TypeError: as `context_source`.
    """

    def __init__(self, network: Network, tls: TLS | ssl.SSLContext) -> None:
        self._network = network
        self._contexts: ContextSource = context_source(tls)
        self._lacks_certificate = isinstance(tls, TLS) and tls.cert_file is None
        self._names: dict[Address, str] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a name; see `Network.resolve`. Who is there will have to prove this name."""
        addresses = await self._network.resolve(host, port)
        for address in addresses:
            self._names.pop(address, None)
            self._names[address] = host
        while len(self._names) > _NAMES_MAX:
            del self._names[next(iter(self._names))]
        return addresses

    async def connect(self, host: str, port: int) -> Stream:
        """Open a stream to an address, where the name that was last resolved to it has to be.

        There is no time limit but the caller's.

        Raises:
            CertificateRefusedError: the server has not proven the name.
            TlsError: it speaks no TLS, or refuses us.
            OSError: as `Network.connect`.

        Cancellation: the connection is closed.
        """
        context = self._contexts()
        name = self._names.get(Address(host, port), host)
        stream = await self._network.connect(host, port)
        try:
            tls = TlsStream.of_client(stream, context, name, lacks_certificate=self._lacks_certificate)
            await tls.shake_hands()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise
        return tls

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        """Listen without TLS, as the network below does: TLS is for clients here."""
        return self._network.serve(host, port, handler)


@final
class TlsStream:
    """`Stream` over another one, through OpenSSL's engine in memory.

    After the handshake only `send` sends. What a receive makes OpenSSL want to send (the answer to a change
    of keys) need not leave before our next data does (RFC 8446, 4.6.3), and a receive may be cancelled.
    """

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        *,
        name: str | None = None,
        server_side: bool = False,
        lacks_certificate: bool = False,
    ) -> None:
        self._stream = stream
        self._name = name
        self._lacks_certificate = lacks_certificate
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._first = b""
        self._has_received = False
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=None if name is None else _name_in_certificates(name),
        )

    @classmethod
    def of_client(
        cls, stream: Stream, context: ssl.SSLContext, name: str, *, lacks_certificate: bool
    ) -> TlsStream:
        """The client's end; `name` is whom the server has to be.

        Raises:
            TlsError: no certificate can be for that name.
        """
        try:
            return cls(stream, context, name=name, lacks_certificate=lacks_certificate)
        except ValueError as error:  # of a name that is none; UnicodeError is one, too
            raise TlsError(f"no certificate can be for {name!r}: {error}") from error

    @classmethod
    def of_server(cls, stream: Stream, context: ssl.SSLContext) -> TlsStream:
        """The server's end."""
        return cls(stream, context, server_side=True)

    def peer_certificate(self) -> dict[str, Any]:
        """What the certificate of the other side says, once it is verified; empty where there is none."""
        return self._tls.getpeercert() or {}

    @property
    def peer(self) -> Address:
        """See `Stream.peer`."""
        return self._stream.peer

    async def shake_hands(self) -> None:
        """Agree on keys, and verify whom we speak to."""
        try:
            while not self._is_agreed():
                await self._flush()
                await self._fill()
            await self._flush()
        except ssl.SSLError as error:
            with suppress(OSError):
                await self._flush()  # the alert that tells the server
            raise self._explain_handshake(error) from error
        except OSError as error:
            hint = "" if self._first else f"; {_PORT_WITHOUT_TLS}"
            raise TlsError(f"{error} (during the TLS handshake{hint})") from error

    async def send(self, data: bytes) -> None:
        """See `Stream.send`."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            raise self._explain(error) from error
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
            raise self._explain(error) from error
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
        """What can be read; empty at the end of the stream, None if more has to come first."""
        found = bytearray()
        try:
            while len(found) < _RECEIVE_SIZE and (data := self._tls.read(_RECEIVE_SIZE - len(found))):
                found += data
        except ssl.SSLWantReadError:
            return bytes(found) or None
        except ssl.SSLError as error:
            # What came before it counts; whatever it is, the next read says it again.
            if not found and not _is_end(error):
                raise
        # ZooKeeper's frames have lengths: an end without TLS's farewell truncates nothing unseen.
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
        """Say what the server says, if it broke the connection for a reason.

        In TLS 1.3 it looks at our certificate only after the handshake has ended for us.
        """
        try:
            while self._decrypt() is None:
                await self._fill()
        except ssl.SSLError as error:
            raise self._explain(error) from error
        except OSError:
            return

    def _explain_handshake(self, error: ssl.SSLError) -> TlsError:
        if self._first and self._first not in _FIRST_RECORDS:
            return TlsError(f"what answers is not TLS: {_PORT_WITHOUT_TLS}")
        if _is_end(error):
            hint = "" if self._first else f", without a word: {_PORT_WITHOUT_TLS}"
            return TlsError(f"closed by the server during the TLS handshake{hint}")
        return self._explain(error)

    def _explain(self, error: ssl.SSLError) -> TlsError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return CertificateRefusedError(f"its certificate is refused: {self._finding(error)}")
        reason = error.reason or str(error)
        alert = reason.partition("_ALERT_")[2]
        words = (alert or reason).lower().replace("_", " ")
        if alert == "PROTOCOL_VERSION" or reason in _VERSION_REASONS:
            return TlsError(f"it speaks no version of TLS that we do ({words})")
        if alert in _CLIENT_ALERTS:
            if self._lacks_certificate:
                return TlsError(f"it wants a client certificate, and there is no cert_file ({words})")
            return TlsError(f"it does not accept our certificate, or that there is none ({words})")
        if alert == "HANDSHAKE_FAILURE":
            return TlsError("it has no cipher in common with us, or wants a client certificate")
        return TlsError(f"TLS failed: {words}")

    def _finding(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code in _WRONG_NAME:
            return f"it is not for {self._name!r}"
        return _FINDINGS.get(error.verify_code, error.verify_message)


def _is_end(error: ssl.SSLError) -> bool:
    # Some releases of Python have no class for it.
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or (
        "UNEXPECTED_EOF" in (error.reason or "")
    )


def _name_in_certificates(name: str) -> str:
    """Without what only a resolver reads: the dot of a full name, the interface of an IPv6 address."""
    return name.partition("%")[0] if ":" in name else name.removesuffix(".")

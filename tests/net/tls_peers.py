"""Certificates, and servers that speak TLS over any network."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from zkrecipes.net.transport.network import Address, Handler, Network, Stream


class Papers(NamedTuple):
    """The files of one authority, and the authority."""

    authority: trustme.CA
    folder: Path

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority to trust."""
        return self.folder / "ca.pem"

    def issue(self, name: str, *identities: str, **options: Any) -> Path:
        """Write a new certificate with its key to one file, and return its path."""
        path = self.folder / f"{name}.pem"
        leaf = self.authority.issue_cert(*identities, **options)
        path.write_bytes(_key_in_pkcs8(leaf) + b"".join(each.bytes() for each in leaf.cert_chain_pems))
        return path

    def server_context(self, *identities: str, wants_clients: bool = False, **options: Any) -> ssl.SSLContext:
        """Return the context of a server for these names and addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*identities, **options).configure_cert(context)
        if wants_clients:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def papers(folder: Path) -> Papers:
    """Create a new authority."""
    folder.mkdir(exist_ok=True)
    made = Papers(trustme.CA(), folder)
    made.authority.cert_pem.write_to_path(str(made.ca_file))
    return made


def encrypt_key(pem: Path, password: bytes) -> Path:
    """Write the key of a file, encrypted, to a file beside it, and return its path."""
    key = load_pem_private_key(pem.read_bytes(), None)
    path = pem.with_suffix(".key")
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)))
    return path


def _key_in_pkcs8(leaf: trustme.LeafCert) -> bytes:
    """Return the key in the only form that ZooKeeper reads."""
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class ServingTls:
    """A network whose servers speak TLS; its clients are unchanged.

    Attributes:
        refusals: the server's error of each failed handshake.
        names: the names that clients requested (SNI), oldest first.
        carriers: the streams below, oldest first.
        context: the context of the next handshake.
    """

    def __init__(self, network: Network, context: ssl.SSLContext) -> None:
        self.refusals: list[str] = []
        self.names: list[str | None] = []
        self.carriers: list[Stream] = []
        self.network = network
        self.context = context

    async def resolve(self, host: str, port: int) -> list[Address]:
        return await self.network.resolve(host, port)

    async def connect(self, host: str, port: int) -> Stream:
        return await self.network.connect(host, port)

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        async def handle(stream: Stream) -> None:
            self.carriers.append(stream)
            self.context.sni_callback = lambda _tls, name, _context: self.names.append(name)
            tls = _ServerStream(stream, self.context)
            try:
                await tls.shake_hands()
            except OSError as error:
                self.refusals.append(repr(error))
                await stream.aclose()
            else:
                await handler(tls)

        return self.network.serve(host, port, handle)


class _ServerStream:
    """The server's end of a stream; like OpenSSL, it sends an alert before it gives up a handshake."""

    def __init__(self, carrier: Stream, context: ssl.SSLContext) -> None:
        self.peer = carrier.peer
        self._carrier = carrier
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self) -> None:
        await self._retry(self._tls.do_handshake)

    async def send(self, data: bytes) -> None:
        await self._retry(self._tls.write, data)

    async def receive(self) -> bytes:
        try:
            data: bytes = await self._retry(self._tls.read, 65536)
        except ssl.SSLEOFError:
            return b""
        return data

    async def aclose(self) -> None:
        await self._carrier.aclose()

    async def _retry(self, act: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                return act(*args)
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._carrier.receive()
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            finally:
                await self._flush()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._carrier.send(self._outgoing.read())

"""SASL GSSAPI: Kerberos (RFC 4752), through the package `gssapi` (`pip install zkrecipes[kerberos]`).

Each connection has its own exchange, whose steps ask the KDC and so run in a thread (`net/sasl_steps.py`).
Invalid tickets of the client are an `AuthFailedError`. A KDC that does not answer only counts against the
host that was about to be tried, so a session survives it as it survives a lost server.
`net/kerberos_errors.py` explains the errors of Kerberos.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final, final

from zkrecipes.errors import AuthFailedError
from zkrecipes.net.kerberos_errors import describe_error, is_kdc_away
from zkrecipes.protocol.sasl import SaslExchange

__all__ = ["Kerberos", "client_credentials"]

_NO_LAYER: Final = 1
"""The bit with which a server offers no protection of the messages that follow (RFC 4752, 3.3)."""


@final
@dataclass(frozen=True, kw_only=True)
class Kerberos:
    """SASL with Kerberos: `zk.connect(…, sasl=zk.Kerberos())` after a `kinit`, or with a keytab.

    With `keytab`, the client gets tickets from the KDC when it needs them, and new ones for a connection that
    is opened in the second half of their life. Without it, the tickets are those of the credential cache
    (`$KRB5CCNAME`, or that of `krb5.conf`). The cache is read again for each connection, so another program
    may renew them there at any time. An open connection needs no tickets.

    If there are no valid tickets, entering `connect` raises `AuthFailedError` at once. A reconnect waits for
    them as it waits for a server, and looks again at each attempt; if the session runs out before, the client
    ends with that error.

    The server's principal is `zookeeper/host`, with the host of the connect string. The options
    `dns_canonicalize_hostname` and `rdns` in `krb5.conf` decide whether it is resolved to another name first.

    For ACLs the client is `zk.Id("sasl", "me@EXAMPLE.ORG")`, or a shorter name if the servers are configured
    to shorten it. The server must prove its identity as well.

    Raises:
        ModuleNotFoundError: on construction: the package `gssapi` is missing.
        TypeError: on construction: a value has another type.
        ValueError: on construction: there is a `/` or an `@` in `service` or `server_realm`; both a keytab
            and a cache; or both a realm and the whole principal of the servers.
    """

    principal: str | None = None
    """The client's principal, `me@EXAMPLE.ORG`; None for the cache's own, or the first in the keytab."""
    keytab: str | os.PathLike[str] | None = None
    """The file with the keys; None to use the credential cache."""
    cache_file: str | os.PathLike[str] | None = None
    """The credential cache, if it is not the usual one."""
    service: str = "zookeeper"
    """The first part of the servers' principals."""
    server_realm: str | None = None
    """The servers' realm, if `krb5.conf` does not state it. Their principals are then literally
    `service/host@server_realm`, with the host of the connect string."""
    server_principal: str | None = None
    """The literal principal of the servers, if all have the same one. None for the principal that consists of
    `service` and the host."""

    def __post_init__(self) -> None:
        for name in ("principal", "server_realm", "server_principal"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
        for name in ("keytab", "cache_file"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, os.PathLike)):
                raise TypeError(f"{name} must be the path of a file, not {type(value).__name__}")
        if self.keytab is not None and self.cache_file is not None:
            raise ValueError("keytab must be given without cache_file: its tickets are kept in memory")
        if not isinstance(self.service, str):
            raise TypeError(f"service must be a str, not {type(self.service).__name__}")
        self._check_server()
        _gssapi()

    def _check_server(self) -> None:
        for name, part in (("service", "the first part"), ("server_realm", "the realm")):
            value = getattr(self, name)
            if value is not None and ("/" in value or "@" in value):
                raise ValueError(
                    f"{name} must be only {part} of a principal, without '/' and '@', not {value!r}"
                )
        if self.server_realm is not None and self.server_principal is not None:
            raise ValueError(
                "server_principal must be given without server_realm: a principal includes its realm"
            )

    def exchange(self, host: str, nonce: bytes) -> SaslExchange:  # noqa: ARG002 - Kerberos has its own
        """Return an exchange with the server that the connect string names `host`."""
        return KerberosExchange(self, host)


@final
class KerberosExchange:
    """One authentication with Kerberos: the tickets in both directions, then the choice of no protection.

    Args:
        kerberos: the client's options.
        host: the server's host.
    """

    blocks: ClassVar[bool] = True
    suspects: ClassVar[str] = "its keytab and its clock, and whether its mechanism is Kerberos"

    def __init__(self, kerberos: Kerberos, host: str) -> None:
        self._kerberos = kerberos
        self._host = host
        self._context: Any = None
        self._has_answered_offer = False

    def begin(self) -> bytes:
        """Return the client's ticket for the server."""
        gssapi = _gssapi()
        flags = gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.integrity
        with self._mapped_errors():
            self._context = gssapi.SecurityContext(
                name=_server_name(self._kerberos, self._host),
                creds=client_credentials(self._kerberos),
                mech=gssapi.MechType.kerberos,
                flags=flags,
                usage="initiate",
            )
            return bytes(self._context.step())

    def respond(self, challenge: bytes | None) -> bytes | None:
        """Return the next token, or None if the server has accepted the last one."""
        if self._has_answered_offer:
            return None
        if not challenge:
            raise AuthFailedError(reason="the server sent no token: SASL is not configured there")
        with self._mapped_errors():
            if self._context.complete:
                return self._answer_offer(challenge)
            token = self._context.step(challenge)
            self._check_mutual()
            return bytes(token or b"")

    def _check_mutual(self) -> None:
        mutual = _gssapi().RequirementFlag.mutual_authentication
        if self._context.complete and mutual not in self._context.actual_flags:
            raise AuthFailedError(reason="the server did not prove its identity")

    def _answer_offer(self, challenge: bytes) -> bytes:
        """Choose none of the protections that the server offers, because TLS protects the connection."""
        offer = self._context.unwrap(challenge).message
        if len(offer) != 4 or not offer[0] & _NO_LAYER:
            raise AuthFailedError(
                reason="the server requires protection by SASL, which is not supported: use TLS instead"
            )
        self._has_answered_offer = True
        # With no layer the size is 0, and without a name the identity is the ticket's.
        return bytes(self._context.wrap(bytes([_NO_LAYER, 0, 0, 0]), False).message)

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except _gssapi().exceptions.GSSError as error:
            reason = describe_error(error, has_keytab=self._kerberos.keytab is not None)
            if is_kdc_away(error):
                raise ConnectionError(reason) from error
            raise AuthFailedError(reason=reason) from error


def client_credentials(kerberos: Kerberos) -> Any:
    """Return the client's tickets as `gssapi` represents them; it may ask the KDC."""
    gssapi = _gssapi()
    name = kerberos.principal and gssapi.Name(kerberos.principal, gssapi.NameType.kerberos_principal)
    store = None
    if kerberos.keytab is not None:
        # Links are not resolved, because their targets may be replaced.
        keytab = str(Path(kerberos.keytab).absolute())
        store = {"client_keytab": f"FILE:{keytab}", "ccache": _cache_in_memory(keytab, kerberos.principal)}
    elif kerberos.cache_file is not None:
        store = {"ccache": f"FILE:{os.fspath(kerberos.cache_file)}"}
    return gssapi.Credentials(name=name, usage="initiate", store=store)


def _cache_in_memory(keytab: str, principal: str | None) -> str:
    """Return the name of a separate cache, so that each connection need not ask the KDC again.

    The process keeps it until it ends, so all clients with the same keytab and principal share it.
    """
    key = sha256(f"{keytab}\0{principal}".encode("utf-8", "surrogateescape"))
    return f"MEMORY:zkrecipes-{key.hexdigest()}"


def _server_name(kerberos: Kerberos, host: str) -> Any:
    """Return the principal that the server must prove to have, as `gssapi` represents it."""
    gssapi = _gssapi()
    if kerberos.server_principal is not None:
        return gssapi.Name(kerberos.server_principal, gssapi.NameType.kerberos_principal)
    if kerberos.server_realm is not None:
        whole = f"{kerberos.service}/{host}@{kerberos.server_realm}"
        return gssapi.Name(whole, gssapi.NameType.kerberos_principal)
    return gssapi.Name(f"{kerberos.service}@{host}", gssapi.NameType.hostbased_service)


def _gssapi() -> Any:
    try:
        import gssapi
    except ImportError as error:
        message = "zkrecipes.Kerberos needs the package gssapi: pip install zkrecipes[kerberos]"
        raise ModuleNotFoundError(message, name="gssapi") from error
    return gssapi

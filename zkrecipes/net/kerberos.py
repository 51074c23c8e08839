"""SASL GSSAPI: Kerberos (RFC 4752), through the package `gssapi` (`pip install zkrecipes[kerberos]`).

Each connection has its own exchange, whose steps ask the KDC and so run in a thread (`net/sasl_steps.py`).
What is wrong with our own tickets is an `AuthFailedError`; a KDC that does not answer only counts against the
host that was about to be tried, so that a session outlives it as it outlives a server. What Kerberos says is
told by `net/kerberos_errors.py`.
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
from zkrecipes.net.kerberos_errors import is_kdc_away, reason_of

__all__ = ["Kerberos"]

_NO_LAYER: Final = 1
"""The bit of a server that lets what follows go as it is (RFC 4752, 3.3)."""


@final
@dataclass(frozen=True, kw_only=True)
class Kerberos:
    """SASL with Kerberos: `zk.connect(…, sasl=zk.Kerberos())` after a `kinit`, or with a keytab.

    With `keytab`, tickets are got from the KDC when they are needed, and a connection that is made in the
    second half of their life gets new ones. Without it they are those of the credential cache
    (`$KRB5CCNAME`, or what `krb5.conf` says), which is read anew for each connection, so that whoever renews
    them there need not tell. A connection that is there needs no tickets any more.

    Where there are no good tickets, entering `connect` raises `AuthFailedError` at once. A reconnect waits
    for them as it waits for a server, looking again at each attempt; when the session has run out meanwhile,
    the client ends with that error.

    The server is `zookeeper/host`, with the host as the connect string names it. Whether that is resolved to
    another name first is decided by `dns_canonicalize_hostname` and `rdns` in `krb5.conf`.

    For ACLs the client is `zk.Id("sasl", "me@EXAMPLE.ORG")`, or what the servers are configured to shorten
    that to. The server has to prove who it is, too.

    Raises:
        ModuleNotFoundError: on building: the package `gssapi` is missing.
        TypeError: on building: something is of another type.
        ValueError: on building: there is a `/` or an `@` in `service` or `server_realm`; both a keytab and a
            cache; or both a realm and the whole principal of the servers.
    """

    principal: str | None = None
    """Whose tickets: `me@EXAMPLE.ORG`; None for the cache's own, or the first in the keytab."""
    keytab: str | os.PathLike[str] | None = None
    """The file with the keys; None to use the credential cache."""
    cache_file: str | os.PathLike[str] | None = None
    """The credential cache, where it is not the usual one."""
    service: str = "zookeeper"
    """The first part of the servers' principals."""
    server_realm: str | None = None
    """The servers' realm, where `krb5.conf` does not say it: they are `service/host@server_realm` then, taken
    literally, with the host as the connect string names it."""
    server_principal: str | None = None
    """The whole principal of the servers, where all have the same one; it is taken literally. None for the
    one that is made of `service` and the host."""

    def __post_init__(self) -> None:
        for name in ("principal", "server_realm", "server_principal"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} is a str, not {type(value).__name__}")
        for name in ("keytab", "cache_file"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, os.PathLike)):
                raise TypeError(f"{name} is the path of a file, not {type(value).__name__}")
        if self.keytab is not None and self.cache_file is not None:
            raise ValueError("a keytab needs no cache_file: its tickets are kept in memory")
        if not isinstance(self.service, str):
            raise TypeError(f"service is a str, not {type(self.service).__name__}")
        self._check_server()
        _gssapi()

    def _check_server(self) -> None:
        for name, part in (("service", "the first part"), ("server_realm", "the realm")):
            value = getattr(self, name)
            if value is not None and ("/" in value or "@" in value):
                raise ValueError(f"{name} is {part} of a principal, not {value!r}")
        if self.server_realm is not None and self.server_principal is not None:
            raise ValueError("a server_principal has its realm in it: leave server_realm away")

    def exchange(self, host: str, nonce: bytes) -> KerberosExchange:  # noqa: ARG002 - Kerberos has its own
        """An exchange with the server that the connect string calls `host`."""
        return KerberosExchange(self, host)

    def credentials(self) -> Any:
        """The client's tickets, as `gssapi` has them; it may ask the KDC."""
        gssapi = _gssapi()
        name = self.principal and gssapi.Name(self.principal, gssapi.NameType.kerberos_principal)
        store = None
        if self.keytab is not None:
            # Links stay as they are: what they point to may be replaced.
            keytab = str(Path(self.keytab).absolute())
            store = {"client_keytab": f"FILE:{keytab}", "ccache": self._cache_in_memory(keytab)}
        elif self.cache_file is not None:
            store = {"ccache": f"FILE:{os.fspath(self.cache_file)}"}
        return gssapi.Credentials(name=name, usage="initiate", store=store)

    def _cache_in_memory(self, keytab: str) -> str:
        """A cache of our own, so that each connection need not ask the KDC again.

        The process keeps it until it ends, so it is one for all who say the same.
        """
        whose = sha256(f"{keytab}\0{self.principal}".encode("utf-8", "surrogateescape"))
        return f"MEMORY:zkrecipes-{whose.hexdigest()}"

    def server_name(self, host: str) -> Any:
        """Who the server has to prove to be, as `gssapi` has it."""
        gssapi = _gssapi()
        if self.server_principal is not None:
            return gssapi.Name(self.server_principal, gssapi.NameType.kerberos_principal)
        if self.server_realm is not None:
            whole = f"{self.service}/{host}@{self.server_realm}"
            return gssapi.Name(whole, gssapi.NameType.kerberos_principal)
        return gssapi.Name(f"{self.service}@{host}", gssapi.NameType.hostbased_service)


@final
class KerberosExchange:
    """One authentication with Kerberos: first the tickets, both ways, then what protects the rest: nothing.

    Args:
        kerberos: whose.
        host: with which server.
    """

    blocks: ClassVar[bool] = True
    suspects: ClassVar[str] = "its keytab and its clock, and whether its mechanism is Kerberos"

    def __init__(self, kerberos: Kerberos, host: str) -> None:
        self._kerberos = kerberos
        self._host = host
        self._context: Any = None
        self._has_answered_offer = False

    def begin(self) -> bytes:
        """The client's ticket for the server."""
        gssapi = _gssapi()
        flags = gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.integrity
        with self._errors_told():
            self._context = gssapi.SecurityContext(
                name=self._kerberos.server_name(self._host),
                creds=self._kerberos.credentials(),
                mech=gssapi.MechType.kerberos,
                flags=flags,
                usage="initiate",
            )
            return bytes(self._context.step())

    def respond(self, challenge: bytes | None) -> bytes | None:
        """The next token, until the server has taken the last one."""
        if self._has_answered_offer:
            return None
        if not challenge:
            raise AuthFailedError(reason="the server sent no token: SASL is not configured there")
        with self._errors_told():
            if self._context.complete:
                return self._answer_offer(challenge)
            token = self._context.step(challenge)
            self._check_mutual()
            return bytes(token or b"")

    def _check_mutual(self) -> None:
        mutual = _gssapi().RequirementFlag.mutual_authentication
        if self._context.complete and mutual not in self._context.actual_flags:
            raise AuthFailedError(reason="the server did not prove who it is")

    def _answer_offer(self, challenge: bytes) -> bytes:
        """Of what the server offers to protect what follows with, take nothing: that is TLS's business."""
        offer = self._context.unwrap(challenge).message
        if len(offer) != 4 or not offer[0] & _NO_LAYER:
            raise AuthFailedError(reason="the server wants SASL to protect what follows: use TLS instead")
        self._has_answered_offer = True
        # No layer, so no size, and no other name than that of the ticket.
        return bytes(self._context.wrap(bytes([_NO_LAYER, 0, 0, 0]), False).message)

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except _gssapi().exceptions.GSSError as error:
            reason = reason_of(error, has_keytab=self._kerberos.keytab is not None)
            if is_kdc_away(error):
                raise ConnectionError(reason) from error
            raise AuthFailedError(reason=reason) from error


def _gssapi() -> Any:
    try:
        import gssapi
    except ImportError as error:
        what = "zkrecipes.Kerberos needs the package gssapi: pip install zkrecipes[kerberos]"
        raise ModuleNotFoundError(what, name="gssapi") from error
    return gssapi

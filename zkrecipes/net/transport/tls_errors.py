"""Explains a failure of TLS in plain words: OpenSSL's finding, or the alert of the peer."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final, final

__all__ = ["CertificateRefusedError", "TlsError", "TlsPeer", "is_end"]

# The two possible types of a peer's first record (RFC 8446, 5.1); ZooKeeper's frames begin with 0.
_FIRST_RECORDS: Final = (b"\x15", b"\x16")

# OpenSSL's findings about a certificate (`X509_V_ERR_…` of its x509_vfy.h).
_FINDINGS: Final = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed and not trusted here",
    19: "it is not signed by an authority trusted here",
    20: "it is not signed by an authority trusted here",
    21: "it is not signed by an authority trusted here",
}
_WRONG_NAME: Final = (62, 64)
# Only strict checks find these (`X509_V_FLAG_X509_STRICT` in OpenSSL's x509_vfy.c), which Python sets from
# 3.13 on (`ssl.create_default_context`).
_STRICT: Final = range(80, 95)

# The alerts about a certificate or the lack of one (RFC 8446, 6.2). Java 17 sends the first if there is none.
_CERTIFICATE_ALERTS: Final = frozenset(
    "BAD_CERTIFICATE CERTIFICATE_REQUIRED CERTIFICATE_UNKNOWN CERTIFICATE_EXPIRED CERTIFICATE_REVOKED "
    "UNSUPPORTED_CERTIFICATE UNKNOWN_CA ACCESS_DENIED".split()
)
_VERSION_REASONS: Final = frozenset({"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"})


class TlsError(ConnectionError):
    """TLS with the peer could not be set up, or broke; the text states the reason."""


@final
class CertificateRefusedError(TlsError):
    """The peer's certificate does not prove its identity."""


@final
@dataclass(frozen=True, slots=True)
class TlsPeer:
    """The peer of a TLS connection, on which the text of a failure depends.

    Attributes:
        name: the server's name that was requested; None for a client that has connected here.
        lacks_certificate: whether this end is a client without a certificate.
    """

    name: str | None = None
    lacks_certificate: bool = False

    def loss_in_handshake(self, error: OSError, first: bytes) -> TlsError:
        """Explain a broken connection; `first` is the first byte that arrived, if any."""
        hint = "" if first else self._hint("; ")
        return TlsError(f"{error} (during the TLS handshake{hint})")

    def failed_handshake(self, error: ssl.SSLError, first: bytes) -> TlsError:
        """Explain a failed handshake by OpenSSL's error and by the first byte that arrived."""
        if first and first not in _FIRST_RECORDS:
            return TlsError(f"{self._role} does not speak TLS{self._hint(': ')}")
        if is_end(error):
            hint = "" if first else f", without an answer{self._hint(': ')}"
            return TlsError(f"closed by {self._role} during the TLS handshake{hint}")
        return self.failure(error)

    def failure(self, error: ssl.SSLError) -> TlsError:
        """Explain OpenSSL's error, in the handshake or later."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return CertificateRefusedError(f"its certificate is refused: {self._finding(error)}")
        reason = error.reason or str(error)
        alert = reason.partition("_ALERT_")[2]
        words = (alert or reason).lower().replace("_", " ")
        if alert == "PROTOCOL_VERSION" or reason in _VERSION_REASONS:
            return TlsError(f"it supports none of our TLS versions ({words})")
        if alert in _CERTIFICATE_ALERTS:
            return TlsError(f"{self._certificate_alert()} ({words})")
        if alert == "HANDSHAKE_FAILURE":
            return TlsError("it has no cipher in common with us, or requires a client certificate")
        return TlsError(f"TLS failed: {words}")

    @property
    def _role(self) -> str:
        return "the client" if self.name is None else "the server"

    def _hint(self, before: str) -> str:
        return "" if self.name is None else f"{before}is this a port without TLS?"

    def _certificate_alert(self) -> str:
        if self.name is None:
            return "it rejects our certificate"
        if self.lacks_certificate:
            return "it requires a client certificate: set cert_file"
        return "it rejects our certificate, or requires one"

    def _finding(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code in _WRONG_NAME:
            return f"it is not for {self.name!r}"
        if error.verify_code in _STRICT:
            return f"{error.verify_message}, which Python checks from 3.13 on (ssl.VERIFY_X509_STRICT)"
        return _FINDINGS.get(error.verify_code, error.verify_message)


def is_end(error: ssl.SSLError) -> bool:
    """Whether the error only means that the stream has ended."""
    # Some releases of Python have no class for it.
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or (
        "UNEXPECTED_EOF" in (error.reason or "")
    )

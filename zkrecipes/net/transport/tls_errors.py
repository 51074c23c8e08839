"""Why there is no TLS, in plain words: what OpenSSL has found and what the other side has said of us."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final, final

__all__ = ["CertificateRefusedError", "OtherSide", "TlsError", "is_end"]

# The types of the two records that a peer's first can be (RFC 8446, 5.1); ZooKeeper's frames begin with 0.
_FIRST_RECORDS: Final = (b"\x15", b"\x16")

# What OpenSSL finds wrong with a certificate (`X509_V_ERR_…` of its x509_vfy.h), as we say it.
_FINDINGS: Final = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself, and not among those trusted here",
    19: "no authority that is trusted here has signed it",
    20: "no authority that is trusted here has signed it",
    21: "no authority that is trusted here has signed it",
}
_WRONG_NAME: Final = (62, 64)
# Only strict checks find these (`X509_V_FLAG_X509_STRICT` in OpenSSL's x509_vfy.c), which Python sets from
# 3.13 on (`ssl.create_default_context`).
_STRICT: Final = range(80, 95)

# What is said of a certificate, or of none (RFC 8446, 6.2). Java 17 says the first of none.
_CERTIFICATE_ALERTS: Final = frozenset(
    "BAD_CERTIFICATE CERTIFICATE_REQUIRED CERTIFICATE_UNKNOWN CERTIFICATE_EXPIRED CERTIFICATE_REVOKED "
    "UNSUPPORTED_CERTIFICATE UNKNOWN_CA ACCESS_DENIED".split()
)
_VERSION_REASONS: Final = frozenset({"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"})


class TlsError(ConnectionError):
    """There is no TLS with the other side, or no longer; the text says why."""


@final
class CertificateRefusedError(TlsError):
    """The other side's certificate does not prove who it is."""


@final
@dataclass(frozen=True, slots=True)
class OtherSide:
    """Whom TLS is spoken with: what is said of a failure depends on it.

    Attributes:
        name: the server's that was asked for; None for a client that has connected here.
        lacks_certificate: whether we are a client that has no certificate to show.
    """

    name: str | None = None
    lacks_certificate: bool = False

    def loss_in_handshake(self, error: OSError, first: bytes) -> TlsError:
        """The connection broke; `first` is the first byte that came, if any."""
        hint = "" if first else self._hint("; ")
        return TlsError(f"{error} (during the TLS handshake{hint})")

    def failed_handshake(self, error: ssl.SSLError, first: bytes) -> TlsError:
        """What has failed, by OpenSSL and by the first byte that came."""
        if first and first not in _FIRST_RECORDS:
            return TlsError(f"{self._role} speaks no TLS{self._hint(': ')}")
        if is_end(error):
            hint = "" if first else f", without a word{self._hint(': ')}"
            return TlsError(f"closed by {self._role} during the TLS handshake{hint}")
        return self.failure(error)

    def failure(self, error: ssl.SSLError) -> TlsError:
        """What has failed, by OpenSSL, in the handshake or later."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return CertificateRefusedError(f"its certificate is refused: {self._finding(error)}")
        reason = error.reason or str(error)
        alert = reason.partition("_ALERT_")[2]
        words = (alert or reason).lower().replace("_", " ")
        if alert == "PROTOCOL_VERSION" or reason in _VERSION_REASONS:
            return TlsError(f"it speaks no version of TLS that we do ({words})")
        if alert in _CERTIFICATE_ALERTS:
            return TlsError(f"{self._what_it_misses()} ({words})")
        if alert == "HANDSHAKE_FAILURE":
            return TlsError("it has no cipher in common with us, or wants a client certificate")
        return TlsError(f"TLS failed: {words}")

    @property
    def _role(self) -> str:
        return "the client" if self.name is None else "the server"

    def _hint(self, before: str) -> str:
        return "" if self.name is None else f"{before}is this a port without TLS?"

    def _what_it_misses(self) -> str:
        if self.name is None:
            return "it does not accept our certificate"
        if self.lacks_certificate:
            return "it wants a client certificate, and there is no cert_file"
        return "it does not accept our certificate, or that there is none"

    def _finding(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code in _WRONG_NAME:
            return f"it is not for {self.name!r}"
        if error.verify_code in _STRICT:
            return f"{error.verify_message}, which Python checks from 3.13 on (ssl.VERIFY_X509_STRICT)"
        return _FINDINGS.get(error.verify_code, error.verify_message)


def is_end(error: ssl.SSLError) -> bool:
    """Whether it only says that the stream has ended."""
    # Some releases of Python have no class for it.
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or (
        "UNEXPECTED_EOF" in (error.reason or "")
    )

"""What a caller says about TLS, and the `ssl.SSLContext` that follows from it and from the files it names.

Files are looked at again for every connection, because certificates live shorter than programs. What they say
is read by OpenSSL; what is wrong with them is said here, with the name of the file, before anything is sent.
"""

from __future__ import annotations

import hashlib
import logging
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from zkrecipes.codec.secret import hides_arguments_of_init
from zkrecipes.net.transport.certificate_files import is_out_of_order, name_contents

__all__ = ["TLS", "ContextSource", "context_source"]

logger: logging.Logger = logging.getLogger("zkrecipes.connection")

ContextSource = Callable[[], ssl.SSLContext]
"""Gives the context for the next connection."""

_BEGIN: Final = "-----BEGIN "
_CERTIFICATES: Final = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEYS: Final = (b"PRIVATE KEY-----",)
# PKCS#8, and the form that was usual before it
_ENCRYPTED_KEYS: Final = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")


@final
@hides_arguments_of_init
@dataclass(frozen=True, kw_only=True)
class TLS:
    """How to speak TLS with the servers: `zk.connect(…, tls=zk.TLS(ca_file="ca.pem"))`.

    TLS 1.2 and 1.3 are spoken. The server's certificate is always verified, and so is that it was made out to
    the host that the connect string names, be it a name or an IP address. All files are PEM.

    Files are looked at again for each connection: once they are replaced, the next reconnect uses the new
    ones. Should they be no good then, or only some of them be replaced yet, a warning is logged and the
    last good ones are used. The system's own trust store is read again only when one of the files changes.

    Raises:
        ValueError: on building: a key or a password without a certificate, or what should be a path is
            the contents of a file.
        TypeError: on building: one of them is of another type. No message shows the password.
    """

    ca_file: str | os.PathLike[str] | None = None
    """Certificates of the authorities to trust; None for those that the system trusts."""
    cert_file: str | os.PathLike[str] | None = None
    """Our own certificate, with the intermediate ones behind it, for servers that ask for one; None to have
    none. It may hold the key, too."""
    key_file: str | os.PathLike[str] | None = None
    """The certificate's private key; None if it is in `cert_file`."""
    key_password: str | bytes | None = field(default=None, repr=False)
    """What opens an encrypted key. It is never shown."""
    verify_host_name: bool = True
    """False accepts every certificate of a trusted authority, whomever it was made out to: any machine
    with such a certificate can then pretend to be a server."""

    def __post_init__(self) -> None:
        for name in ("ca_file", "cert_file", "key_file"):
            _check_path(name, getattr(self, name))
        if self.key_password is not None and not isinstance(self.key_password, (str, bytes)):
            raise TypeError(f"key_password is a str or bytes, not {type(self.key_password).__name__}")
        if not isinstance(self.verify_host_name, bool):
            raise TypeError(f"verify_host_name is True or False, not {self.verify_host_name!r}")
        if self.cert_file is None:
            for name in ("key_file", "key_password"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} without cert_file: there is no certificate to go with it")


def _check_path(name: str, path: object) -> None:
    if path is None:
        return
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} is the path of a file, not {type(path).__name__}")
    if _BEGIN in os.fspath(path):
        raise ValueError(f"{name} is the path of a file, not what stands in it")  # which may be a secret


def context_source(tls: TLS | ssl.SSLContext) -> ContextSource:
    """Where contexts come from; the first is made now, so that a bad file is known now.

    Args:
        tls: what the caller passed. A context is used as it is, and nothing is added to it.

    Raises:
        TypeError: it is neither.
        ValueError: a file is not what it should be, or the context is for servers.
        OSError: a file cannot be read; it names the file.
    """
    if isinstance(tls, TLS):
        return _FileContext(tls)
    if not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls is a zkrecipes.TLS or an ssl.SSLContext, not {type(tls).__name__}")
    if tls.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("the SSLContext of tls is one for servers: use ssl.create_default_context()")
    return lambda: tls


@final
class _FileContext:
    """The context of a `TLS`, made anew when its files have changed."""

    def __init__(self, tls: TLS) -> None:
        self._tls = tls
        # Read before OpenSSL reads it: what changes in between is seen the next time.
        self._digest = _digest(tls)
        self._context = _make_context(tls)
        self._complaint: str | None = None

    def __call__(self) -> ssl.SSLContext:
        try:
            digest = _digest(self._tls)
            if digest != self._digest:
                self._context = _make_context(self._tls)
                self._digest = digest
                logger.info("the TLS files have changed; the new ones are used from now on")
            self._complaint = None
        except (OSError, ValueError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.warning("the TLS files have changed, and the last good ones are still used: %s", error)
        return self._context


def _digest(tls: TLS) -> bytes:
    """What tells one state of the files from another. Modification times may be kept by whoever copies."""
    files = (tls.ca_file, tls.cert_file, tls.key_file)
    parts = (b"" if path is None else hashlib.sha256(Path(path).read_bytes()).digest() for path in files)
    return b"".join(parts)


def _make_context(tls: TLS) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except ssl.SSLError as error:
        assert tls.ca_file is not None, "the system's trust store is not in question"
        why = name_contents(Path(tls.ca_file).read_bytes()) or _reason(error)
        raise ValueError(f"ca_file {tls.ca_file} must hold certificates in PEM: {why}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A renegotiation would want to send while only a receive is under way; TLS 1.3 has none any more.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.check_hostname = tls.verify_host_name
    if tls.cert_file is not None:
        _load_own(context, tls, tls.cert_file)
    return context


def _load_own(context: ssl.SSLContext, tls: TLS, cert_file: str | os.PathLike[str]) -> None:
    key_name, key_file = ("cert_file", cert_file) if tls.key_file is None else ("key_file", tls.key_file)
    _check_holds(_CERTIFICATES, "certificate", "cert_file", cert_file)
    _check_holds(_KEYS, "private key", key_name, key_file)
    is_encrypted = _holds(_ENCRYPTED_KEYS, key_file)
    if is_encrypted and tls.key_password is None:
        raise ValueError(f"the key in {key_name} {key_file} is encrypted, and there is no key_password")
    try:
        # Without a password OpenSSL would ask for one at the terminal, if the key were replaced just now. It
        # is in no variable: some tracebacks show those.
        context.load_cert_chain(cert_file, key_file, password=lambda: tls.key_password or b"")
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            why = _mismatch(f"{key_name} {key_file}", cert_file)
        elif is_encrypted:
            why = f"key_password does not open the key in {key_name} {key_file}, or one is damaged"
        else:
            why = f"cert_file {cert_file} or the key in {key_name} {key_file} is damaged: {_reason(error)}"
        raise ValueError(why) from error


def _check_holds(marks: tuple[bytes, ...], what: str, name: str, path: str | os.PathLike[str]) -> None:
    if not _holds(marks, path):
        found = name_contents(Path(path).read_bytes())
        raise ValueError(f"{name} {path} must hold a {what} in PEM{found and ': '}{found}")


def _mismatch(key: str, cert_file: str | os.PathLike[str]) -> str:
    if is_out_of_order(Path(cert_file).read_bytes()):
        return (
            f"the certificates in cert_file {cert_file} must begin with that of the key, and each must be "
            f"followed by its issuer's; the first one has issued another, and is not that of the key in {key}"
        )
    return f"the key in {key} is not that of the first certificate in cert_file {cert_file}"


def _holds(marks: tuple[bytes, ...], path: str | os.PathLike[str]) -> bool:
    data = Path(path).read_bytes()
    return any(mark in data for mark in marks)


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")

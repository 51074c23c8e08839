"""The caller's TLS options, and the `ssl.SSLContext` made of them and of the files that they name.

Files are read again for every connection, because certificates expire before programs end. OpenSSL parses
them; errors in them are raised here, with the name of the file, before anything is sent.
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
from zkrecipes.net.transport.certificate_files import describe_contents, is_out_of_order

__all__ = ["TLS", "ContextSource", "context_source"]

logger: logging.Logger = logging.getLogger("zkrecipes.connection")

ContextSource = Callable[[], ssl.SSLContext]
"""A function that returns the context for the next connection."""

_BEGIN: Final = "-----BEGIN "
_CERTIFICATES: Final = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEYS: Final = (b"PRIVATE KEY-----",)
# PKCS#8, and the older form
_ENCRYPTED_KEYS: Final = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")


@final
@hides_arguments_of_init
@dataclass(frozen=True, kw_only=True)
class TLS:
    """TLS options for the connections to the servers: `zk.connect(…, tls=zk.TLS(ca_file="ca.pem"))`.

    The versions are TLS 1.2 and 1.3. The server's certificate is always verified, including that it was
    issued for the host in the connect string, be it a name or an IP address. All files are PEM.

    Files are read again for each connection: once they are replaced, the next reconnect uses the new ones.
    If they are invalid then, or only some of them have been replaced, the client logs a warning and uses the
    last valid ones. The system's own trust store is read again only when one of the files changes.

    Raises:
        ValueError: on construction: a key or a password without a certificate, or the contents of a file
            instead of its path.
        TypeError: on construction: a value has another type. No message shows the password.
    """

    ca_file: str | os.PathLike[str] | None = None
    """The certificates of the authorities to trust; None for those that the system trusts."""
    cert_file: str | os.PathLike[str] | None = None
    """The client's certificate, followed by the intermediate ones, for servers that ask for one; None for no
    certificate. The file may also contain the key."""
    key_file: str | os.PathLike[str] | None = None
    """The certificate's private key; None if it is in `cert_file`."""
    key_password: str | bytes | None = field(default=None, repr=False)
    """The password of an encrypted key. It is never shown."""
    verify_host_name: bool = True
    """Whether the certificate must be for the server's host. False accepts every certificate of a trusted
    authority: any machine with such a certificate can then pretend to be a server."""

    def __post_init__(self) -> None:
        for name in ("ca_file", "cert_file", "key_file"):
            _check_path(name, getattr(self, name))
        if self.key_password is not None and not isinstance(self.key_password, (str, bytes)):
            raise TypeError(f"key_password must be a str or bytes, not {type(self.key_password).__name__}")
        if not isinstance(self.verify_host_name, bool):
            raise TypeError(f"verify_host_name must be True or False, not {self.verify_host_name!r}")
        if self.cert_file is None:
            for name in ("key_file", "key_password"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} requires cert_file, the certificate of the key")


def _check_path(name: str, path: object) -> None:
    if path is None:
        return
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be the path of a file, not {type(path).__name__}")
    if _BEGIN in os.fspath(path):
        raise ValueError(f"{name} must be the path of a file, not its contents")  # which may be a secret


def context_source(tls: TLS | ssl.SSLContext) -> ContextSource:
    """Return a source of contexts; the first is made now, so that an invalid file is reported now.

    Args:
        tls: the caller's options. An `SSLContext` is used unchanged.

    Raises:
        TypeError: `tls` is neither.
        ValueError: a file has the wrong contents, or the context is for servers.
        OSError: a file cannot be read; the error names it.
    """
    if isinstance(tls, TLS):
        return _FileContext(tls)
    if not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls must be a zkrecipes.TLS or an ssl.SSLContext, not {type(tls).__name__}")
    if tls.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise ValueError(
            "the SSLContext of tls must be for clients, not for servers: use ssl.create_default_context()"
        )
    return lambda: tls


@final
class _FileContext:
    """The context of a `TLS`, made again when its files have changed."""

    def __init__(self, tls: TLS) -> None:
        self._tls = tls
        # Read before OpenSSL reads the files: a change in between is noticed the next time.
        self._digest = _digest(tls)
        self._context = _make_context(tls)
        self._last_error: str | None = None

    def __call__(self) -> ssl.SSLContext:
        try:
            digest = _digest(self._tls)
            if digest != self._digest:
                self._context = _make_context(self._tls)
                self._digest = digest
                logger.info("the TLS files have changed (using the new ones from now on)")
            self._last_error = None
        except (OSError, ValueError) as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                logger.warning(
                    "cannot use the changed TLS files: %s (still using the last valid ones)", error
                )
        return self._context


def _digest(tls: TLS) -> bytes:
    """Return a digest of the files, because a copy may keep their modification times."""
    files = (tls.ca_file, tls.cert_file, tls.key_file)
    parts = (b"" if path is None else hashlib.sha256(Path(path).read_bytes()).digest() for path in files)
    return b"".join(parts)


def _make_context(tls: TLS) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except ssl.SSLError as error:
        assert tls.ca_file is not None, "the system's trust store is not in question"
        why = describe_contents(Path(tls.ca_file).read_bytes()) or _reason(error)
        raise ValueError(f"ca_file {tls.ca_file} must contain certificates in PEM: {why}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A renegotiation would have to send during a receive; TLS 1.3 has removed it.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.check_hostname = tls.verify_host_name
    if tls.cert_file is not None:
        _load_own(context, tls, tls.cert_file)
    return context


def _load_own(context: ssl.SSLContext, tls: TLS, cert_file: str | os.PathLike[str]) -> None:
    key_name, key_file = ("cert_file", cert_file) if tls.key_file is None else ("key_file", tls.key_file)
    _check_contains(_CERTIFICATES, "certificate", "cert_file", cert_file)
    _check_contains(_KEYS, "private key", key_name, key_file)
    is_encrypted = _contains(_ENCRYPTED_KEYS, key_file)
    if is_encrypted and tls.key_password is None:
        raise ValueError(f"the key in {key_name} {key_file} is encrypted and requires key_password")
    try:
        # Without a password OpenSSL would ask for one at the terminal if the key were replaced just now. No
        # variable holds the password, because some tracebacks show variables.
        context.load_cert_chain(cert_file, key_file, password=lambda: tls.key_password or b"")
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            why = _mismatch(f"{key_name} {key_file}", cert_file)
        elif is_encrypted:
            why = f"key_password does not decrypt the key in {key_name} {key_file}, or the key is damaged"
        else:
            why = f"cert_file {cert_file} or the key in {key_name} {key_file} is damaged: {_reason(error)}"
        raise ValueError(why) from error


def _check_contains(marks: tuple[bytes, ...], kind: str, name: str, path: str | os.PathLike[str]) -> None:
    if not _contains(marks, path):
        found = describe_contents(Path(path).read_bytes())
        raise ValueError(f"{name} {path} must contain a {kind} in PEM{found and ': '}{found}")


def _mismatch(key: str, cert_file: str | os.PathLike[str]) -> str:
    if is_out_of_order(Path(cert_file).read_bytes()):
        return (
            f"cert_file {cert_file} must begin with the certificate of the key in {key}, and each must be "
            "followed by its issuer's; the first one has issued another one of the file"
        )
    return f"the key in {key} must belong to the first certificate in cert_file {cert_file}"


def _contains(marks: tuple[bytes, ...], path: str | os.PathLike[str]) -> bool:
    data = Path(path).read_bytes()
    return any(mark in data for mark in marks)


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")

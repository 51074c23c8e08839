"""Recognises the contents of a file that should hold PEM but does not, and states how to convert it."""

from __future__ import annotations

import re
import ssl
from typing import Final

__all__ = ["describe_contents", "is_out_of_order"]

_JKS: Final = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00-\x00-", b"-\x00-\x00")
_UTF_8_MARK: Final = b"\xef\xbb\xbf"
_PEM_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_CERTIFICATE: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL | re.ASCII
)
# Tags of DER (X.690, 8.1.2).
_INTEGER: Final = 0x02
_SEQUENCE: Final = 0x30
_VERSION_OF_CERTIFICATE: Final = 0xA0


def describe_contents(data: bytes) -> str:
    """Describe the contents, and how to convert them to PEM, as the end of a sentence; empty if unclear.

    Args:
        data: the whole file.
    """
    if not data.strip():
        return "it is empty"
    if data.startswith(_JKS):
        return (
            "it is a Java key store (JKS): convert it with 'keytool -importkeystore -deststoretype PKCS12', "
            "then with 'openssl pkcs12 -nodes'"
        )
    if data.startswith(_UTF_16):
        return "it is text in UTF-16: save it as ASCII or UTF-8"
    if data.startswith(_UTF_8_MARK):
        return "it begins with a byte order mark: save it as UTF-8 without one"
    if data[0] == _SEQUENCE:
        return _name_der(data)
    labels = dict.fromkeys(label.decode() for label in _PEM_LABEL.findall(data))
    return f"it contains only: {', '.join(labels)}" if labels else ""


def is_out_of_order(pem: bytes) -> bool:
    """Whether the first certificate has issued another one of the file: a chain must begin with the leaf."""
    try:
        texts = _CERTIFICATE.findall(pem.decode("ascii", "replace"))
        names = [_issuer_and_subject(ssl.PEM_cert_to_DER_cert(text)) for text in texts]
    except (ValueError, IndexError):
        return False  # it is damaged, which OpenSSL reports better
    return bool(names) and any(issuer == names[0][1] for issuer, _ in names[1:])


def _name_der(data: bytes) -> str:
    try:
        _, start, _ = _element(data, 0)
        tag, first, end = _element(data, start)
    except IndexError:
        return "it is binary, and cut short"
    if tag == _INTEGER and data[first:end] == b"\x03":
        return "it is PKCS#12: convert it with 'openssl pkcs12 -nodes'"
    if tag == _SEQUENCE and data[first] in {_VERSION_OF_CERTIFICATE, _INTEGER}:
        return "it is a certificate in DER: convert it with 'openssl x509 -inform DER'"
    return "it is in DER, perhaps a key: convert it with 'openssl pkey -inform DER'"


def _issuer_and_subject(der: bytes) -> tuple[bytes, bytes]:
    """Return the two names of a certificate as it encodes them (RFC 5280, 4.1)."""
    _, at, _ = _element(der, 0)
    _, at, _ = _element(der, at)
    if der[at] == _VERSION_OF_CERTIFICATE:
        at = _element(der, at)[2]
    at = _element(der, at)[2]  # the serial number
    at = _element(der, at)[2]  # the signature's algorithm
    subject_at = _element(der, _element(der, at)[2])[2]  # after the issuer and the validity
    return der[at : _element(der, at)[2]], der[subject_at : _element(der, subject_at)[2]]


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the element at `at`, the start of its contents, and its end."""
    length, start = data[at + 1], at + 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[at + 2 : start], "big")
    return data[at], start, start + length

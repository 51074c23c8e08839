"""Files that contain something other than PEM are described."""

from __future__ import annotations

import datetime as dt
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from tests.net.tls_peers import Papers, papers
from zkrecipes import TLS
from zkrecipes.net.transport.certificate_files import describe_contents, is_out_of_order
from zkrecipes.net.transport.tls import context_source
from zkrecipes.net.transport.tls_errors import TlsPeer

AUTHORITY = trustme.CA()
LEAF = AUTHORITY.create_child_ca().issue_cert("zk.example")
CHAIN = [each.bytes() for each in LEAF.cert_chain_pems]
KEY = load_pem_private_key(LEAF.private_key_pem.bytes(), None)
CERTIFICATE = x509.load_pem_x509_certificate(CHAIN[0])
assert isinstance(KEY, ec.EllipticCurvePrivateKey)

CONTENTS = {
    "jks": (b"\xfe\xed\xfe\xed\x00\x00\x00\x02", "it is a Java key store (JKS): convert it with 'keytool"),
    "jceks": (b"\xce\xce\xce\xce\x00\x00\x00\x02", "it is a Java key store (JKS)"),
    "pkcs12": (
        pkcs12.serialize_key_and_certificates(b"zk", KEY, CERTIFICATE, None, BestAvailableEncryption(b"x")),
        "it is PKCS#12: convert it with 'openssl pkcs12 -nodes'",
    ),
    "certificate in der": (
        CERTIFICATE.public_bytes(Encoding.DER),
        "it is a certificate in DER: convert it with 'openssl x509 -inform DER'",
    ),
    "pkcs8 in der": (
        KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "it is in DER, perhaps a key: convert it with 'openssl pkey -inform DER'",
    ),
    "encrypted pkcs8 in der": (
        KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        "it is in DER, perhaps a key",
    ),
    "sec1 in der": (
        KEY.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "it is in DER, perhaps a key",
    ),
    "utf-16": (CHAIN[0].decode().encode("utf-16"), "it is text in UTF-16: save it as ASCII or UTF-8"),
    "utf-16 without mark": (CHAIN[0].decode().encode("utf-16-be"), "it is text in UTF-16"),
    "utf-16le without mark": (CHAIN[0].decode().encode("utf-16-le"), "it is text in UTF-16"),
    "byte order mark": (b"\xef\xbb\xbf" + CHAIN[0], "it begins with a byte order mark"),
    "empty": (b" \n", "it is empty"),
    "public key": (
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "it contains only: PUBLIC KEY",
    ),
    "cut short": (b"\x30\x82", "it is binary, and cut short"),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_contents_are_named_with_the_way_to_pem(what: str) -> None:
    data, name = CONTENTS[what]
    assert describe_contents(data).startswith(name)


@pytest.mark.parametrize("data", [b"hello", bytes(100), b"\x89PNG"])
def test_whatever_else_is_not_named(data: bytes) -> None:
    assert not describe_contents(data)


@pytest.fixture
def ours(tmp_path: Path) -> Papers:
    return papers(tmp_path / "ours")


@pytest.mark.parametrize("what", sorted(CONTENTS.keys() - {"byte order mark"}))
@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
def test_each_wrong_file_of_tls_is_described(ours: Papers, what: str, name: str) -> None:
    data, contents = CONTENTS[what]
    path = ours.folder / "other"
    path.write_bytes(data)
    files: dict[str, Any] = {"ca_file": ours.ca_file, "cert_file": ours.issue("client", "client@x.example")}
    with pytest.raises(ValueError, match=f"^{name} .*other must contain .* in PEM: ") as caught:
        context_source(TLS(**(files | {name: path})))
    assert contents in str(caught.value)


def test_a_chain_in_the_wrong_order_is_named(ours: Papers) -> None:
    chained = ours.folder / "chained.pem"
    chained.write_bytes(LEAF.private_key_pem.bytes() + b"".join(CHAIN))
    context_source(TLS(ca_file=ours.ca_file, cert_file=chained))
    chained.write_bytes(LEAF.private_key_pem.bytes() + b"".join(reversed(CHAIN)))
    with pytest.raises(
        ValueError, match=r"must begin with the certificate of the key in .* must be followed by its"
    ):
        context_source(TLS(ca_file=ours.ca_file, cert_file=chained))


def test_the_key_of_another_certificate_is_not_a_wrong_order(ours: Papers) -> None:
    other = ours.folder / "other.pem"
    other.write_bytes(AUTHORITY.issue_cert("zk.example").private_key_pem.bytes() + b"".join(CHAIN))
    with pytest.raises(ValueError, match="must belong to the first certificate in cert_file "):
        context_source(TLS(ca_file=ours.ca_file, cert_file=other))


def test_the_names_decide_about_the_order() -> None:
    assert len(CHAIN) >= 2
    assert not is_out_of_order(b"".join(CHAIN))
    assert is_out_of_order(b"".join(reversed(CHAIN)))
    assert not is_out_of_order(CHAIN[0])
    assert not is_out_of_order(b"")
    damaged = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    assert not is_out_of_order(damaged + CHAIN[1])
    assert not is_out_of_order(damaged.replace(b"MIIB", b"!") + CHAIN[1])


def test_a_finding_of_strict_checks_is_reported_as_such(tmp_path: Path) -> None:
    """An authority's certificate without the usage of its key: accepted up to Python 3.12."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old authority")])
    now = dt.datetime.now(dt.UTC)
    authority = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "zk")]))
        .issuer_name(name)
        .public_key(leaf_key.public_key())
        .serial_number(2)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("zk")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "zk.pem").write_bytes(key_pem + leaf.public_bytes(Encoding.PEM))
    reason = str(TlsPeer("zk").failure(_verify(authority, tmp_path / "zk.pem")))
    assert reason.startswith("its certificate is refused: ")
    assert reason.endswith(", which Python checks from 3.13 on (ssl.VERIFY_X509_STRICT)")


def _verify(authority: x509.Certificate, server_pem: Path) -> ssl.SSLError:
    """Return the error of a strict client about a server's certificate."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_context = ssl.create_default_context(cadata=authority.public_bytes(Encoding.PEM).decode())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(server_pem)
    client = client_context.wrap_bio(to_client, to_server, server_hostname="zk")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            with suppress(ssl.SSLWantReadError):
                server.do_handshake()
        except ssl.SSLError as error:
            return error
    raise AssertionError("a strict client accepts it")

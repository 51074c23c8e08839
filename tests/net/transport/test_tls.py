"""The caller's TLS options: errors before anything is sent, and files that are replaced."""

from __future__ import annotations

import logging
import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.net.tls_peers import Papers, encrypt_key, papers
from zkrecipes import TLS
from zkrecipes.net.transport.tls import context_source

PASSWORD = "open-sesame"


@pytest.fixture
def ours(tmp_path: Path) -> Papers:
    return papers(tmp_path / "ours")


# --- the options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key_file": "key.pem"}, "key_file requires cert_file"),
        ({"key_password": PASSWORD}, "key_password requires cert_file"),
        (
            {"ca_file": "-----BEGIN CERTIFICATE-----\nMII"},
            "ca_file must be the path of a file, not its contents",
        ),
        (
            {"cert_file": "c", "key_file": f"-----BEGIN PRIVATE KEY-----\n{PASSWORD}"},
            "key_file must be the path",
        ),
    ],
)
def test_options_that_cannot_be_right_are_a_value_error_that_shows_no_secret(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TLS(**options)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ca_file": b"ca.pem"}, "ca_file must be the path of a file, not bytes"),
        ({"cert_file": "c", "key_password": [PASSWORD]}, "key_password must be a str or bytes, not list"),
        ({"verify_host_name": None}, "verify_host_name must be True or False, not None"),
    ],
)
def test_options_of_the_wrong_type_are_a_type_error_that_shows_no_secret(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        TLS(**options)
    assert PASSWORD not in str(caught.value)


def test_the_password_is_not_shown() -> None:
    tls = TLS(cert_file="cert.pem", key_file="key.pem", key_password=PASSWORD)
    assert PASSWORD not in repr(tls)
    assert "key.pem" in repr(tls)


def test_anything_but_tls_and_a_context_is_a_type_error() -> None:
    with pytest.raises(
        TypeError, match=re.escape("tls must be a zkrecipes.TLS or an ssl.SSLContext, not bool")
    ):
        context_source(True)  # type: ignore[arg-type]  # the point of the test


def test_a_context_of_the_callers_is_used_as_it_is() -> None:
    context = ssl.create_default_context()
    options = context.options
    assert context_source(context)() is context
    assert context.options == options


def test_a_context_for_servers_is_refused() -> None:
    with pytest.raises(ValueError, match="must be for clients"):
        context_source(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


# --- the context -----------------------------------------------------------------------------------------


def test_certificates_and_host_names_are_verified_and_old_versions_are_not_spoken(ours: Papers) -> None:
    for tls in (TLS(), TLS(ca_file=ours.ca_file)):
        context = context_source(tls)()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_only_the_authorities_of_ca_file_are_trusted(ours: Papers) -> None:
    assert len(context_source(TLS(ca_file=ours.ca_file))().get_ca_certs()) == 1


def test_the_host_name_may_be_left_unverified_but_not_the_certificate(ours: Papers) -> None:
    context = context_source(TLS(ca_file=ours.ca_file, verify_host_name=False))()
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("password", [PASSWORD, PASSWORD.encode()])
def test_an_encrypted_key_is_opened_with_its_password(ours: Papers, password: str | bytes) -> None:
    cert_file = ours.issue("client", "client@example.org")
    key_file = encrypt_key(cert_file, PASSWORD.encode())
    context_source(TLS(cert_file=cert_file, key_file=key_file, key_password=password))
    context_source(TLS(cert_file=str(cert_file)))  # it also contains the key


# --- bad files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
def test_a_file_that_is_missing_is_named(ours: Papers, name: str) -> None:
    client = ours.issue("client", "client@example.org")
    options: dict[str, Any] = {"cert_file": client, name: ours.folder / "missing.pem"}
    with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
        context_source(TLS(**options))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ca_file", "ca_file .*junk.pem must contain certificates in PEM"),
        ("cert_file", "cert_file .*junk.pem must contain a certificate in PEM"),
        ("key_file", "key_file .*junk.pem must contain a private key in PEM"),
    ],
)
def test_a_file_that_is_not_pem_is_named(ours: Papers, name: str, message: str) -> None:
    junk = ours.folder / "junk.pem"
    junk.write_bytes(bytes(range(256)))
    client = ours.issue("client", "client@example.org")
    options: dict[str, Any] = {"cert_file": client, "key_file": client, name: junk}
    with pytest.raises(ValueError, match=message):
        context_source(TLS(**options))


def test_a_certificate_without_its_key_is_named(ours: Papers) -> None:
    with pytest.raises(ValueError, match=r"cert_file .*ca\.pem must contain a private key in PEM"):
        context_source(TLS(cert_file=ours.ca_file))


def test_a_file_that_is_damaged_is_named(ours: Papers) -> None:
    damaged = ours.folder / "damaged.pem"
    text = ours.issue("client", "client@example.org").read_text()
    damaged.write_text(text.replace("-----BEGIN PRIVATE KEY-----\nM", "-----BEGIN PRIVATE KEY-----\n!"))
    with pytest.raises(ValueError, match=r"damaged.pem .*is damaged"):
        context_source(TLS(cert_file=damaged))


def test_a_key_of_another_certificate_is_named(ours: Papers) -> None:
    one, other = ours.issue("one", "one@example.org"), ours.issue("other", "other@example.org")
    with pytest.raises(ValueError, match=r"key_file .*other.pem must belong to .* cert_file .*one.pem"):
        context_source(TLS(cert_file=one, key_file=other))


def test_a_wrong_or_missing_password_is_reported_without_showing_it(ours: Papers) -> None:
    cert_file = ours.issue("client", "client@example.org")
    key_file = encrypt_key(cert_file, b"another")
    with pytest.raises(
        ValueError, match=r"key_password does not decrypt the key in key_file .*client.key"
    ) as caught:
        context_source(TLS(cert_file=cert_file, key_file=key_file, key_password=PASSWORD))
    assert PASSWORD not in str(caught.value)
    with pytest.raises(ValueError, match=r"client.key is encrypted and requires key_password"):
        context_source(TLS(cert_file=cert_file, key_file=key_file))


# --- files that are replaced -----------------------------------------------------------------------------


def test_files_that_are_replaced_make_a_new_context_and_others_do_not(ours: Papers) -> None:
    """Case 72."""
    cert_file = ours.issue("client", "client@example.org")
    contexts = context_source(TLS(ca_file=ours.ca_file, cert_file=cert_file))
    first = contexts()
    assert contexts() is first
    ours.issue("client", "client@example.org")
    second = contexts()
    assert second is not first
    assert contexts() is second


def test_files_that_are_no_good_any_more_leave_the_last_good_ones_in_use(
    ours: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 72. The certificate is replaced before its key is."""
    cert_file = ours.issue("client", "client@example.org")
    key_file = encrypt_key(cert_file, PASSWORD.encode())
    contexts = context_source(TLS(cert_file=cert_file, key_file=key_file, key_password=PASSWORD))
    first = contexts()
    ours.issue("client", "client@example.org")
    with caplog.at_level(logging.WARNING):
        assert contexts() is contexts() is first
    (warning,) = caplog.records
    assert "client.key must belong to the first certificate" in warning.getMessage()
    key_file.unlink()
    assert contexts() is first
    encrypt_key(cert_file, PASSWORD.encode())
    assert contexts() is not first
    assert PASSWORD not in caplog.text

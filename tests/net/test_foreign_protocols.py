"""Services other than ZooKeeper are recognised by their first bytes."""

from __future__ import annotations

import pytest

from zkrecipes.net.foreign_protocols import FIRST_BYTES_MAX, describe_foreign_protocol

SAID = {
    b"HTTP/1.1 400 Bad Request\r\n": "it speaks HTTP",
    b"<html><head>": "it speaks HTTP",
    b"SSH-2.0-OpenSSH_9.2p1\r\n": "it speaks SSH",
    b"220 mail.example ESMTP\r\n": "it speaks SMTP or FTP",
    b"-ERR unknown command\r\n": "it speaks Redis",
    b"-NOAUTH Authentication required.\r\n": "it speaks Redis",
    b"ERROR\r\n": "it speaks memcached",
    bytes([0x4A, 0, 0, 0, 0x0A]) + b"8.0.33\0": "it speaks MySQL",
    bytes([0x45, 0, 0, 0, 0xFF, 0x6A, 0x04]) + b"Host is not allowed": "it speaks MySQL",
    b"E\x00\x00\x00\x8bSFATAL\x00": "it speaks PostgreSQL",
    b"AMQP\x00\x00\x09\x01": "it speaks AMQP",
    b"* OK IMAP4rev1 ready\r\n": "it speaks IMAP",
    b"\x15\x03\x03\x00\x02\x02\x50": "this is a port for TLS",
}


@pytest.mark.parametrize("said", SAID)
def test_a_service_is_named(said: bytes) -> None:
    assert SAID[said] in describe_foreign_protocol(said[:FIRST_BYTES_MAX])


@pytest.mark.parametrize(
    "said",
    [
        b"",
        bytes(64),
        b"\x00\x00\x00\x25\x00\x00\x00\x00\x00\x00\x27\x10",  # an answer to the greeting
        b"\x00\x00\x00\x10\x00\x00\x00\x00",  # a refusal
        b"random words",
    ],
)
def test_whatever_else_is_not_named(said: bytes) -> None:
    assert not describe_foreign_protocol(said)

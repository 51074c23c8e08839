"""DIGEST-MD5: the examples of RFC 2831, unusual names, and servers that fail to prove their identity."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from zkrecipes import AuthFailedError, DigestMD5
from zkrecipes.protocol.digest_md5 import DigestExchange

CHRIS = DigestMD5("chris", "secret")
CHALLENGE = b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8'
ZOOKEEPER = b'realm="zk-sasl-md5",nonce="c2VydmVy",charset=utf-8,algorithm=md5-sess'


def answer_to(challenge: bytes | None, user: DigestMD5 = CHRIS, uri: bytes = b"imap/elwood") -> bytes:
    exchange = DigestExchange(user, b"OA6MHXh6VqTrRk", uri)
    assert exchange.begin() == b""
    response = exchange.respond(challenge)
    assert response is not None
    return response


def why_not(challenge: bytes | None, user: DigestMD5 = CHRIS) -> str:
    with pytest.raises(AuthFailedError) as caught:
        answer_to(challenge, user)
    return caught.value.reason


# --- the examples of RFC 2831, section 4 -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "nonce", "own_nonce", "response", "proof"),
    [
        (
            b"imap",
            b"OA6MG9tEQGm2hh",
            b"OA6MHXh6VqTrRk",
            b"d388dad90d4bbd760a152321f2143af7",
            b"ea40f60335c427b5527b84dbabcdfffd",
        ),
        (
            b"acap",
            b"OA9BSXrbuRhWay",
            b"OA9BSuZWMSpW8m",
            b"6084c6db3fede7352c551284490fd0fc",
            b"2f0b3d7c3c2e486600ef710726aa2eae",
        ),
    ],
)
def test_the_examples_of_the_rfc(
    service: bytes, nonce: bytes, own_nonce: bytes, response: bytes, proof: bytes
) -> None:
    exchange = DigestExchange(CHRIS, own_nonce, service + b"/elwood.innosoft.com")
    assert exchange.begin() == b""
    challenge = CHALLENGE.replace(b"OA6MG9tEQGm2hh", nonce)
    assert exchange.respond(challenge) == (
        b'charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="%b",nc=00000001,cnonce="%b",'
        b'digest-uri="%b/elwood.innosoft.com",response=%b,qop=auth' % (nonce, own_nonce, service, response)
    )
    assert exchange.respond(b"rspauth=" + proof) is None


def test_all_zookeeper_servers_have_the_same_digest_uri() -> None:
    exchange = CHRIS.exchange("zk1.example.org", b"\x00\xff\x10")
    response = exchange.respond(ZOOKEEPER)
    assert response is not None
    assert b'digest-uri="zookeeper/zk-sasl-md5"' in response
    assert b'cnonce="AP8Q"' in response


# --- challenges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "challenge",
    [
        b'algorithm=md5-sess,charset=utf-8,nonce="OA6MG9tEQGm2hh",realm="elwood.innosoft.com"',
        b' , REALM = "elwood.innosoft.com" ,\r\n\tNonce=OA6MG9tEQGm2hh,, algorithm="md5-sess",charset=utf-8,',
        CHALLENGE.replace(b'qop="auth"', b'qop="auth-int, auth,auth-conf",maxbuf=65536,cipher="rc4,3des"'),
        CHALLENGE + b',realm="another.one",stale=true,unknown="\\"yes\\""',
    ],
    ids=["no qop", "blanks and empty elements", "protection offered", "a choice of realms"],
)
def test_a_challenge_may_be_written_in_many_ways(challenge: bytes) -> None:
    assert answer_to(challenge) == answer_to(CHALLENGE)


def test_a_challenge_may_have_no_realm() -> None:
    assert b"realm=" not in answer_to(b'nonce="n",algorithm=md5-sess,charset=utf-8')


@pytest.mark.parametrize(
    "challenge",
    [
        b"\x60\x82\x01\x00 kerberos",
        b"realm",
        b'nonce="n"',
        b'nonce="n",algorithm=md5',
        b'nonce="n",nonce="m",algorithm=md5-sess',
        b"algorithm=md5-sess",
        b'nonce="n,algorithm=md5-sess',
        b'nonce="n"algorithm=md5-sess',
        b'nonce="n",algorithm=md5-sess,realm="\xff",charset=utf-8',
        b'nonce="' + b"n" * 2048 + b'",algorithm=md5-sess',
    ],
)
def test_a_token_that_is_not_a_challenge_is_refused(challenge: bytes) -> None:
    assert why_not(challenge) == "the server did not answer in DIGEST-MD5: does it use another mechanism?"


@pytest.mark.parametrize("challenge", [None, b""])
def test_a_server_that_sends_no_challenge_has_no_sasl(challenge: bytes | None) -> None:
    assert why_not(challenge) == "the server sent no challenge: SASL is not configured there"


def test_a_server_that_requires_protection_is_refused() -> None:
    challenge = CHALLENGE.replace(b'qop="auth"', b'qop="auth-int,auth-conf"')
    assert (
        why_not(challenge)
        == "the server requires protection by SASL, which is not supported: use TLS instead"
    )


@given(st.binary(max_size=200))
def test_a_challenge_of_any_bytes_is_answered_or_refused(challenge: bytes) -> None:
    with contextlib.suppress(AuthFailedError):
        answer_to(challenge)


@pytest.mark.timeout(2)
def test_a_challenge_cannot_keep_the_parser_busy() -> None:
    for piece in (b'\\"', b" ", b"a", b'a="', b"\\", b",", b"a="):
        why_not(b'a="' + piece * (2000 // len(piece)))


# --- names, passwords, realms ----------------------------------------------------------------------------


def test_quotes_and_backslashes_are_escaped_and_are_hashed_as_they_are() -> None:
    user = DigestMD5('b"o\\b', 'p"\\w')
    response = answer_to(b'nonce="n\\"\\\\",algorithm=md5-sess,charset=utf-8,realm="a\\"b"', user)
    assert b'username="b\\"o\\\\b",realm="a\\"b",nonce="n\\"\\\\"' in response
    assert _response_in(response) == _expected(b'b"o\\b', b'a"b', b'p"\\w', nonce=b'n"\\')


@pytest.mark.parametrize(
    ("name", "password", "hashed_name", "hashed_password"),
    [
        # each of the three is hashed in Latin-1 if it is Latin-1 (RFC 2831, 2.1.2.1)
        ("zoë", "geheim", b"zo\xeb", b"geheim"),
        ("zoë", "日本", b"zo\xeb", "日本".encode()),
        ("日本", "pässwort", "日本".encode(), b"p\xe4sswort"),
    ],
)
def test_latin_1_text_is_hashed_as_latin_1_although_it_is_sent_in_utf_8(
    name: str, password: str, hashed_name: bytes, hashed_password: bytes
) -> None:
    response = answer_to(
        b'nonce="n",algorithm=md5-sess,charset=utf-8,realm="caf\xc3\xa9"', DigestMD5(name, password)
    )
    assert f'username="{name}",realm="café"'.encode() in response
    assert _response_in(response) == _expected(hashed_name, b"caf\xe9", hashed_password)


def test_a_server_without_utf_8_gets_latin_1() -> None:
    response = answer_to(b'nonce="n",algorithm=md5-sess,realm="caf\xe9"', DigestMD5("zoë", "pässwort"))
    assert b"charset" not in response
    assert b'username="zo\xeb",realm="caf\xe9"' in response
    assert _response_in(response) == _expected(b"zo\xeb", b"caf\xe9", b"p\xe4sswort")


@pytest.mark.parametrize(("name", "password"), [("日本", "pw"), ("bob", "日本")])
def test_a_server_without_utf_8_cannot_represent_every_name_or_password(name: str, password: str) -> None:
    with pytest.raises(AuthFailedError) as caught:
        answer_to(b'nonce="n",algorithm=md5-sess', DigestMD5(name, password))
    assert caught.value.reason == "the server requires Latin-1, but user or password has other characters"
    assert caught.value.__context__ is None  # which would contain the password


def _response_in(response: bytes) -> bytes:
    (found,) = re.findall(rb"response=(\w+)", response)
    return bytes(found)


def _expected(name: bytes, realm: bytes, password: bytes, nonce: bytes = b"n") -> bytes:
    def hexed(data: bytes) -> bytes:
        return hashlib.md5(data).hexdigest().encode()

    own_nonce = b"OA6MHXh6VqTrRk"
    key = hexed(hashlib.md5(b":".join((name, realm, password))).digest() + b":" + nonce + b":" + own_nonce)
    what = hexed(b"AUTHENTICATE:imap/elwood")
    return hexed(b":".join((key, nonce, b"00000001", own_nonce, b"auth", what)))


# --- the server's proof ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "final",
    [
        b"rspauth=ea40f60335c427b5527b84dbabcdfffe",
        b"rspauth=",
        b"rspauth=EA40F60335C427B5527B84DBABCDFFFD",
        b"rspauth=ea40f60335c427b5527b84dbabcdfffd,rspauth=ea40f60335c427b5527b84dbabcdfffd",
        b"response=d388dad90d4bbd760a152321f2143af7",
        b"\xff",
    ],
)
def test_a_server_that_proves_nothing_is_not_trusted(final: bytes) -> None:
    """Case 65."""
    exchange = DigestExchange(CHRIS, b"OA6MHXh6VqTrRk", b"imap/elwood.innosoft.com")
    exchange.respond(CHALLENGE)
    with pytest.raises(AuthFailedError):
        exchange.respond(final)


@pytest.mark.parametrize("final", [None, b""])
def test_a_server_without_a_final_token_has_not_accepted(final: bytes | None) -> None:
    """Case 65. An Apache server does this with `zookeeper.allowSaslFailedClients`."""
    exchange = DigestExchange(CHRIS, b"OA6MHXh6VqTrRk", b"imap/elwood.innosoft.com")
    exchange.respond(CHALLENGE)
    with pytest.raises(AuthFailedError, match="no proof that it accepts and knows the password"):
        exchange.respond(final)


# --- arguments -------------------------------------------------------------------------------------------


def test_the_password_is_not_shown() -> None:
    assert repr(CHRIS) == "DigestMD5(username='chris')"
    assert "secret" not in repr(CHRIS.exchange("zk", b""))
    assert pickle.loads(pickle.dumps(CHRIS)) == CHRIS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"bob", "open-sesame"), "username must be a str, not bytes"),
        (("bob", b"open-sesame"), "password must be a str, not bytes"),
        (("bob", None), "password must be a str, not NoneType"),
    ],
)
def test_a_wrong_type_is_an_error_that_shows_no_secret(arguments: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        DigestMD5(*arguments)
    assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "open-sesame"), "username must not be empty"),
        (("bob", "open-sesame\ud800"), "password must not contain a lone surrogate"),
        (("\udfff", "open-sesame"), "username must not contain a lone surrogate"),
    ],
)
def test_a_wrong_value_is_an_error_that_shows_no_secret(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        DigestMD5(*arguments)
    assert "open-sesame" not in str(caught.value)

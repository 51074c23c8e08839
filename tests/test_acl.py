"""Identities for ACLs: the digests that servers keep, and refused values."""

from __future__ import annotations

from typing import Any

import kazoo.security
import pytest

from zkrecipes import Id, digest_id

SECRET = "open-sesame"


@pytest.mark.parametrize(("user", "password"), [("super", "test"), ("zoë", "pässwort: 秘密"), ("", "")])
def test_the_identity_is_that_of_kazoo(user: str, password: str) -> None:
    credential = kazoo.security.make_digest_acl_credential(user, password)
    assert digest_id(user, password) == Id("digest", credential)


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        # from ZooKeeper's own DigestAuthenticationProvider, of "super:test"
        ("SHA-1", "D/InIHSb7yEEbrWz8b9l71RjZJU="),
        ("SHA1", "D/InIHSb7yEEbrWz8b9l71RjZJU="),
        ("SHA-256", "wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig="),
        ("SHA3-256", "cRy/KPYuDpW/dtsepniTMpuiuupnWgdU9txltIfv3hA="),
        (
            "SHA-512",
            "cMAGk13FCMtJkaVQImGEKhjqoGELCiVjYdIhiD8stB1FnIpdGeFvKwAHh5mf4tUYmBR2ZY9181dZTXEHMlkVhg==",
        ),
    ],
)
def test_servers_may_have_another_algorithm(algorithm: str, digest: str) -> None:
    assert digest_id("super", "test", algorithm=algorithm) == Id("digest", f"super:{digest}")


@pytest.mark.parametrize("algorithm", ["SHA-384", "SHA3-512", "MD5"])
def test_an_algorithm_has_the_servers_name(algorithm: str) -> None:
    assert len({digest_id("a", "b", algorithm=each).id for each in (algorithm, "SHA-1")}) == 2


@pytest.mark.parametrize("algorithm", ["", "SHA-0", "SHAKE-128", "shake_128"])
def test_an_unknown_algorithm_is_a_value_error(algorithm: str) -> None:
    with pytest.raises(
        ValueError,
        match=f"such as 'SHA-256', not '{algorithm}'",
    ) as caught:
        digest_id("bob", SECRET, algorithm=algorithm)
    assert SECRET not in str(caught.value)


def test_a_colon_in_the_name_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="user must not contain ':', got 'a:b'"):
        digest_id("a:b", SECRET)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"bob", SECRET), "user must be a str, not bytes"),
        (("bob", 5), "password must be a str, not int"),
    ],
)
def test_a_value_that_is_not_a_str_is_a_type_error(arguments: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        digest_id(*arguments)
    assert SECRET not in str(caught.value)

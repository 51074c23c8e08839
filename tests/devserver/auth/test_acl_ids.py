"""The ids that a server accepts in an ACL."""

from __future__ import annotations

import pytest

from tests.fuzz.hangs import interrupt_hangs
from zkrecipes.devserver.auth.acl_ids import admits_address, is_valid_id

IPS = {
    "127.0.0.1": True,
    "127.0.0.1/8": True,
    "10.0.0.0/0": True,
    "10.0.0.0/+8": True,
    "010.0.0.1": True,
    "+1.2.3.4": True,
    "::1": True,
    "2001:db8::/32": True,
    "10.0.0.0/33": False,
    "10.0.0.0/-1": False,
    "10.0.0.0/": False,
    "10.0.0": False,
    "10.0.0.256": False,
    "10.0.0.x": False,
    "127.0.0.1/8/9": False,
    "fe80::1%eth0": False,
    "2001:db8::/129": False,
    "localhost": False,
    " 127.0.0.1": False,
    "": False,
}
# Each name, and whether `new X500Principal(name)` of OpenJDK 17 accepts it.
NAMES = {
    "CN=a": True,
    "": True,
    "cn=a,O=b": True,
    "CN=a;O=b": True,
    "CN=a+OU=b": True,
    "CN=": True,
    "CN = a , O = b": True,
    'CN="a,b"': True,
    r"CN=a\,b": True,
    "1.2.3=x": True,
    "oid.1.2.3=x": True,
    "EMAILADDRESS=a@b": True,
    "CN=#04024869": True,
    "CN=a=b": True,
    "CN=ä b": True,
    "CN=a#b": True,
    "bob": False,
    " ": False,
    "CN=a,": False,
    ",CN=a": False,
    "CN": False,
    "=a": False,
    'CN="a': False,
    "CN=a\\": False,
    "foo=bar": False,
    "9.9=x": False,
    "E=a": False,
    "CN=#zz": False,
    'CN="a"x': False,
    "CN=a<b": False,
    "CN=a,,O=b": False,
    "1=x": False,
}


@pytest.mark.parametrize(("name", "is_valid"), IPS.items())
def test_an_address_or_a_network_is_valid_as_java_reads_it(name: str, is_valid: bool) -> None:
    assert is_valid_id("ip", name) is is_valid


@pytest.mark.parametrize(("name", "is_valid"), NAMES.items())
def test_a_distinguished_name_is_valid_as_java_reads_it(name: str, is_valid: bool) -> None:
    assert is_valid_id("x509", name) is is_valid


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [("bob:abc", True), (":x", True), ("bob", False), ("bob:", False), ("bob:a:b", False), ("", False)],
)
def test_a_digest_id_has_two_parts(name: str, is_valid: bool) -> None:
    assert is_valid_id("digest", name) is is_valid


def test_other_schemes_are_not_known() -> None:
    assert not is_valid_id("nosuch", "a")


@pytest.mark.parametrize(
    ("name", "address", "is_in"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.9/8", "127.1.2.3", True),
        ("010.0.0.1", "10.0.0.1", True),
        ("2001:db8::/32", "2001:db8::7", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::1", False),
        ("10.0.0.0/8", "", False),
    ],
)
def test_a_network_lets_its_addresses_in(name: str, address: str, is_in: bool) -> None:
    assert admits_address(name, address) is is_in


@pytest.mark.parametrize(
    "name", ["CN=" + " " * 20_000 + "<", "CN=a" + " " * 20_000 + "<", " " * 20_000 + "<"]
)
def test_a_long_id_of_blanks_does_not_hold_the_server_up(name: str) -> None:
    with interrupt_hangs():
        assert not is_valid_id("x509", name)

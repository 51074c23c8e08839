"""The identities of clients, and the permissions that ACLs grant them."""

from __future__ import annotations

import pytest

from zkrecipes.codec.records import ACL, ClientInfo, Id
from zkrecipes.devserver.auth.access import (
    authenticate,
    check_permission,
    client_infos,
    digest_id,
    expand_acl,
    is_permitted,
    mask_passwords,
)
from zkrecipes.enums import Perms
from zkrecipes.errors import InvalidACLError, NoAuthError

ANYONE = Id("world", "anyone")
ALICE = Id("digest", digest_id("alice:secret"))
LOCAL = Id("ip", "127.0.0.1")
SUPER = Id("super", "")


def test_the_digest_id_is_the_one_that_the_documentation_gives() -> None:
    # ZooKeeper Programmer's Guide: "super:D/InIHSb7yEEbrWz8b9l71RjZJU=" is super:test.
    assert digest_id("super:test") == "super:D/InIHSb7yEEbrWz8b9l71RjZJU="


@pytest.mark.parametrize(
    ("acl", "ids", "permitted"),
    [
        ([ACL(Perms.READ, ANYONE)], [LOCAL], True),
        ([ACL(Perms.WRITE, ANYONE)], [LOCAL], False),
        ([], [LOCAL], True),
        ([ACL(Perms.READ, ALICE)], [LOCAL], False),
        ([ACL(Perms.READ, ALICE)], [LOCAL, ALICE], True),
        ([ACL(Perms.READ, Id("digest", "alice:other"))], [ALICE], False),
        ([ACL(Perms.WRITE, ALICE)], [ALICE, SUPER], True),
        ([ACL(Perms.READ, LOCAL)], [LOCAL], True),
        ([ACL(Perms.READ, Id("ip", "127.0.0.0/8"))], [LOCAL], True),
        ([ACL(Perms.READ, Id("ip", "127.1.2.3/8"))], [LOCAL], True),
        ([ACL(Perms.READ, Id("ip", "10.0.0.0/8"))], [LOCAL], False),
        ([ACL(Perms.READ, Id("ip", "::1"))], [LOCAL], False),
        ([ACL(Perms.READ, Id("ip", "::1/64"))], [Id("ip", "::2")], True),
        ([ACL(Perms.READ, Id("ip", "somewhere"))], [Id("ip", "somewhere")], True),
        ([ACL(0, ANYONE)], [LOCAL], False),
    ],
)
def test_reading_is_permitted(acl: list[ACL], ids: list[Id], permitted: bool) -> None:
    assert is_permitted(acl, Perms.READ, ids) is permitted


def test_any_of_several_permissions_is_enough() -> None:
    acl = [ACL(Perms.READ, ANYONE)]
    check_permission(acl, Perms.READ | Perms.ADMIN, [LOCAL])
    with pytest.raises(NoAuthError, match="/a"):
        check_permission(acl, Perms.ADMIN, [LOCAL], "/a")


def test_auth_is_spelled_out_and_repetitions_go() -> None:
    everything = ACL(31, Id("auth", ""))
    assert expand_acl([everything, everything], [LOCAL, ALICE], "/a") == (ACL(31, ALICE),)
    assert expand_acl([ACL(1, ANYONE), ACL(1, ANYONE)], [LOCAL], "/a") == (ACL(1, ANYONE),)


@pytest.mark.parametrize("entry", [ANYONE, ALICE, LOCAL, Id("ip", "10.0.0.0/8"), Id("ip", "::1")])
def test_a_valid_entry_stays_as_it_is(entry: Id) -> None:
    assert expand_acl([ACL(31, entry)], [LOCAL], "/a") == (ACL(31, entry),)


@pytest.mark.parametrize(
    "entry",
    [
        Id("world", "somebody"),
        Id("auth", ""),
        Id("digest", "no-colon"),
        Id("digest", "a:b:c"),
        Id("digest", "a:"),
        Id("ip", "nowhere"),
        Id("ip", "10.0.0.0/33"),
        Id("super", ""),
        Id("no such scheme", "x"),
    ],
)
def test_an_invalid_entry_is_refused(entry: Id) -> None:
    with pytest.raises(InvalidACLError):
        expand_acl([ACL(1, ANYONE), ACL(31, entry)], [LOCAL], "/a")


@pytest.mark.parametrize("acl", [None, []])
def test_an_empty_acl_is_refused(acl: list[ACL] | None) -> None:
    with pytest.raises(InvalidACLError):
        expand_acl(acl, [LOCAL], "/a")


@pytest.mark.parametrize(
    ("scheme", "auth", "gained"),
    [
        ("digest", b"alice:secret", [ALICE]),
        ("digest", b"super:test", [SUPER, Id("digest", digest_id("super:test"))]),
        ("digest", b"", [Id("digest", digest_id(""))]),
        ("digest", None, None),
        ("digest", b"\xff\xfe", [Id("digest", digest_id("\ufffd\ufffd"))]),
        ("ip", b"ignored", [Id("ip", "10.1.2.3")]),
        ("world", b"", None),
        ("sasl", b"", None),
        ("", b"", None),
    ],
)
def test_an_auth_packet_gains_identities(scheme: str, auth: bytes | None, gained: list[Id] | None) -> None:
    super_digest = digest_id("super:test")
    assert authenticate(scheme, auth, address="10.1.2.3", super_digest=super_digest) == gained


def test_without_a_super_digest_there_is_no_super_user() -> None:
    assert authenticate("digest", b"super:test", address="x", super_digest=None) == [
        Id("digest", digest_id("super:test"))
    ]


def test_password_hashes_are_masked_and_users_reported() -> None:
    assert mask_passwords([ACL(31, ALICE), ACL(1, ANYONE)]) == [
        ACL(31, Id("digest", "alice:x")),
        ACL(1, ANYONE),
    ]
    assert client_infos([LOCAL, ALICE, SUPER]) == [
        ClientInfo("ip", "127.0.0.1"),
        ClientInfo("digest", "alice"),
        ClientInfo("super", ""),
    ]

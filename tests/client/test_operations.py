"""From calls to requests: modes, versions, times to live, and empty lists that a server sends as null."""

from __future__ import annotations

from typing import Any, cast

import pytest

from zkrecipes import ACL, ANYONE_ID, OPEN_ACL, READ_ACL, Id, NoAuthError, NoNodeError, Stat
from zkrecipes.client.operations import Operations, TreeView
from zkrecipes.codec.messages import (
    ACLReply,
    ChildrenNumberReply,
    ChildrenReply,
    Create2Request,
    CreateContainerRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    EphemeralsReply,
    GetChildren2Reply,
    GetEphemeralsRequest,
    ReconfigRequest,
    SetDataRequest,
    WhoAmIReply,
)
from zkrecipes.codec.records import ClientInfo
from zkrecipes.enums import CreateMode

STAT = Stat(*range(11))


@pytest.fixture
def operations() -> Operations:
    return Operations(TreeView("/app", None, 1000))


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, CreateMode.PERSISTENT),
        ({"ephemeral": True}, CreateMode.EPHEMERAL),
        ({"sequential": True}, CreateMode.PERSISTENT_SEQUENTIAL),
        ({"ephemeral": True, "sequential": True}, CreateMode.EPHEMERAL_SEQUENTIAL),
        ({"container": True}, CreateMode.CONTAINER),
        ({"ttl": 1.5}, CreateMode.PERSISTENT_WITH_TTL),
        ({"ttl": 1.5, "sequential": True}, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL),
    ],
)
def test_the_kind_of_a_znode_is_a_mode(
    operations: Operations, options: dict[str, Any], mode: CreateMode
) -> None:
    made = operations.create("/n", b"1", **options), operations.create_with_stat("/n", b"1", **options)
    for request in (made[0].request, made[1].request):
        assert isinstance(request, (CreateRequest, Create2Request, CreateContainerRequest, CreateTTLRequest))
        assert (request.path, request.data, request.flags) == ("/app/n", b"1", mode)
        assert isinstance(request, CreateTTLRequest) == ("ttl" in options)
        assert isinstance(request, CreateContainerRequest) == ("container" in options)
        if isinstance(request, CreateTTLRequest):
            assert request.ttl_ms == 1500


def test_a_sequential_name_may_be_empty(operations: Operations) -> None:
    request = operations.create("/locks/", sequential=True).request
    assert isinstance(request, CreateRequest)
    assert request.path == "/app/locks/"


def test_the_longest_time_to_live_is_what_forty_bits_hold(operations: Operations) -> None:
    longest = (2**40 - 1) / 1000
    request = operations.create("/n", ttl=longest).request
    assert isinstance(request, CreateTTLRequest)
    assert request.ttl_ms == 2**40 - 1
    with pytest.raises(ValueError, match="ttl must be between"):
        operations.create("/n", ttl=longest + 0.001)


def test_a_version_of_none_means_any_and_zero_means_zero(operations: Operations) -> None:
    """Case 49."""
    any_version, zero = operations.delete("/n").request, operations.delete("/n", version=0).request
    assert isinstance(any_version, DeleteRequest)
    assert isinstance(zero, DeleteRequest)
    assert (any_version.version, zero.version) == (-1, 0)
    request = operations.set("/n", None, version=5).request
    assert isinstance(request, SetDataRequest)
    assert (request.data, request.version) == (None, 5)


def test_lists_that_a_server_sends_as_null_are_empty(operations: Operations) -> None:
    assert operations.get_children("/n").convert(ChildrenReply(None)) == []
    assert operations.get_children_with_stat("/n").convert(GetChildren2Reply(None, STAT)) == ([], STAT)
    assert operations.get_acl("/n").convert(ACLReply(None, STAT)) == ([], STAT)


def test_only_a_missing_znode_means_that_it_does_not_exist(operations: Operations) -> None:
    recover = operations.exists("/n").recover
    assert recover is not None
    assert recover(NoNodeError("/app/n")) is None
    with pytest.raises(NoAuthError):
        recover(NoAuthError("/app/n"))


@pytest.mark.parametrize(
    ("acl", "error", "message"),
    [
        ([], ValueError, "acl must have at least one entry"),
        ((), ValueError, "acl must have at least one entry"),
        (31, TypeError, "acl must be a list of ACL entries, not 31"),
        (ACL(31, ANYONE_ID), TypeError, "acl must be a list of ACL entries, not one entry"),
        (["world:anyone:cdrwa"], TypeError, "acl must be a list of ACL entries, not of 'world:anyone:cdrwa'"),
        (
            [ACL(31, cast("Id", "bob"))],
            TypeError,
            "must be an Id of two strings, not 'bob'",
        ),
        (
            [ACL(31, cast("Id", ("world", "anyone")))],
            TypeError,
            r"the id of an ACL entry must be an Id of two strings, not \('world', 'anyone'\)",
        ),
        (
            [ACL(31, Id("digest", cast("str", None)))],
            TypeError,
            "the id of an ACL entry must be an Id of two strings, not Id",
        ),
        ([ACL(cast("int", "rw"), ANYONE_ID)], TypeError, "the perms of an ACL entry must be Perms, not 'rw'"),
        ([ACL(32, ANYONE_ID)], ValueError, "the perms of an ACL entry must be from 0 to 31"),
        ([ACL(-1, ANYONE_ID)], ValueError, "the perms of an ACL entry must be from 0 to 31"),
    ],
)
def test_an_acl_that_cannot_be_right_is_named(
    operations: Operations, acl: Any, error: type[Exception], message: str
) -> None:
    for ask in (
        lambda: operations.create("/n", acl=acl),
        lambda: operations.set_acl("/n", acl),
        lambda: TreeView("", acl, 1000),
    ):
        with pytest.raises(error, match=message):
            ask()


def test_an_acl_may_be_any_iterable(operations: Operations) -> None:
    request = operations.create("/n", acl=iter(READ_ACL)).request  # type: ignore[arg-type]  # a careless caller
    assert isinstance(request, CreateRequest)
    assert request.acl == list(READ_ACL)


def test_the_default_acl_is_open_unless_another_is_given() -> None:
    for default, expected in ((None, OPEN_ACL), (READ_ACL, READ_ACL)):
        request = Operations(TreeView("", default, 1000)).create("/n").request
        assert isinstance(request, CreateRequest)
        assert request.acl == list(expected)


@pytest.mark.parametrize(
    ("chroot", "prefix", "sent"),
    [
        ("", "/", "/"),
        ("", "/a", "/a"),
        ("/app", "/", "/app/"),
        ("/app", "/a/", "/app/a/"),
    ],
)
def test_a_prefix_is_not_a_path_but_lies_below_the_chroot(chroot: str, prefix: str, sent: str) -> None:
    operation = Operations(TreeView(chroot, None, 1000)).get_ephemerals(prefix)
    assert operation.request == GetEphemeralsRequest(sent)
    assert operation.convert(EphemeralsReply([f"{chroot}/a/b"])) == ["/a/b"]
    assert operation.convert(EphemeralsReply(None)) == []


def test_a_prefix_begins_at_the_root(operations: Operations) -> None:
    with pytest.raises(ValueError, match="a"):
        operations.get_ephemerals("a")


def test_identities_and_numbers_come_bare(operations: Operations) -> None:
    whoami = operations.whoami()
    assert whoami.convert(WhoAmIReply([ClientInfo("ip", "::1")])) == [Id("ip", "::1")]
    assert whoami.convert(WhoAmIReply(None)) == []
    assert operations.get_all_children_number("/").convert(ChildrenNumberReply(3)) == 3


def test_members_are_one_string_and_an_empty_list_is_null(operations: Operations) -> None:
    joining = operations.reconfig(joining=["server.1=a:1:2;3", "server.2=b:1:2;3"], leaving=[3, "4"])
    assert joining.request == ReconfigRequest("server.1=a:1:2;3,server.2=b:1:2;3", "3,4", None, -1)
    members = operations.reconfig(new_members=["server.1=a:1:2;3"], from_version=2**40)
    assert members.request == ReconfigRequest(None, None, "server.1=a:1:2;3", 2**40)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, ValueError, "reconfig must be given joining, leaving or new_members"),
        (
            {"joining": ["a"], "new_members": ["b"]},
            ValueError,
            "must be given without joining",
        ),
        (
            {"leaving": [1], "new_members": ["b"]},
            ValueError,
            "must be given without joining",
        ),
        ({"leaving": [1], "from_version": -1}, ValueError, "not be negative"),
        ({"joining": "server.1=a"}, TypeError, "not one string"),
    ],
)
def test_a_reconfiguration_that_says_nothing_or_too_much_is_refused(
    operations: Operations, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        operations.reconfig(**options)


# --- the view of the tree ---


@pytest.fixture
def view() -> TreeView:
    return TreeView("/app", READ_ACL, 1000)


def test_paths_outside_the_chroot_are_seen_as_they_are(view: TreeView) -> None:
    assert view.full("/") == "/app"
    assert view.seen("/app") == "/"
    assert view.seen("/app/n") == "/n"
    assert view.seen("/application") == "/application"


def test_a_prefix_keeps_the_slash_of_the_root(view: TreeView) -> None:
    assert view.full_prefix("/") == "/app/"
    assert view.full_prefix("/n-") == "/app/n-"
    assert view.without_chroot().full_prefix("/") == "/"


def test_a_view_below_a_view_has_both_chroots_and_the_same_options(view: TreeView) -> None:
    below = view.under("/team")
    assert below.full("/n") == "/app/team/n"
    assert (below.default_acl, below.data_size_max) == (list(READ_ACL), 1000)
    assert below.without_chroot().full("/n") == "/n"


def test_only_paths_that_a_server_has_listed_are_not_checked(view: TreeView) -> None:
    bad = "/a\x01b"
    for convert in (view.full, view.full_prefix, view.under):
        with pytest.raises(ValueError, match="must not contain"):
            convert(bad)
    assert view.for_listed().full(bad) == "/app" + bad
    assert view.for_listed().full_prefix(bad) == "/app" + bad

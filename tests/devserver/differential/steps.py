"""The steps of a history as values, and the strategies that generate them.

A path that starts with `~` is below the history's own root. Other paths are literal, and chosen so that no
request for them can change anything that another history would see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from zkrecipes.codec.messages import (
    AddWatchRequest,
    AuthRequest,
    CheckRequest,
    CheckWatchesRequest,
    Create2Request,
    CreateContainerRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    ReconfigRequest,
    RemoveWatchesRequest,
    Request,
    SetACLRequest,
    SetDataRequest,
    SetWatches2Request,
    SetWatchesRequest,
    SyncRequest,
    WhoAmIRequest,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiRequest
from zkrecipes.codec.records import ACL, Id
from zkrecipes.devserver.auth.access import digest_id

__all__ = [
    "OPEN",
    "SESSIONS",
    "Ask",
    "End",
    "History",
    "Leave",
    "Mangle",
    "Return",
    "SayGarbage",
    "Step",
    "histories",
]

SESSIONS = 3


class Ask(NamedTuple):
    """A session sends requests together."""

    number: int
    requests: tuple[Request[Any], ...]


class SayGarbage(NamedTuple):
    """A session sends an opcode with the bytes of another request."""

    number: int
    opcode: int
    body: bytes


class Mangle(NamedTuple):
    """A session sends a request with some bytes replaced, or with its end missing."""

    number: int
    request: Request[Any]
    position: int
    """The offset in the body."""
    bytes: bytes
    """The bytes at that offset; if empty, the body ends there."""


class Leave(NamedTuple):
    """A session loses its connection, but stays alive."""

    number: int


class Return(NamedTuple):
    """A session is attached again on another connection, and loses the one that it had."""

    number: int


class End(NamedTuple):
    """A session is closed, and another one takes its number."""

    number: int


Step = Ask | SayGarbage | Mangle | Leave | Return | End
History = Sequence[Step]

OPEN = [ACL(31, Id("world", "anyone"))]
_ALICE = Id("digest", digest_id("alice:secret"))

_PATHS = st.sampled_from(
    [
        "~/a", "~/a", "~/a", "~/b", "~/a/b", "~/a/b", "~/a/b/c", "~/e", "~/e/x", "~/c", "~/c/x",
        "~/a/s0000000001", "~/a/s0000000002", "~/s0000000006", "~/t", "~/t/x", "~/h", "~/h/x", "~/r", "~/r/x",
        "~",
    ]
)  # fmt: skip
_SEQUENCE_PATHS = st.sampled_from(["~/a/s", "~/s", "~/a/", "~/c/s", "~/e/s", "~/a/b/"])
_BAD_PATHS = st.sampled_from(
    [
        "a", "", "~/", "~/a/", "~//a", "~/a//b", "~/./a", "~/a/..", "~/a\0b", "~/a\x01", "~/\ue000",
        "~/\uffff", "~/\U0001f600", "/none/x",
    ]
)  # fmt: skip
# These znodes exist on every server, so the requests for them must fail.
_SPECIAL_PATHS = st.sampled_from(["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"])
_DATA = st.sampled_from([b"", b"x", b"hello", None])
_VERSIONS = st.sampled_from([-1, -1, -1, 0, 1, 2, -2])
_WATCH = st.booleans()
_ODD_ACLS = st.sampled_from(
        [
            [], None, OPEN + OPEN,
            *(
                [ACL(perms, Id(scheme, name))]
                for perms, scheme, name in [
                    (1, "world", "anyone"), (15, "world", "anyone"), (4, "world", "anyone"),
                    (0, "world", "anyone"), (31, "world", "x"), (31, "auth", ""), (1, "auth", "ignored"),
                    (31, *_ALICE), (31, "digest", "x"), (31, "digest", "a:b:c"), (31, "digest", "a:"),
                    (31, "ip", "127.0.0.1"), (31, "ip", "10.0.0.0/8"), (31, "ip", "127.0.0.0/8"),
                    (31, "ip", "nonsense"), (31, "ip", "127.0.0.0/33"), (31, "ip", "127.0.0/8"),
                    (31, "ip", "127.0.0.1/0"), (31, "ip", "::1"), (31, "nosuch", "x"), (31, "super", ""),
                    (31, "sasl", "bob"), (31, "x509", "CN=bob"), (31, "", ""),
                ]
            ),
            [ACL(1, Id("world", "anyone")), ACL(30, _ALICE)],
            [ACL(30, Id("auth", "")), ACL(1, Id("world", "anyone")), ACL(30, Id("auth", ""))],
        ]
)  # fmt: skip


def _mixed(*weighted: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of several strategies with these weights; `one_of` would flatten nested strategies."""
    strategies = [strategy for weight, strategy in weighted for _ in range(weight)]
    return st.integers(0, len(strategies) - 1).flatmap(strategies.__getitem__)


def _any_path(paths: st.SearchStrategy[str] = _PATHS) -> st.SearchStrategy[str]:
    return _mixed((15, paths), (1, _BAD_PATHS))


def _path_to_come_or_go() -> st.SearchStrategy[str]:
    return _mixed((16, _any_path()), (1, _SPECIAL_PATHS))


def _acls() -> st.SearchStrategy[list[ACL] | None]:
    return _mixed((9, st.just(OPEN)), (1, _ODD_ACLS))


def _odd_acls() -> st.SearchStrategy[list[ACL] | None]:
    return _mixed((2, _ODD_ACLS), (1, st.just(OPEN)))


def _creates() -> st.SearchStrategy[Request[Any]]:
    plain, sequential = _path_to_come_or_go(), _any_path(_SEQUENCE_PATHS)
    return st.one_of(
        st.builds(CreateRequest, plain, _DATA, _acls(), st.sampled_from([0, 0, 0, 1])),
        st.builds(CreateRequest, sequential, _DATA, _acls(), st.sampled_from([2, 3])),
        st.builds(Create2Request, plain, _DATA, _acls(), st.sampled_from([0, 0, 1])),
        st.builds(Create2Request, sequential, _DATA, _acls(), st.sampled_from([2, 3])),
    )


def _odd_creates() -> st.SearchStrategy[Request[Any]]:
    """Containers, TTLs, and flags that do not fit their opcode."""
    ttls = st.sampled_from([10**9, 10**9, (1 << 40) - 1, 1 << 40, 0, -1])
    return st.one_of(
        st.builds(CreateContainerRequest, _any_path(), _DATA, _acls(), st.sampled_from([4, 4, 4, 0, 1, 2])),
        st.builds(CreateTTLRequest, _any_path(), _DATA, _acls(), st.sampled_from([5, 5, 5, 6]), ttls),
        # The TTL is never below 0: a real server accepts that, and crashes (`EphemeralType.validateTTL`).
        st.builds(CreateTTLRequest, _any_path(), _DATA, _acls(), st.sampled_from([0, 1]), st.just(10**9)),
        st.builds(CreateRequest, _any_path(), _DATA, _acls(), st.sampled_from([4, 5, 6, 7, -1])),
        st.builds(Create2Request, _any_path(), _DATA, _acls(), st.sampled_from([4, 5, 6, 9])),
    )


def _changes() -> st.SearchStrategy[Request[Any]]:
    return st.one_of(
        st.builds(DeleteRequest, _path_to_come_or_go(), _VERSIONS),
        st.builds(SetDataRequest, _any_path(), _DATA, _VERSIONS),
    )


def _rare_writes() -> st.SearchStrategy[Request[Any]]:
    return st.one_of(
        st.builds(SetACLRequest, _any_path(), _odd_acls(), _VERSIONS),
        st.builds(SetACLRequest, _any_path(), _odd_acls(), _VERSIONS),
        st.builds(DeleteContainerRequest, _any_path()),
        st.just(ReconfigRequest("server.2=127.0.0.1:2:3;4", None, None, -1)),
    )


def _multis() -> st.SearchStrategy[Request[Any]]:
    operations = _mixed(
        (4, _creates()),
        (4, _changes()),
        (2, st.builds(CheckRequest, _any_path(), _VERSIONS)),
        (1, _odd_creates()),
    )
    return st.lists(operations, max_size=4).map(lambda each: MultiRequest(tuple(each)))


def _paths_to_read() -> st.SearchStrategy[str]:
    """Paths without those that all histories share: their Stats count the changes of all histories."""
    return _mixed((15, _PATHS), (1, st.sampled_from(["~/", "~/a\0b", "none", "/none"])))


def _reads() -> st.SearchStrategy[Request[Any]]:
    paths = _paths_to_read()
    return st.one_of(
        st.builds(ExistsRequest, paths, _WATCH),
        st.builds(GetDataRequest, paths, _WATCH),
        st.builds(GetChildrenRequest, paths, _WATCH),
        st.builds(GetChildren2Request, paths, _WATCH),
    )


def _rare_reads() -> st.SearchStrategy[Request[Any]]:
    paths = _paths_to_read()
    pairs = st.one_of(
        st.builds(GetDataRequest, _PATHS, _WATCH), st.builds(GetChildrenRequest, _PATHS, _WATCH)
    )
    return st.one_of(
        st.builds(GetACLRequest, paths),
        st.builds(SyncRequest, _any_path()),
        st.builds(GetEphemeralsRequest, st.sampled_from(["~", "~/a", "~/e", " ~", "none"])),
        st.just(WhoAmIRequest()),
        st.builds(GetAllChildrenNumberRequest, paths),
        st.lists(pairs, max_size=4).map(lambda each: MultiReadRequest(tuple(each))),
    )


def _watch_requests() -> st.SearchStrategy[Request[Any]]:
    kinds = st.sampled_from([1, 2, 3, 4, 5, 3, 0, 6])
    # Relative to the zxid of the history's root.
    since = st.integers(0, 40)
    one, two = st.lists(_PATHS, max_size=1), st.lists(_PATHS, max_size=2)
    return st.one_of(
        st.builds(AddWatchRequest, _any_path(), st.sampled_from([0, 1, 0, 1, 0, 1, 2, -1])),
        st.builds(CheckWatchesRequest, _any_path(), kinds),
        st.builds(RemoveWatchesRequest, _any_path(), kinds),
        st.builds(SetWatchesRequest, since, two, one, two),
        st.builds(SetWatches2Request, since, two, one, two, one, one),
    )


def _requests() -> st.SearchStrategy[Request[Any]]:
    return _mixed(
        (4, _creates()),
        (4, _changes()),
        (4, _reads()),
        (3, _watch_requests()),
        (2, _multis()),
        (1, _odd_creates()),
        (1, _rare_writes()),
        (2, _rare_reads()),
    )


def _steps() -> st.SearchStrategy[Step]:
    number = st.integers(0, SESSIONS - 1)
    alone = _requests().map(lambda request: (request,))
    together = st.lists(_requests(), min_size=2, max_size=5).map(tuple)
    # A server answers these at once, before queued requests, so they are sent alone.
    identities = st.builds(
        AuthRequest, st.just(0), st.sampled_from(["digest"] * 4 + ["ip", "nosuch"]), st.just(b"alice:secret")
    ).map(lambda request: (request,))
    # The server closes the connection, perhaps before it answers the requests behind these.
    checks = st.builds(CheckRequest, _any_path(), _VERSIONS).map(lambda request: (request,))
    garbage = st.sampled_from([b"", b"\xff\xff\xff\xfe", b"\0\0", b"\0\0\0\7abc"])
    opcodes = st.sampled_from(
        [1, 2, 3, 4, 5, 8, 9, 12, 13, 14, 16, 17, 18, 22, 101, 103, 104, 105, 106, 0, 999, -7]
    )
    return _mixed(
        (27, st.builds(Ask, number, alone)),
        (9, st.builds(Ask, number, together)),
        (1, st.builds(Ask, number, _mixed((3, identities), (1, checks)))),
        (1, st.builds(SayGarbage, number, opcodes, garbage)),
        (2, _mangled(number)),
        (1, st.builds(Leave, number)),
        (2, st.builds(Return, number)),
        (1, st.builds(End, number)),
    )


def _mangled(number: st.SearchStrategy[int]) -> st.SearchStrategy[Step]:
    """Requests that end too early, or whose path has an impossible length.

    A null path is not among them. To the dev server it is an empty path, as kazoo sends it; a real server
    answers -5.
    """
    lengths = st.sampled_from([b"\x7f\xff\xff\xff", b"\x80\0\0\0"])
    with_a_path = _mixed((2, _creates()), (2, _changes()), (1, _rare_writes()), (2, _reads()))
    return _mixed(
        (2, st.builds(Mangle, number, _requests(), st.integers(0, 80), st.just(b""))),
        (1, st.builds(Mangle, number, with_a_path, st.just(0), lengths)),
    )


def histories() -> st.SearchStrategy[History]:
    """Generated histories. All start with the same steps, so that there are znodes to read."""
    # Long histories find more, but are rare without a minimum. Shrinking turns unneeded steps into empty
    # ones.
    steps = st.lists(_mixed((1, st.just(_NOTHING)), (30, _steps())), min_size=25, max_size=45)
    return steps.map(lambda each: [*_BEGINNING, *(step for step in each if step != _NOTHING)])


_NOTHING = Ask(0, ())
_BEGINNING = (
    Ask(
        0,
        (
            CreateRequest("~/a", b"hello", OPEN, 0),
            CreateRequest("~/a/b", b"", OPEN, 0),
            CreateContainerRequest("~/c", None, OPEN, 4),
            CreateTTLRequest("~/t", b"x", OPEN, 5, 10**9),
            CreateRequest("~/h", b"hidden", [ACL(31, _ALICE)], 0),
            CreateRequest("~/r", b"read", [ACL(1, Id("world", "anyone")), ACL(30, _ALICE)], 0),
        ),
    ),
    Ask(1, (CreateRequest("~/e", b"", OPEN, 1),)),
)

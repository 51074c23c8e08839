"""Records and their bytes: at least one line for every record, with nulls and the edges of numbers.

The bytes are those that ZooKeeper's own classes write, if they have the record (see `test_against_java.py`).
"""

from __future__ import annotations

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    ACLReply,
    AddWatchRequest,
    AuthRequest,
    CheckRequest,
    CheckWatchesRequest,
    ChildrenNumberReply,
    ChildrenReply,
    CloseSessionRequest,
    ConnectReply,
    ConnectRequest,
    Create2Reply,
    Create2Request,
    CreateContainerRequest,
    CreateReply,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    Empty,
    EphemeralsReply,
    ErrorReply,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Reply,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    GetMaxChildrenReply,
    GetMaxChildrenRequest,
    MultiHeader,
    PingRequest,
    ReconfigRequest,
    RemoveWatchesRequest,
    ReplyHeader,
    RequestHeader,
    SASLReply,
    SASLRequest,
    SetACLRequest,
    SetDataRequest,
    SetMaxChildrenRequest,
    SetWatches2Request,
    SetWatchesRequest,
    StatReply,
    SyncReply,
    SyncRequest,
    WatchEventMessage,
    WhoAmIReply,
    WhoAmIRequest,
)
from zkrecipes.codec.records import ACL, ClientInfo, Id, Node, Stat, StatPersisted

STAT = Stat(
    0x100000001,
    0x100000002,
    1_700_000_000_000,
    1_700_000_000_001,
    3,
    4,
    5,
    0x0123456789ABCDEF,
    6,
    7,
    0x100000003,
)
STAT_BYTES = (
    "0000000100000001 0000000100000002 0000018bcfe56800 0000018bcfe56801 "
    "00000003 00000004 00000005 0123456789abcdef "
    "00000006 00000007 0000000100000003 "
)
NEGATIVE = Stat(-1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11)
NEGATIVE_BYTES = (
    "ffffffffffffffff fffffffffffffffe fffffffffffffffd fffffffffffffffc "
    "fffffffb fffffffa fffffff9 fffffffffffffff8 "
    "fffffff7 fffffff6 fffffffffffffff5 "
)

_TABLE: list[tuple[Record, str]] = [
    (Id("world", "anyone"), "00000005 776f726c64 00000006 616e796f6e65"),
    (Id("", "ü€"), "00000000 00000005 c3bce282ac"),
    (ACL(31, Id("digest", "a:b")), "0000001f 00000006 646967657374 00000003 613a62"),
    (STAT, STAT_BYTES),
    (NEGATIVE, NEGATIVE_BYTES),
    (
        StatPersisted(1, 2, 3, 4, 5, 6, 7, 8, 9),
        (
            "0000000000000001 0000000000000002 0000000000000003 0000000000000004 00000005 00000006 "
            "00000007 0000000000000008 0000000000000009"
        ),
    ),
    (Node(b"data", STAT), "00000004 64617461" + STAT_BYTES),
    (Node(b"", STAT), "00000000" + STAT_BYTES),
    (Node(None, NEGATIVE), "ffffffff" + NEGATIVE_BYTES),
    (ClientInfo("ip", "127.0.0.1"), "00000002 6970 00000009 3132372e302e302e31"),
    (RequestHeader(-2, 11), "fffffffe 0000000b"),
    (ReplyHeader(1, 0x100000002, -101), "00000001 0000000100000002 ffffff9b"),
    (
        ConnectRequest(0, 0x100000002, 10_000, 0x0123456789ABCDEF, b"0123456789abcdef"),
        "00000000 0000000100000002 00002710 0123456789abcdef 00000010 30313233343536373839616263646566",
    ),
    (
        ConnectRequest(0, 0, 4_000, 0, b"", False),
        "00000000 0000000000000000 00000fa0 0000000000000000 00000000 00",
    ),
    (
        ConnectRequest(0, 0, 4_000, -1, None, True),
        "00000000 0000000000000000 00000fa0 ffffffffffffffff ffffffff 01",
    ),
    (
        ConnectReply(0, 10_000, 0x0123456789ABCDEF, b"0123456789abcdef"),
        "00000000 00002710 0123456789abcdef 00000010 30313233343536373839616263646566",
    ),
    (
        ConnectReply(0, 0, 0, b"\0" * 16, False),
        "00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000 00",
    ),
    (ConnectReply(0, 4_000, -1, None, True), "00000000 00000fa0 ffffffffffffffff ffffffff 01"),
    (Empty(), ""),
    (CreateReply("/a"), "00000002 2f61"),
    (Create2Reply("/a0000000001", STAT), "0000000c 2f6130303030303030303031" + STAT_BYTES),
    (StatReply(STAT), STAT_BYTES),
    (ChildrenReply(["a", "", "b-ü"]), "00000003 00000001 61 00000000 00000004 622dc3bc"),
    (
        ChildrenReply([f"n-{number:03}" for number in range(8)]),
        (
            "00000008 00000005 6e2d303030 00000005 6e2d303031 00000005 6e2d303032 00000005 6e2d303033 "
            "00000005 6e2d303034 00000005 6e2d303035 00000005 6e2d303036 00000005 6e2d303037"
        ),
    ),
    (ChildrenReply([]), "00000000"),
    (ChildrenReply(None), "ffffffff"),
    (GetChildren2Reply(["a", "bc"], STAT), "00000002 00000001 61 00000002 6263" + STAT_BYTES),
    (ChildrenNumberReply(7), "00000007"),
    (EphemeralsReply(["/a", "/b"]), "00000002 00000002 2f61 00000002 2f62"),
    (
        ACLReply([ACL(1, Id("world", "anyone")), ACL(31, Id("auth", ""))], STAT),
        ("00000002 00000001 00000005 776f726c64 00000006 616e796f6e65 0000001f 00000004 61757468 00000000")
        + STAT_BYTES,
    ),
    (ACLReply(None, STAT), "ffffffff" + STAT_BYTES),
    (SyncReply("/a"), "00000002 2f61"),
    (SASLReply(b"token"), "00000005 746f6b656e"),
    (SASLReply(None), "ffffffff"),
    (
        WhoAmIReply([ClientInfo("ip", "127.0.0.1"), ClientInfo("digest", "a")]),
        "00000002 00000002 6970 00000009 3132372e302e302e31 00000006 646967657374 00000001 61",
    ),
    (GetMaxChildrenReply(3), "00000003"),
    (ErrorReply(-101), "ffffff9b"),
    (WatchEventMessage(3, 3, "/a"), "00000003 00000003 00000002 2f61"),
    (
        CreateRequest("/a", b"data", [ACL(31, Id("world", "anyone"))], 3),
        (
            "00000002 2f61 00000004 64617461 00000001 0000001f 00000005 776f726c64 00000006 "
            "616e796f6e65 00000003"
        ),
    ),
    (CreateRequest("", None, None, 0), "00000000 ffffffff ffffffff 00000000"),
    (Create2Request("/a", b"", [], 1), "00000002 2f61 00000000 00000000 00000001"),
    (
        CreateContainerRequest("/a", b"data", [ACL(31, Id("world", "anyone"))], 4),
        (
            "00000002 2f61 00000004 64617461 00000001 0000001f 00000005 776f726c64 00000006 "
            "616e796f6e65 00000004"
        ),
    ),
    (
        CreateTTLRequest("/a", b"data", [ACL(31, Id("world", "anyone"))], 5, 60_000),
        (
            "00000002 2f61 00000004 64617461 00000001 0000001f 00000005 776f726c64 00000006 "
            "616e796f6e65 00000005 000000000000ea60"
        ),
    ),
    (DeleteRequest("/a", -1), "00000002 2f61 ffffffff"),
    (DeleteContainerRequest("/a"), "00000002 2f61"),
    (SetDataRequest("/a", b"data", 2), "00000002 2f61 00000004 64617461 00000002"),
    (
        SetACLRequest("/a", [ACL(31, Id("world", "anyone"))], -1),
        "00000002 2f61 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 ffffffff",
    ),
    (CheckRequest("/a", 5), "00000002 2f61 00000005"),
    (
        ReconfigRequest("server.4=h:1:2;3", "", None, -1),
        "00000010 7365727665722e343d683a313a323b33 00000000 ffffffff ffffffffffffffff",
    ),
    (SetMaxChildrenRequest("/a", 3), "00000002 2f61 00000003"),
    (CloseSessionRequest(), ""),
    (ExistsRequest("/a", True), "00000002 2f61 01"),
    (GetDataRequest("/ä/€", False), "00000007 2fc3a42fe282ac 00"),
    (GetChildrenRequest("/", True), "00000001 2f 01"),
    (GetChildren2Request("/a"), "00000002 2f61 00"),
    (GetACLRequest("/a"), "00000002 2f61"),
    (GetAllChildrenNumberRequest("/a"), "00000002 2f61"),
    (GetEphemeralsRequest("/a"), "00000002 2f61"),
    (GetMaxChildrenRequest("/a"), "00000002 2f61"),
    (SyncRequest("/a"), "00000002 2f61"),
    (WhoAmIRequest(), ""),
    (PingRequest(), ""),
    (
        SetWatchesRequest(0x100000002, ["/a"], [], ["/b", "/c"]),
        "0000000100000002 00000001 00000002 2f61 00000000 00000002 00000002 2f62 00000002 2f63",
    ),
    (
        SetWatches2Request(1, ["/a"], None, [], ["/b"], ["/c", "/d"]),
        (
            "0000000000000001 00000001 00000002 2f61 ffffffff 00000000 00000001 00000002 2f62 "
            "00000002 00000002 2f63 00000002 2f64"
        ),
    ),
    (AddWatchRequest("/a", 1), "00000002 2f61 00000001"),
    (CheckWatchesRequest("/a", 3), "00000002 2f61 00000003"),
    (RemoveWatchesRequest("/a", 2), "00000002 2f61 00000002"),
    (
        AuthRequest(0, "digest", b"user:password"),
        "00000000 00000006 646967657374 0000000d 757365723a70617373776f7264",
    ),
    (SASLRequest(b"token"), "00000005 746f6b656e"),
    (MultiHeader(14, False, -1), "0000000e 00 ffffffff"),
    (MultiHeader(-1, True, -1), "ffffffff 01 ffffffff"),
]

CASES = [(record, bytes.fromhex(text)) for record, text in _TABLE]
NAMES = [repr(record)[:60] for record, _ in CASES]

"""The requests that restore earlier watches on a new connection."""

from __future__ import annotations

from typing import Any

import pytest

from zkrecipes.codec.messages import SetWatches2Request, SetWatchesRequest
from zkrecipes.enums import ServerVersion
from zkrecipes.protocol.watch_restore import set_watches_requests
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

V3_4, V3_5, V3_6 = ServerVersion.V3_4, ServerVersion.V3_5, ServerVersion.V3_6
BATCH = 128 * 1024


def _table(*watches: tuple[WatchKind, str]) -> WatchTable[str]:
    table: WatchTable[str] = WatchTable()
    for kind, path in watches:
        table.add(kind, path, "me")
    return table


def _requests(table: WatchTable[str], version: ServerVersion | None = V3_6, zxid: int = 7) -> list[Any]:
    return list(set_watches_requests(table, zxid, version))


ONE_OF_EACH = [(kind, f"/{kind.value}") for kind in WatchKind]


@pytest.mark.parametrize("version", [None, *ServerVersion])
def test_without_watches_nothing_is_sent(version: ServerVersion | None) -> None:
    assert _requests(_table(), version) == []


def test_every_kind_goes_into_its_own_list() -> None:
    expected = SetWatches2Request(7, ["/data"], ["/exist"], ["/child"], ["/persistent"], ["/recursive"])
    assert _requests(_table(*ONE_OF_EACH)) == [expected]


@pytest.mark.parametrize("version", [None, V3_4, V3_5])
def test_persistent_watches_are_left_out_if_the_server_may_not_have_them(
    version: ServerVersion | None,
) -> None:
    table = _table(*ONE_OF_EACH)
    assert _requests(table, version) == [SetWatchesRequest(7, ["/data"], ["/exist"], ["/child"])]
    assert _requests(_table((WatchKind.PERSISTENT, "/a")), version) == []


def test_one_shot_watches_alone_use_the_older_request() -> None:
    table = _table((WatchKind.CHILD, "/c"))
    assert _requests(table) == [SetWatchesRequest(7, [], [], ["/c"])]


def test_a_znode_with_many_watchers_is_named_once() -> None:
    table = _table((WatchKind.DATA, "/a"))
    table.add(WatchKind.DATA, "/a", "you")
    assert _requests(table) == [SetWatchesRequest(7, ["/a"], [], [])]


def test_many_watches_go_in_batches_of_128_kib_none_lost_and_none_twice() -> None:
    """Case 53. A server closes the connection on a request above its limit of 1 MiB, each time."""
    watches = [
        (kind, f"/{kind.value}/{'x' * 500}-{number:05}") for kind in WatchKind for number in range(300)
    ]
    requests = _requests(_table(*watches))
    assert len(requests) > 4
    sizes = [len(request.encode()) for request in requests]
    assert all(BATCH <= size < BATCH + 1000 for size in sizes[:-1])
    assert sizes[-1] < BATCH + 1000
    assert {request.relative_zxid for request in requests} == {7}
    kinds = (WatchKind.DATA, WatchKind.EXIST, WatchKind.CHILD, WatchKind.PERSISTENT, WatchKind.RECURSIVE)
    sent = [
        (kind, path)
        for request in requests
        for kind, paths in zip(kinds, request[1:], strict=False)
        for path in paths
    ]
    assert sent == watches


def test_a_batch_without_persistent_watches_is_an_older_request_and_one_with_them_is_not() -> None:
    one_shot = [(WatchKind.DATA, f"/{'d' * 1000}{number:03}") for number in range(150)]
    requests = _requests(_table(*one_shot, (WatchKind.RECURSIVE, "/r")))
    assert [type(request) for request in requests] == [SetWatchesRequest, SetWatches2Request]


def test_paths_count_by_their_encoded_bytes() -> None:
    path = "/" + "é" * (BATCH // 2)
    assert len(_requests(_table((WatchKind.DATA, path), (WatchKind.DATA, "/a")))) == 2


def test_a_path_that_is_not_utf_8_is_sent_unchanged() -> None:
    path = b"/\xff".decode("utf-8", "surrogateescape")
    (request,) = _requests(_table((WatchKind.DATA, path)))
    assert b"/\xff" in request.encode()


def test_a_watch_that_is_left_between_two_batches_is_not_restored() -> None:
    table = _table(*((WatchKind.DATA, f"/{'d' * 1000}{number:03}") for number in range(200)))
    batches = set_watches_requests(table, 7, V3_6)
    first = next(batches)
    table.drop("me")
    assert len(first.data_watches or ()) < 200
    assert list(batches) == []


def test_short_paths_go_in_batches_of_two_thousand() -> None:
    table = _table(*((WatchKind.PERSISTENT, f"/{number}") for number in range(4500)))
    assert [len(request.persistent_watches) for request in _requests(table)] == [2000, 2000, 500]

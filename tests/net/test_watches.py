"""Which requests must set a watch on the server, which keeps one for all."""

from __future__ import annotations

from typing import Any

import pytest

from zkrecipes.codec.messages import (
    AddWatchRequest,
    ExistsRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    Request,
    SetWatches2Request,
)
from zkrecipes.enums import AddWatchMode
from zkrecipes.net.pending import Pending
from zkrecipes.net.wakeup import current_parking
from zkrecipes.net.watches import ClientWatches
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

pytestmark = pytest.mark.anyio

OF_DATA = (GetDataRequest, ExistsRequest)
OF_CHILDREN = (GetChildrenRequest, GetChildren2Request)


def _pending(request: Request[Any]) -> Pending[Any]:
    return Pending(request, lambda reply: reply, current_parking(), watcher="owner")


def _sets_one(watches: ClientWatches, request: Request[Any]) -> bool:
    pending = _pending(request)
    watches.settle(pending)
    assert isinstance(pending.request, type(request))
    return bool(getattr(pending.request, "watch"))  # noqa: B009 - each of them has it


@pytest.mark.parametrize("read", [*OF_DATA, *OF_CHILDREN])
async def test_a_read_sets_a_watch_where_none_is(read: type[GetDataRequest]) -> None:
    watches = ClientWatches(WatchTable())
    assert _sets_one(watches, read("/n", True))
    assert _sets_one(watches, read("/n", False))


@pytest.mark.parametrize("kind", [WatchKind.PERSISTENT, WatchKind.RECURSIVE])
async def test_a_read_sets_none_where_a_persistent_watch_tells_as_much(kind: WatchKind) -> None:
    table: WatchTable[str] = WatchTable()
    table.add(kind, "/n", "another")
    watches = ClientWatches(table)
    assert not any(_sets_one(watches, read("/n", True)) for read in OF_DATA)
    assert all(_sets_one(watches, read("/n", True)) == (kind is WatchKind.RECURSIVE) for read in OF_CHILDREN)
    assert all(_sets_one(watches, read("/other", True)) for read in (*OF_DATA, *OF_CHILDREN))


@pytest.mark.parametrize("mode", list(AddWatchMode))
async def test_a_persistent_watch_counts_from_the_moment_in_which_it_is_submitted(mode: AddWatchMode) -> None:
    watches = ClientWatches(WatchTable())
    adding = _pending(AddWatchRequest("/n", mode))
    watches.settle(adding)
    watches.settle(adding)  # on the next connection again
    assert not _sets_one(watches, GetDataRequest("/n", True))
    assert _sets_one(watches, GetDataRequest("/other", True))
    assert _sets_one(watches, GetChildrenRequest("/n", True)) == (mode is AddWatchMode.PERSISTENT_RECURSIVE)


@pytest.mark.parametrize("how", ["answered", "dropped"])
async def test_one_that_is_answered_or_given_up_counts_no_longer(how: str) -> None:
    watches = ClientWatches(WatchTable())
    adding = _pending(AddWatchRequest("/n", AddWatchMode.PERSISTENT))
    watches.settle(adding)
    if how == "answered":
        adding.complete(None, None)  # from here on the table knows
    else:
        adding.is_dropped = True
    assert _sets_one(watches, GetDataRequest("/n", True))


async def test_a_read_that_is_sent_again_decides_again() -> None:
    table: WatchTable[str] = WatchTable()
    table.add(WatchKind.PERSISTENT, "/n", "another")
    watches, read = ClientWatches(table), _pending(GetDataRequest("/n", True))
    decisions = []
    for change in (lambda: None, lambda: table.drop("another")):
        change()
        watches.settle(read)
        decisions.append(getattr(read.request, "watch"))  # noqa: B009 - each of them has it
    assert decisions == [False, True]


PERSISTENT = AddWatchRequest("/n", AddWatchMode.PERSISTENT)
RECURSIVE = AddWatchRequest("/n", AddWatchMode.PERSISTENT_RECURSIVE)
BOTH = SetWatches2Request(0, [], [], [], ["/n"], ["/n"])


@pytest.mark.parametrize("is_answered", [True, False])
async def test_where_a_recursive_watch_stands_a_persistent_one_is_set_with_a_recursive_one(
    is_answered: bool,
) -> None:
    table: WatchTable[str] = WatchTable()
    watches = ClientWatches(table)
    if is_answered:
        table.add(WatchKind.RECURSIVE, "/n", "another")
    else:
        watches.settle(_pending(RECURSIVE))
    for request, settled in ((PERSISTENT, BOTH), (RECURSIVE, RECURSIVE)):
        pending = _pending(request)
        watches.settle(pending)
        assert pending.request == settled
    elsewhere = _pending(AddWatchRequest("/n/below", AddWatchMode.PERSISTENT))
    watches.settle(elsewhere)
    assert isinstance(elsewhere.request, AddWatchRequest)
    assert (watches.is_recursive("/n"), watches.is_recursive("/n/below")) == (True, False)
    assert not _sets_one(watches, GetChildrenRequest("/n", True))


async def test_a_persistent_watch_that_is_sent_again_decides_again() -> None:
    table: WatchTable[str] = WatchTable()
    table.add(WatchKind.RECURSIVE, "/n", "another")
    watches, pending = ClientWatches(table), _pending(PERSISTENT)
    decisions = []
    for change in (lambda: None, lambda: None, lambda: table.drop("another")):
        change()
        watches.settle(pending)
        decisions.append(pending.request)
    assert decisions == [BOTH, BOTH, PERSISTENT]

"""The requests that put the watches of an earlier connection on a new one.

One-shot watches are re-set with the last zxid seen, and the server fires those that are due; persistent ones
are re-armed without a replay, which is why each of them yields a `RESYNC` (`DataTree.setWatches`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from zkrecipes.codec.messages import SetWatches2Request, SetWatchesRequest
from zkrecipes.enums import ServerVersion
from zkrecipes.protocol.watch_table import ONE_SHOT, WatchKind, WatchTable

__all__ = ["set_watches_requests"]

_BATCH_BYTES: Final = 128 * 1024
"""As the Java client does it, well below the server's `jute.maxbuffer` (ZOOKEEPER-706)."""
_BATCH_PATHS: Final = 2000
"""So that the loop turns every few milliseconds, however short the paths are."""

_ORDER: Final = (
    WatchKind.DATA,
    WatchKind.EXIST,
    WatchKind.CHILD,
    WatchKind.PERSISTENT,
    WatchKind.RECURSIVE,
)


def set_watches_requests(
    watches: WatchTable[Any], last_zxid: int, version: ServerVersion | None
) -> Iterator[SetWatchesRequest | SetWatches2Request]:
    """The requests, in batches; none if there are no watches.

    Take one batch at a time: each is made when it is taken, of the watches that are still wanted then.

    Args:
        watches: all watches of the client.
        last_zxid: the newest transaction that the client has seen.
        version: what the server can do. Persistent watches are left out below 3.6, or where it is unknown.
    """
    has_persistent = version is not None and version >= ServerVersion.V3_6
    for batch in _batches(watches, has_persistent):
        lists = [batch[kind] for kind in _ORDER]
        if lists[3] or lists[4]:
            yield SetWatches2Request(last_zxid, *lists)
        else:
            yield SetWatchesRequest(last_zxid, *lists[:3])


def _batches(watches: WatchTable[Any], has_persistent: bool) -> Iterator[dict[WatchKind, list[str]]]:
    batch: dict[WatchKind, list[str]] = {kind: [] for kind in WatchKind}
    size = count = 0
    for kind in _ORDER:
        if kind not in ONE_SHOT and not has_persistent:
            continue
        for path in watches.paths(kind):
            if not watches.is_watched(kind, path):
                continue  # left since the batch before
            batch[kind].append(path)
            size += 4 + len(path.encode("utf-8", "surrogateescape"))
            count += 1
            if size >= _BATCH_BYTES or count >= _BATCH_PATHS:
                yield batch
                batch, size, count = {each: [] for each in WatchKind}, 0, 0
    if size:
        yield batch

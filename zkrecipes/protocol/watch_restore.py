"""Restores the watches of an earlier connection on a new one. Sans-I/O.

One-shot watches are restored with the last zxid that the client has seen, and the server fires those that
are due; persistent watches are restored without a replay, which is why each of them yields a `RESYNC`
(`DataTree.setWatches`). `watch_registration.py` has the overview of a watch's life.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, final

from zkrecipes.codec.messages import SetWatches2Request, SetWatchesRequest
from zkrecipes.enums import ServerVersion, SpecialXid
from zkrecipes.protocol.watch_registration import WatchRegistrations
from zkrecipes.protocol.watch_table import ONE_SHOT, WatchKind, WatchTable

__all__ = ["WatchRestore", "set_watches_requests"]

_BATCH_BYTES: Final = 128 * 1024
"""The Java client's batch size, well below the server's `jute.maxbuffer` (ZOOKEEPER-706)."""
_BATCH_PATHS: Final = 2000
"""This many paths at most, however short, so that the event loop turns every few milliseconds."""

_ORDER: Final = (
    WatchKind.DATA,
    WatchKind.EXIST,
    WatchKind.CHILD,
    WatchKind.PERSISTENT,
    WatchKind.RECURSIVE,
)


@final
class WatchRestore:
    """The restoring of watches on one connection, batch by batch.

    Args:
        watches: all watches of the client.
        registrations: the watches of the server; a batch counts there as soon as it is encoded.

    Attributes:
        unanswered: the number of batches that the server has not confirmed.
        names_persistent: whether a batch has named persistent watches.
    """

    __slots__ = ("_next", "_registrations", "_requests", "_watches", "names_persistent", "unanswered")

    def __init__(self, watches: WatchTable[Any], registrations: WatchRegistrations) -> None:
        self._watches = watches
        self._registrations = registrations
        self._requests: Iterator[SetWatchesRequest | SetWatches2Request] | None = None
        self._next: SetWatchesRequest | SetWatches2Request | None = None
        self.unanswered: int = 0
        self.names_persistent: bool = False

    @property
    def has_next(self) -> bool:
        """Whether another batch must be encoded."""
        return self._next is not None

    @property
    def is_done(self) -> bool:
        """Whether the server has confirmed every batch."""
        return self._requests is not None and self._next is None and not self.unanswered

    def needs_persistent(self) -> bool:
        """Whether the client has watches that servers before 3.6 cannot restore."""
        return any(self._watches.paths(kind) for kind in _ORDER if kind not in ONE_SHOT)

    def begin(self, last_zxid: int, version: ServerVersion | None) -> None:
        """Prepare the first batch; the arguments are those of `set_watches_requests`."""
        self._requests = set_watches_requests(self._watches, last_zxid, version)
        self._next = next(self._requests, None)

    def encode_next(self) -> list[bytes]:
        """Return a list with the frame of the next batch, or an empty list if all are encoded."""
        request = self._next
        if request is None or self._requests is None:
            return []
        self._registrations.restored(request)
        self.names_persistent |= isinstance(request, SetWatches2Request)
        self.unanswered += 1
        self._next = next(self._requests, None)
        return [request.encode_frame(SpecialXid.SET_WATCHES)]


def set_watches_requests(
    watches: WatchTable[Any], last_zxid: int, version: ServerVersion | None
) -> Iterator[SetWatchesRequest | SetWatches2Request]:
    """Generate the requests that restore all watches, in batches; none if there are no watches.

    Take one batch at a time: each is made when it is taken, from the watches that are still wanted then.

    Args:
        watches: all watches of the client.
        last_zxid: the newest transaction that the client has seen.
        version: the server's version; below 3.6, or if it is None (unknown), persistent watches are left out.
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
                continue  # its block was left after the previous batch
            batch[kind].append(path)
            size += 4 + len(path.encode("utf-8", "surrogateescape"))
            count += 1
            if size >= _BATCH_BYTES or count >= _BATCH_PATHS:
                yield batch
                batch, size, count = {each: [] for each in WatchKind}, 0, 0
    if size:
        yield batch

"""Tells a log of SQLite that was damaged from one whose end a crash has torn off. Pure.

SQLite itself stops at the first frame that is not whole, and takes all before it: right after a crash, and a
silent loss where a byte in the middle has gone bad. The difference can be seen. Each commit waits until it is
on disk before the next one is written, so a crash tears the last commit only. Where more than one commit
stands behind the bad frame, no crash made it. Nor does a crash leave anything behind a header that is bad:
that is on disk before the first frame is written, and no disk writes half of 32 bytes.

The form is that of "The Write-Ahead Log" in SQLite's `fileformat2.html`, at 3.40.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import NamedTuple

__all__ = ["is_damaged"]

_HEADER = Struct("!8I")  # magic, version, page size, checkpoints, two salts, two checksums
_FRAME = Struct("!6I")  # page, size after a commit or 0, two salts, two checksums
_SUMMED_OF_HEADER, _SUMMED_OF_FRAME = 24, 8
# The magic number tells in which order of bytes checksums are computed.
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}


class _Sum(NamedTuple):
    first: int = 0
    second: int = 0


class _Frame(NamedTuple):
    start: int
    is_commit: bool
    salts: tuple[int, int]
    checksum: _Sum


def is_damaged(log: bytes) -> bool:
    """Whether there is a bad frame with more than one commit behind it, or a bad header with anything.

    Args:
        log: the whole file.
    """
    if len(log) <= _HEADER.size:
        return False
    magic, _, page_size, _, *salts, first, second = _HEADER.unpack_from(log)
    order = _ORDERS.get(magic)
    if order is None or _added(_Sum(), log, 0, _SUMMED_OF_HEADER, order) != (first, second):
        return True
    checksum = _Sum(first, second)
    frames = (frame for frame in _frames(log, page_size) if frame.salts == tuple(salts))
    for frame in frames:
        checksum = _added(checksum, log, frame.start, _SUMMED_OF_FRAME, order)
        checksum = _added(checksum, log, frame.start + _FRAME.size, page_size, order)
        if checksum != frame.checksum:
            return frame.is_commit + sum(behind.is_commit for behind in frames) > 1
    return False


def _frames(log: bytes, page_size: int) -> Iterator[_Frame]:
    """All that are there in their whole length, be they of this log or left over from the one before."""
    size = _FRAME.size + page_size
    for start in range(_HEADER.size, len(log) - size + 1, size):
        _, pages, *salts, first, second = _FRAME.unpack_from(log, start)
        yield _Frame(start, pages != 0, (salts[0], salts[1]), _Sum(first, second))


def _added(checksum: _Sum, data: bytes, start: int, size: int, order: str) -> _Sum:
    """The checksum with further bytes, eight at a time."""
    first, second = checksum
    words = iter(unpack_from(f"{order}{size // 4}I", data, start))
    for one, other in zip(words, words, strict=True):
        first = first + one + second & 0xFFFFFFFF
        second = second + other + first & 0xFFFFFFFF
    return _Sum(first, second)

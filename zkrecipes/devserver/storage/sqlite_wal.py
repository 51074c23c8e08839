"""Distinguishes a damaged SQLite log from one whose end a crash has torn off. Pure.

SQLite stops at the first invalid frame and uses all frames before it. That is right after a crash, but loses
commits silently if a byte in the middle is damaged. The two differ. Each commit waits until it is on disk
before the next one is written, so a crash tears only the last commit. If more than one commit follows the
invalid frame, no crash has caused it. Nor does a crash leave anything behind an invalid header: the header is
on disk before the first frame is written, and no disk writes half of 32 bytes.

The format is that of "The Write-Ahead Log" in SQLite's `fileformat2.html`, at 3.40.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import NamedTuple

__all__ = ["is_damaged"]

_HEADER = Struct("!8I")  # magic, version, page size, checkpoints, two salts, two checksums
_FRAME = Struct("!6I")  # page, size after a commit or 0, two salts, two checksums
_CHECKED_OF_HEADER, _CHECKED_OF_FRAME = 24, 8
# The magic number selects the byte order of the checksums.
_BYTE_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}


class _Checksum(NamedTuple):
    first: int = 0
    second: int = 0


class _Frame(NamedTuple):
    start: int
    is_commit: bool
    salts: tuple[int, int]
    checksum: _Checksum


def is_damaged(log: bytes) -> bool:
    """Whether more than one commit follows an invalid frame, or anything follows an invalid header.

    Args:
        log: the content of the file.
    """
    if len(log) <= _HEADER.size:
        return False
    magic, _, page_size, _, *salts, first, second = _HEADER.unpack_from(log)
    byte_order = _BYTE_ORDERS.get(magic)
    checksum = _Checksum(first, second)
    if (
        byte_order is None
        or _extend_checksum(_Checksum(), log, 0, _CHECKED_OF_HEADER, byte_order) != checksum
    ):
        return True
    frames = (frame for frame in _frames(log, page_size) if frame.salts == tuple(salts))
    for frame in frames:
        checksum = _extend_checksum(checksum, log, frame.start, _CHECKED_OF_FRAME, byte_order)
        checksum = _extend_checksum(checksum, log, frame.start + _FRAME.size, page_size, byte_order)
        if checksum != frame.checksum:
            return frame.is_commit + sum(later.is_commit for later in frames) > 1
    return False


def _frames(log: bytes, page_size: int) -> Iterator[_Frame]:
    """Yield all frames of full length, including those left over from the previous log."""
    size = _FRAME.size + page_size
    for start in range(_HEADER.size, len(log) - size + 1, size):
        _, pages, *salts, first, second = _FRAME.unpack_from(log, start)
        yield _Frame(start, pages != 0, (salts[0], salts[1]), _Checksum(first, second))


def _extend_checksum(checksum: _Checksum, data: bytes, start: int, size: int, byte_order: str) -> _Checksum:
    """Extend a checksum by further bytes, eight at a time."""
    first, second = checksum
    words = iter(unpack_from(f"{byte_order}{size // 4}I", data, start))
    for word, next_word in zip(words, words, strict=True):
        first = first + word + second & 0xFFFFFFFF
        second = second + next_word + first & 0xFFFFFFFF
    return _Checksum(first, second)

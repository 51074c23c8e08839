"""Text as ZooKeeper writes it, and lists of it.

Servers and clients in Java write UTF-8 char by char (`BinaryOutputArchive.java`, `stringToByteBuffer`, 3.9),
so a character beyond U+FFFF arrives as two surrogates of three bytes each, which is no UTF-8; they read plain
UTF-8 only. So both forms are read here, and UTF-8 is written. Other bytes that are no text become lone
surrogates, as in Python's file names, and are written back as the bytes they were.
"""

from __future__ import annotations

import re
from struct import Struct

from zkrecipes.errors import ProtocolError

__all__ = ["decode_string", "encode_string", "read_strings"]

_ERRORS = "surrogateescape"
_SURROGATE_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_unpack_length = Struct("!i").unpack_from
# A list of fewer is read one by one sooner than as one block.
_BLOCK_MIN = 6


def decode_string(data: bytes) -> str:
    """The text of bytes that are not all UTF-8."""
    return _SURROGATE_PAIR.sub(_joined_pair, data).decode("utf-8", _ERRORS)


def _joined_pair(match: re.Match[bytes]) -> bytes:
    pair = match.group().decode("utf-8", "surrogatepass")
    return pair.encode("utf-16", "surrogatepass").decode("utf-16").encode()


def encode_string(text: str) -> bytes:
    """The bytes of text that holds lone surrogates.

    Raises:
        UnicodeEncodeError: they are not those that `decode_string` makes.
    """
    return text.encode("utf-8", _ERRORS)


def read_strings(buffer: bytes, pos: int, end: int, count: int) -> tuple[list[str], int]:
    """`count` strings, each behind its length, and the position behind them.

    Raises:
        ProtocolError: a length is wrong.
        struct.error: the buffer ends.
    """
    if count >= _BLOCK_MIN:
        found = _texts_of_one_length(buffer, pos, end, count)
        if found is not None:
            return found
    texts = []
    for _ in range(count):
        (length,) = _unpack_length(buffer, pos)
        start = pos + 4
        pos = start + length
        if start <= pos <= end:
            try:
                texts.append(buffer[start:pos].decode())
            except UnicodeDecodeError:
                texts.append(decode_string(buffer[start:pos]))
        elif length == -1:
            texts.append("")
            pos = start
        else:
            raise ProtocolError(f"a string of {length} bytes is in a vector that ends before")
    return texts, pos


def _texts_of_one_length(buffer: bytes, pos: int, end: int, count: int) -> tuple[list[str], int] | None:
    """The same, if all are ASCII and of one length, as the names of sequential znodes are; else None.

    Three times as fast as one by one: the bytes are cut at every length. If that gives `count` pieces of that
    length, they are the strings, whatever is in them.
    """
    (length,) = _unpack_length(buffer, pos)
    prefix = buffer[pos : pos + 4]
    stop = pos + (length + 4) * count
    if length <= 0 or stop > end or not buffer.startswith(prefix, stop - length - 4):
        return None
    block = buffer[pos:stop]
    if not block.isascii():
        return None
    texts = block.decode().split(prefix.decode())
    del texts[0]
    if len(texts) != count or set(map(len, texts)) != {length}:
        return None
    return texts, stop

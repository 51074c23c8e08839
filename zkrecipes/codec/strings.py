"""Text in ZooKeeper's encoding, and lists of it.

Servers and clients in Java write UTF-8 char by char (`BinaryOutputArchive.java`, `stringToByteBuffer`, 3.9),
so a character beyond U+FFFF arrives as two surrogates of three bytes each, which is not valid UTF-8; but they
read only valid UTF-8. So this module reads both forms and writes UTF-8. Other invalid bytes become lone
surrogates, as in Python's file names, and are written back unchanged.
"""

from __future__ import annotations

import re
from struct import Struct

from zkrecipes.errors import ProtocolError

__all__ = ["decode_string", "encode_string", "read_strings"]

_ERRORS = "surrogateescape"
_SURROGATE_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_unpack_length = Struct("!i").unpack_from
# A shorter list is read faster one by one than as one block.
_BLOCK_MIN = 6


def decode_string(data: bytes) -> str:
    """Decode bytes that are not valid UTF-8."""
    return _SURROGATE_PAIR.sub(_join_pair, data).decode("utf-8", _ERRORS)


def _join_pair(match: re.Match[bytes]) -> bytes:
    pair = match.group().decode("utf-8", "surrogatepass")
    return pair.encode("utf-16", "surrogatepass").decode("utf-16").encode()


def encode_string(text: str) -> bytes:
    """Encode text that contains lone surrogates.

    Raises:
        UnicodeEncodeError: a surrogate is not one that `decode_string` produces.
    """
    return text.encode("utf-8", _ERRORS)


def read_strings(buffer: bytes, pos: int, end: int, count: int) -> tuple[list[str], int]:
    """Read `count` strings, each after its length; return them and the position after them.

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
            raise ProtocolError(f"a vector ends inside a string of {length} bytes")
    return texts, pos


def _texts_of_one_length(buffer: bytes, pos: int, end: int, count: int) -> tuple[list[str], int] | None:
    """Do the same for ASCII strings of one length, like names of sequential znodes; else return None.

    Splitting the bytes at every length is three times as fast as reading one by one. If it yields `count`
    pieces of that length, they are the strings, whatever they contain.
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

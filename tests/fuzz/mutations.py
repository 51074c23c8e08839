"""The mutations of a server's bytes, one function each; the given generator makes all random choices.

A mutation works on the frames of a conversation, each with its length before it, and may leave any bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from struct import Struct

_INT = Struct("!i")
_HEADER_AT = {"xid": 4, "zxid": 8, "zxid, lower half": 12, "error code": 16}
# Values at which readers fail: null, empty, one too many, the ends of the range, and known xids and codes.
_INTS = (-1, -2, -3, -4, -8, -9, 0, 1, 2, 3, 255, 256, 65_535, 2**24, 2**31 - 1, 2**31 - 4, -(2**31))
_CODES = (-1, -2, -4, -5, -6, -8, -9, -13, -101, -110, -112, -115, -117, -118, -119, -124, -127, -999, 7)

Frames = list[bytearray]
Mutation = Callable[[Frames, Random, Frames], None]


def flip_bits(frames: Frames, rng: Random, _: Frames) -> None:
    """Flip a few bits."""
    frame = _some(frames, rng)
    for _time in range(rng.randint(1, 4)):
        if frame:
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)


def truncate(frames: Frames, rng: Random, _: Frames) -> None:
    """Cut a frame short; its length stays, so that the next frames are read as its rest."""
    frame = _some(frames, rng)
    del frame[rng.randrange(len(frame) + 1) :]


def truncate_truly(frames: Frames, rng: Random, _: Frames) -> None:
    """Cut a frame short, and correct its length."""
    frame = _some(frames, rng)
    del frame[rng.randrange(len(frame) + 1) :]
    _set_length(frame)


def extend(frames: Frames, rng: Random, _: Frames) -> None:
    """Append bytes to a frame, and correct its length."""
    frame = _some(frames, rng)
    frame += rng.randbytes(rng.randint(1, 40))
    _set_length(frame)


def end_early(frames: Frames, rng: Random, _: Frames) -> None:
    """Stop in the middle of a frame."""
    del frames[rng.randrange(len(frames) + 1) :]


def insert_bytes(frames: Frames, rng: Random, _: Frames) -> None:
    """Insert bytes."""
    frame = _some(frames, rng)
    at = rng.randrange(len(frame) + 1)
    frame[at:at] = rng.randbytes(rng.randint(1, 12))


def delete_bytes(frames: Frames, rng: Random, _: Frames) -> None:
    """Delete bytes."""
    frame = _some(frames, rng)
    at = rng.randrange(len(frame) + 1)
    del frame[at : at + rng.randint(1, 12)]


def change_length(frames: Frames, rng: Random, _: Frames) -> None:
    """Announce another length than the frame has."""
    frame = _some(frames, rng)
    wrong = len(frame) - 4 + rng.choice((-5, -1, 1, 5, 100))
    _put(frame, 0, rng.choice((wrong, rng.choice(_INTS), rng.randrange(-(2**31), 2**31))))


def change_header(frames: Frames, rng: Random, _: Frames) -> None:
    """Change the xid, zxid or code in the reply's header."""
    frame = _some(frames, rng)
    field = rng.choice(list(_HEADER_AT))
    value = (
        rng.choice(_CODES) if field == "error code" else rng.choice((rng.choice(_INTS), rng.randint(-10, 40)))
    )
    _put(frame, _HEADER_AT[field], value)


def change_number(frames: Frames, rng: Random, _: Frames) -> None:
    """Change four bytes that may be a count, a length or any other number."""
    frame = _some(frames, rng)
    if len(frame) > 8:
        _put(frame, rng.randrange(4, len(frame) - 3), rng.choice(_INTS))


def repeat_frame(frames: Frames, rng: Random, _: Frames) -> None:
    """Repeat a frame, immediately or later."""
    if frames:
        frames.insert(rng.randrange(len(frames) + 1), bytearray(_some(frames, rng)))


def drop_frame(frames: Frames, rng: Random, _: Frames) -> None:
    """Drop a frame."""
    if frames:
        del frames[rng.randrange(len(frames))]


def swap_frames(frames: Frames, rng: Random, _: Frames) -> None:
    """Swap frames."""
    if frames:
        one, other = rng.randrange(len(frames)), rng.randrange(len(frames))
        frames[one], frames[other] = frames[other], frames[one]


def splice_frame(frames: Frames, rng: Random, others: Frames) -> None:
    """Replace a frame by one of another conversation, mostly with the same xid."""
    if frames:
        at = rng.randrange(len(frames))
        frame = bytearray(rng.choice(others))
        if rng.random() < 0.8:
            frame[4:8] = frames[at][4:8]
        if rng.random() < 0.7:
            frames[at] = frame
        else:
            frames.insert(at, frame)


def splice_bytes(frames: Frames, rng: Random, others: Frames) -> None:
    """Continue in the middle of a frame with the middle of another, and correct the length."""
    frame, other = _some(frames, rng), rng.choice(others)
    frame[rng.randrange(len(frame) + 1) :] = other[rng.randrange(len(other) + 1) :]
    _set_length(frame)


def replace_by_noise(frames: Frames, rng: Random, _: Frames) -> None:
    """Replace a frame by noise."""
    frame = _some(frames, rng)
    frame[:] = rng.randbytes(rng.randint(0, 200))
    if rng.random() < 0.5:
        _set_length(frame)


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    truncate,
    truncate_truly,
    extend,
    end_early,
    insert_bytes,
    delete_bytes,
    change_length,
    change_header,
    change_header,
    change_number,
    change_number,
    repeat_frame,
    drop_frame,
    swap_frames,
    splice_frame,
    splice_frame,
    splice_bytes,
    replace_by_noise,
)
"""The mutations; those that get furthest are repeated."""


def mutate(frames: Frames, rng: Random, others: Frames) -> None:
    """Change the frames in one way, in two or in three.

    Args:
        frames: the frames of the conversation, changed in place.
        rng: makes all choices.
        others: the frames of all conversations.
    """
    for _time in range(rng.choice((1, 1, 2, 3))):
        rng.choice(MUTATIONS)(frames, rng, others)


def _some(frames: Frames, rng: Random) -> bytearray:
    """Return one of the frames, or a new one if there are no frames."""
    if not frames:
        frames.append(bytearray())
    return rng.choice(frames)


def _put(frame: bytearray, at: int, value: int) -> None:
    if at + 4 <= len(frame):
        _INT.pack_into(frame, at, value)


def _set_length(frame: bytearray) -> None:
    _put(frame, 0, len(frame) - 4)

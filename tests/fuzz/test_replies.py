"""Each type of reply that real servers have sent, mutated and read alone, between other bytes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.fuzz.cases import CONVERSATIONS
from tests.fuzz.mutations import mutate
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import ConnectReply, ReplyHeader, WatchEventMessage
from zkrecipes.errors import ProtocolError

CASES = 20_000
"""The number of cases for each of about fifteen types of reply."""

_LENGTH_SIZE = 4
_HEADER_SIZE = 16


def _recorded_bodies() -> Iterator[tuple[type[Record], bytes]]:
    """Generate each answer without its header, and the record that it is read as."""
    for conversation in CONVERSATIONS.values():
        greeting, _, answers = conversation.parts
        yield ConnectReply, greeting[0][_LENGTH_SIZE:]
        requests = iter(conversation.script.requests)
        for frame in answers:
            header, body = ReplyHeader.decode(frame[_LENGTH_SIZE:]), frame[_LENGTH_SIZE + _HEADER_SIZE :]
            if header.xid == -1:
                yield WatchEventMessage, body
            elif header.xid > 0:
                reply = next(requests).request.reply
                if header.err == 0:
                    yield reply, body


BODIES: dict[type[Record], list[bytes]] = {}
for _record, _body in _recorded_bodies():
    BODIES.setdefault(_record, []).append(_body)


@pytest.mark.parametrize("record", BODIES, ids=lambda record: record.__name__)
def test_a_mutated_reply_is_refused_or_read_at_most_to_its_end(record: type[Record]) -> None:
    bodies = BODIES[record]
    others = [bytearray(body) for each in BODIES.values() for body in each]
    for number in range(CASES):
        rng = Random(number)
        frames = [bytearray(rng.choice(bodies))]
        mutate(frames, rng, others)
        before, body, after = rng.randbytes(7), b"".join(frames), rng.choice(bodies)
        start, end = len(before), len(before) + len(body)
        try:
            value, position = record.read(before + body + after, start, end)
        except ProtocolError:
            continue
        except Exception as error:
            raise AssertionError(f"{record.__name__}, case {number}: {error!r}") from error
        assert start <= position <= end, f"{record.__name__}, case {number}"
        assert type(value) is record, f"{record.__name__}, case {number}"

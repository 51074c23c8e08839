"""Events are encoded as lines."""

from __future__ import annotations

import pytest

from zkrecipes.cli.demo.events import Event, EventKind


@pytest.mark.parametrize(
    "event",
    [
        Event(EventKind.JOINED, "Ann", 1.25),
        Event(EventKind.BEGAN, "Ann", 1.5, 2**63 - 1, 3),
        Event(EventKind.LOST, "Ann", 2.0, 7, detail='a "word"\nand another'),
    ],
)
def test_an_event_is_decoded_from_its_line(event: Event) -> None:
    line = event.to_line()
    assert line.count(b"\n") == 1
    assert Event.from_line(line) == event


@pytest.mark.parametrize("line", [b"", b"hello", b"{}", b"[]", b'{"kind": "danced"}', b'{"kind": "done"}'])
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"event|Kind|char"):
        Event.from_line(line)

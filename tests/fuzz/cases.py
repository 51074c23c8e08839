"""One case of the fuzzer: a conversation and a number, from which all its chance comes.

A case is named `conversation:number`, and that name is all that it takes to see it again:
`python -m tests.fuzz --case NAME`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import FrameType

from tests.fuzz.conversations import Conversation, load_conversations
from tests.fuzz.mutations import mutate
from tests.fuzz.player import Player

CPU_SECONDS_MAX = 5.0
"""A case takes less than a millisecond; one that takes so long hangs."""

CONVERSATIONS = {each.name: each for each in load_conversations()}
_ALL_FRAMES = [bytearray(frame) for each in CONVERSATIONS.values() for part in each.parts for frame in part]


class CaseError(AssertionError):
    """A case failed; its cause is chained."""

    def __init__(self, case: str, reason: BaseException) -> None:
        super().__init__(f"{type(reason).__name__}: {reason}; again: python -m tests.fuzz --case {case}")


class HangError(AssertionError):
    """A case does not end."""


def run_cases(conversation: Conversation, numbers: range) -> None:
    """Run the cases of these numbers.

    Raises:
        CaseError: one failed; it names the case.
    """
    with _hangs_are_told():
        for number in numbers:
            signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS_MAX)
            try:
                run_case(conversation, number)
            except Exception as error:
                raise CaseError(f"{conversation.name}:{number}", error) from error


def run_case(conversation: Conversation, number: int) -> None:
    """Hand a client side the mutated answers, and judge what it makes of them.

    Raises:
        AssertionError: it went wrong. Any other exception comes from the client side, and is wrong, too.
    """
    rng = Random(f"{conversation.name}:{number}")
    player = Player(conversation)
    for answers in mutated_answers(conversation, rng):
        player.say()
        player.hear(_chunks(answers, rng))
    player.say()
    player.end()
    player.judge()


def mutated_answers(conversation: Conversation, rng: Random) -> list[bytes]:
    """The three parts of the answers, after one of them was mutated; mostly the last, which is the longest."""
    mutated = rng.choices(range(3), (2, 2, 10))[0]
    answers = []
    for index, part in enumerate(conversation.parts):
        frames = [bytearray(frame) for frame in part]
        if index == mutated:
            mutate(frames, rng, _ALL_FRAMES)
        answers.append(b"".join(frames))
    return answers


def _chunks(data: bytes, rng: Random) -> Iterator[bytes]:
    """The data as it may come from a stream: mostly whole."""
    size = rng.choices((len(data), 1, 7, rng.randint(1, 100)), (46, 1, 1, 2))[0]
    for start in range(0, len(data), max(1, size)):
        yield data[start : start + size]


@contextmanager
def _hangs_are_told() -> Iterator[None]:
    """The processor's time is measured, not the clock's: the machine may be busy."""

    def tell(_signal: int, _frame: FrameType | None) -> None:
        raise HangError(f"it has computed for {CPU_SECONDS_MAX} seconds")

    before = signal.signal(signal.SIGVTALRM, tell)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)

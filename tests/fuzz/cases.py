"""One case of the fuzzer: a conversation and a number, which seeds all random choices.

The name of a case is `conversation:number`. It is enough to reproduce the case: `python -m tests.fuzz --case
NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from tests.fuzz.conversations import Conversation, load_conversations
from tests.fuzz.hangs import interrupt_hangs
from tests.fuzz.mutations import mutate
from tests.fuzz.player import Player

CONVERSATIONS = {each.name: each for each in load_conversations()}
_ALL_FRAMES = [bytearray(frame) for each in CONVERSATIONS.values() for part in each.parts for frame in part]


class CaseError(AssertionError):
    """A case failed; its cause is chained."""

    def __init__(self, option: str, reason: BaseException) -> None:
        super().__init__(option, reason)  # all arguments, because it is pickled between processes

    def __str__(self) -> str:
        option, reason = self.args
        return f"{type(reason).__name__}: {reason}; again: python -m tests.fuzz {option}"


def run_cases(conversation: Conversation, numbers: Sequence[int]) -> None:
    """Run the cases of these numbers.

    Raises:
        CaseError: a case failed; the error names it.
    """
    for number in numbers:
        try:
            with interrupt_hangs():
                run_case(conversation, number)
        except Exception as error:
            raise CaseError(f"--case {conversation.name}:{number}", error) from error


def run_case(conversation: Conversation, number: int) -> None:
    """Feed the mutated answers to a client side, and judge the result.

    Raises:
        AssertionError: the result is wrong. Any other exception comes from the client side, which must not
            raise it.
    """
    rng = Random(f"{conversation.name}:{number}")
    player = Player(conversation)
    for answers in mutated_answers(conversation, rng):
        player.send_due()
        player.receive(_chunks(answers, rng))
    player.send_due()
    player.end()
    player.judge()


def mutated_answers(conversation: Conversation, rng: Random) -> list[bytes]:
    """Return the three parts of the answers, one of them mutated: mostly the last, which is the longest."""
    mutated = rng.choices(range(3), (2, 2, 10))[0]
    answers = []
    for index, part in enumerate(conversation.parts):
        frames = [bytearray(frame) for frame in part]
        if index == mutated:
            mutate(frames, rng, _ALL_FRAMES)
        answers.append(b"".join(frames))
    return answers


def _chunks(data: bytes, rng: Random) -> Iterator[bytes]:
    """Split the data as a stream may deliver it: mostly whole."""
    size = rng.choices((len(data), 1, 7, rng.randint(1, 100)), (46, 1, 1, 2))[0]
    for start in range(0, len(data), max(1, size)):
        yield data[start : start + size]

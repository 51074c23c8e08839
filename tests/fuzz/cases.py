"""One case of the fuzzer: a conversation and a number, from which all its chance comes.

A case is named `conversation:number`, and that name is all that it takes to see it again:
`python -m tests.fuzz --case NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.fuzz.conversations import ServerConnection, load_conversations
from tests.fuzz.hangs import hangs_told
from tests.fuzz.mutations import mutate
from tests.fuzz.player import Player

CONVERSATIONS = {each.name: each for each in load_conversations()}
_ALL_FRAMES = [bytearray(frame) for each in CONVERSATIONS.values() for part in each.parts for frame in part]


class CaseError(AssertionError):
    """A case failed; its cause is chained."""

    def __init__(self, option: str, reason: BaseException) -> None:
        super().__init__(option, reason)  # all of them, for it comes from another process

    def __str__(self) -> str:
        option, reason = self.args
        return f"{type(reason).__name__}: {reason}; again: python -m tests.fuzz {option}"


def run_cases(conversation: ServerConnection, numbers: range) -> None:
    """Run the cases of these numbers.

    Raises:
        CaseError: one failed; it names the case.
    """
    for number in numbers:
        try:
            with hangs_told():
                run_case(conversation, number)
        except Exception as error:
            raise CaseError(f"--case {conversation.name}:{number}", error) from error


def run_case(conversation: ServerConnection, number: int) -> None:
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


def mutated_answers(conversation: ServerConnection, rng: Random) -> list[bytes]:
    """The three parts of the answers, one of them mutated: mostly the last, which is the longest."""
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

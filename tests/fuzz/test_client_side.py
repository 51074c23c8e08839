"""Any bytes end the client side in an error of ours; it loses no request and keeps no memory.

Every failure names its case; `make fuzz` runs millions of cases.
"""

from __future__ import annotations

import gc
import pickle
import tracemalloc
from collections.abc import Iterator
from random import Random

import pytest

from tests.fuzz.cases import CONVERSATIONS, CaseError, mutated_answers, run_case, run_cases
from tests.fuzz.conversations import SCRIPTS, Conversation
from tests.fuzz.player import PACKET_SIZE_MAX, Player
from tests.sweeps import sample
from zkrecipes.errors import ProtocolError
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Broken

CASES = 5_000
"""The number of cases for each of the twenty conversations in a whole sweep."""
SAMPLE = 1_500
MEMORY_CASES = 60

each_conversation = pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=list(CONVERSATIONS))


@pytest.fixture
def traced_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_a_failure_in_another_process_names_its_case() -> None:
    error = CaseError("--world 1", ValueError("wrong"))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(error) == "ValueError: wrong; again: python -m tests.fuzz --world 1"


def test_every_script_was_recorded() -> None:
    assert {name.rpartition("-")[0] for name in CONVERSATIONS} == set(SCRIPTS)


@each_conversation
def test_recorded_answers_are_understood_to_the_last_one(conversation: Conversation) -> None:
    player = Player(conversation)
    for part in conversation.parts:
        player.send_due()
        player.receive(part)
    assert player.is_all_answered
    player.end()
    player.judge()


@pytest.mark.sweep
@each_conversation
def test_mutated_answers_end_the_connection_and_nothing_else(conversation: Conversation) -> None:
    run_cases(conversation, sample(range(CASES), SAMPLE, conversation.name))


@each_conversation
def test_a_mutated_answer_costs_no_memory_beyond_its_size(
    conversation: Conversation, traced_memory: None
) -> None:
    for number in range(MEMORY_CASES):
        size = sum(map(len, mutated_answers(conversation, Random(f"{conversation.name}:{number}"))))
        run_case(conversation, number)  # compiles and caches functions on first use
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        run_case(conversation, number)
        grown = tracemalloc.get_traced_memory()[1] - before
        assert grown < PACKET_SIZE_MAX + 50 * size, f"{conversation.name}:{number} takes {grown} for {size}"


def test_no_memory_is_kept_after_a_connection(traced_memory: None) -> None:
    def kept_after(numbers: range) -> int:
        for conversation in CONVERSATIONS.values():
            run_cases(conversation, numbers)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    first = kept_after(range(30))  # functions compiled and cached on first use stay
    assert kept_after(range(30, 60)) - first < 20_000


def test_a_failure_names_its_case_and_how_to_reproduce_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr(ClientSide, "receive_data", fail)
    with pytest.raises(CaseError, match=r"IndexError: out of range; .*--case reads-3\.9\.5:7"):
        run_cases(CONVERSATIONS["reads-3.9.5"], range(7, 9))


def test_a_hang_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def loop_forever(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr("tests.fuzz.hangs.CPU_SECONDS_MAX", 0.05)
    monkeypatch.setattr(ClientSide, "receive_data", loop_forever)
    with pytest.raises(CaseError, match="HangError"):
        run_cases(CONVERSATIONS["reads-3.9.5"], range(1))


def test_a_case_is_the_same_each_time() -> None:
    conversation = CONVERSATIONS["writes-3.9.5"]
    answers = [mutated_answers(conversation, Random("seed")) for _ in range(2)]
    assert answers[0] == answers[1]


def test_most_mutations_are_noticed_and_many_are_not() -> None:
    # Otherwise the first check would catch all of them, or they would be too harmless.
    noticed = 0
    for number in range(200):
        conversation = CONVERSATIONS["watches-3.9.5"]
        player = Player(conversation)
        for answers in mutated_answers(conversation, Random(f"{number}")):
            player.send_due()
            player.receive([answers])
        player.end()
        ending = player.events[-1]
        assert isinstance(ending, Broken)
        noticed += isinstance(ending.error, ProtocolError)
    assert 60 <= noticed <= 180

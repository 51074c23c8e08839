"""The arithmetic of the proof, with a timeout of 16 s: a sixteenth is a second, the half tick at most 4 s."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import pytest

from zkrecipes.protocol.hold_proof import HALF_TICK_MAX, VALID_FOR, HoldProof

T = 16.0
VALID = VALID_FOR * T


class Answer(NamedTuple):
    sent_at: float
    now: float
    committed: bool = False


def write(sent_at: float, now: float) -> Answer:
    return Answer(sent_at, now, committed=True)


def ping(sent_at: float, now: float) -> Answer:
    return Answer(sent_at, now)


def proof_after(*answers: Answer, connect_sent_at: float = 0.0, half_tick: float | None = None) -> HoldProof:
    proof = HoldProof(half_tick=half_tick)
    proof.attached(sent_at=connect_sent_at, timeout=T)
    for answer in answers:
        proof.answered(sent_at=answer.sent_at, now=answer.now, committed=answer.committed)
    return proof


CONNECT = 0.0


@pytest.mark.parametrize(
    ("answers", "touched_at"),
    [
        pytest.param([], CONNECT, id="nothing answered: the connect request"),
        pytest.param([ping(1, 2), ping(9, 10)], CONNECT, id="pings alone prove nothing"),
        pytest.param([write(9, 10)], CONNECT, id="a write cannot be its own touch"),
        pytest.param([ping(1, 2), write(6, 7)], 1, id="a ping is a touch"),
        pytest.param([write(1, 2), write(6, 7)], 1, id="so is a write"),
        pytest.param([ping(1, 2), write(5.9, 7)], CONNECT, id="answered less than half a tick before"),
        pytest.param([ping(1, 2), ping(3, 6), write(6, 7)], 1, id="sent in time and answered too late"),
        pytest.param([ping(1, 2), ping(2, 3), ping(4, 5), write(8, 9)], 2, id="the newest in time, answered"),
        pytest.param([ping(1, 2), ping(4, 5), write(9, 9.5), write(6, 10)], 4, id="an older write is idle"),
        pytest.param(
            [ping(4, 5), write(9, 9.5), ping(3, 10), write(14, 15)], 9, id="an older touch undoes nothing"
        ),
        pytest.param(
            [ping(1, 2), write(6, 7), ping(11, 12)], 1, id="a ping after the write waits for another"
        ),
        pytest.param([ping(1, 2), write(6, 7), write(11, 12)], 6, id="the newest write counts"),
        pytest.param([ping(1, 2), write(5, 5.5), write(6, 7)], 1, id="a write too early, then one in time"),
    ],
)
def test_a_write_sent_after_these_answers_proves_a_touch(answers: list[Answer], touched_at: float) -> None:
    proof = proof_after(*answers)
    assert proof.write_proves_until == touched_at + VALID
    assert proof.valid_until == -math.inf
    proof.write_committed(proof.write_proves_until)
    assert proof.valid_until == touched_at + VALID


def test_a_known_tick_replaces_the_quarter_of_the_timeout() -> None:
    answers = [ping(1, 2), ping(4, 5), write(6, 7)]
    assert proof_after(*answers).write_proves_until == 1 + VALID
    assert proof_after(*answers, half_tick=1.0).write_proves_until == 4 + VALID
    assert proof_after(*answers, half_tick=HALF_TICK_MAX * T).write_proves_until == 1 + VALID
    assert proof_after(*answers, half_tick=5.0).write_proves_until == CONNECT + VALID


def test_a_write_proves_only_what_was_known_at_its_send() -> None:
    proof = proof_after(ping(1, 2))
    at_send = proof.write_proves_until
    proof.answered(sent_at=6, now=7, committed=True)  # answered at the same time at which the other was sent
    proof.write_committed(at_send)
    assert proof.valid_until == CONNECT + VALID


def test_an_idle_session_proves_a_lock_by_its_create_and_one_check() -> None:
    pings = [ping(at, at + 0.1) for at in (T / 3, 2 * T / 3, T)]
    created_at = T + 1.5
    proof = proof_after(*pings, write(created_at, created_at + 0.1))
    proof.write_committed(proof.write_proves_until)
    assert proof.valid_until == 2 * T / 3 + VALID
    # At worst the ping that counts was sent a third of the timeout and half a tick before the create.
    assert (1 / 3 + HALF_TICK_MAX) * T < VALID


def test_the_steady_state_leaves_nine_sixteenths_after_the_newest_check() -> None:
    proof = proof_after(*(write(float(at), at + 0.1) for at in range(1, 30)))
    proof.write_committed(proof.write_proves_until)  # the check sent at 30
    assert proof.valid_until == pytest.approx(30 + 9, abs=1)


def test_a_new_connection_forgets_the_history_and_keeps_the_proof() -> None:
    proof = proof_after(ping(1, 2), write(6, 7))
    proof.write_committed(proof.write_proves_until)
    of_the_old = proof.write_proves_until
    proof.detached()
    assert proof.write_proves_until == -math.inf
    assert proof.valid_until == of_the_old == 1 + VALID
    proof.answered(sent_at=7, now=8, committed=True)
    assert proof.write_proves_until == -math.inf
    proof.attached(sent_at=9, timeout=T)
    assert proof.write_proves_until == 9 + VALID
    assert proof.valid_until == 1 + VALID
    proof.answered(sent_at=20, now=21, committed=True)
    assert proof.write_proves_until == 9 + VALID
    proof.write_committed(proof.write_proves_until)
    assert proof.valid_until == 9 + VALID


def test_the_smallest_timeout_counts_and_shortens_the_proof() -> None:
    proof = proof_after()
    proof.write_committed(proof.write_proves_until)
    proof.attached(sent_at=2, timeout=T / 2)
    assert proof.timeout == T / 2
    assert proof.valid_until == 2 + VALID / 2
    proof.attached(sent_at=3, timeout=T)
    assert proof.timeout == T / 2
    assert proof.write_proves_until == 3 + VALID / 2
    assert proof.valid_until == 2 + VALID / 2


def test_a_suspension_shortens_the_proof() -> None:
    proof = proof_after()
    proof.write_committed(proof.write_proves_until)
    valid_until = proof.valid_until
    proof.suspended(2.0)
    assert proof.valid_until == valid_until - 2.0


def test_before_the_first_connection_nothing_is_proven() -> None:
    proof = HoldProof()
    assert (proof.timeout, proof.valid_until, proof.write_proves_until) == (math.inf, -math.inf, -math.inf)
    proof.write_committed(proof.write_proves_until)
    assert proof.valid_until == -math.inf


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan])
def test_a_value_that_is_not_above_zero_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="half_tick must be above 0"):
        HoldProof(half_tick=wrong)
    with pytest.raises(ValueError, match="timeout must be above 0"):
        HoldProof().attached(sent_at=0.0, timeout=wrong)


def prove_by_definition(answers: list[Answer], half_tick: float) -> float:
    """Apply the rule by its definition to the whole history: return what a write sent now would prove."""
    writes = [answer for answer in answers if answer.committed]
    if not writes:
        return CONNECT + VALID
    before = max(answer.sent_at for answer in writes) - half_tick
    return max((answer.sent_at for answer in answers if answer.now <= before), default=CONNECT) + VALID


@pytest.mark.parametrize("seed", range(30))
def test_thinning_only_ever_makes_the_proof_older_and_never_by_much(seed: int) -> None:
    rng = random.Random(seed)
    half_tick = rng.choice((0.1, 1.0, HALF_TICK_MAX * T))
    between, until_answered = rng.choice((0.001, 0.02, 0.2, 2.0)), rng.choice((0.001, 0.1, 1.0))
    history: list[Answer] = []
    proof = proof_after(half_tick=half_tick)
    sent_at = now = newest = 0.0
    for _ in range(400):
        sent_at += rng.expovariate(1 / between)
        now = max(now, sent_at + rng.expovariate(1 / until_answered))
        answer = Answer(sent_at, now, committed=rng.random() < 0.3)
        history.append(answer)
        proof.answered(sent_at=sent_at, now=now, committed=answer.committed)
        exactly = prove_by_definition(history, half_tick)
        # Touches are thinned to T/64, and those older than a timeout are dropped, because they prove nothing.
        assert exactly - T / 64 - 1e-9 <= proof.write_proves_until <= exactly or exactly < now, f"seed {seed}"
        assert newest <= proof.write_proves_until <= exactly, f"seed {seed}"
        newest = proof.write_proves_until


def test_touches_without_any_write_are_remembered_for_a_timeout_only() -> None:
    proof = proof_after(*(ping(at / 100, at / 100) for at in range(1, 10_000)))
    proof.answered(sent_at=100 - T / 2, now=100, committed=True)  # answered after a long time
    assert proof.write_proves_until == pytest.approx(100 - T / 2 - T / 4 + VALID, abs=T / 64)
    proof = proof_after(*(ping(at / 100, at / 100) for at in range(1, 10_000)))
    proof.answered(sent_at=50, now=100, committed=True)
    assert proof.write_proves_until == CONNECT + VALID

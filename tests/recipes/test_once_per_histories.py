"""OncePer in histories with crashes, restarts, lost replies, refusals and expiries, and with a line broken.

Each mutation breaks one line of the recipe, and the checker must find it in one of a few histories.
`make sweep` plays more histories than `make test`.
"""

from __future__ import annotations
import __future__

import inspect
import random
import sys
import textwrap
from types import SimpleNamespace
from typing import Any, NamedTuple

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import jumping_backend
from tests.recipes.once_per_checker import RunEnded, RunStarted, check
from tests.recipes.once_per_simulation import History, promises, simulate, simulate_ensemble
from tests.sweeps import IS_WHOLE
from zkrecipes.recipes import once_per_use
from zkrecipes.recipes.once_per_record import Schedule
from zkrecipes.recipes.once_per_use import RunUse

SEEDS = 40 if IS_WHOLE else 4
ENSEMBLE_SEEDS = 20 if IS_WHOLE else 2
MUTATION_SEEDS = 20


def _play(backend: str, seed: int, on_crash: zk.OnCrash) -> History:
    name, options = jumping_backend(backend)
    return anyio.run(simulate, seed, on_crash, backend=name, backend_options=options)


@pytest.mark.sweep
@pytest.mark.timeout(60)
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("on_crash", ["retry", "leave"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_promise_holds_on_a_server_with_faults(backend: str, on_crash: zk.OnCrash, seed: int) -> None:
    events, is_alive = _play(backend, seed, on_crash)
    assert is_alive
    assert sum(isinstance(event, RunStarted) for event in events) >= 5
    assert any(isinstance(event, RunEnded) for event in events)
    assert check(events, promises(on_crash)) == []


@pytest.mark.sweep
@pytest.mark.timeout(60)
@pytest.mark.parametrize("on_crash", ["retry", "leave"])
@pytest.mark.parametrize("seed", range(ENSEMBLE_SEEDS))
def test_every_promise_holds_on_an_ensemble_with_faults(
    on_crash: zk.OnCrash, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zkrecipes.client.connect._RNG", random.Random(seed))
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", SimpleNamespace(shuffle=lambda batch: None))
    name, options = jumping_backend("trio")
    events, is_alive = anyio.run(simulate_ensemble, seed, on_crash, backend=name, backend_options=options)
    assert is_alive
    assert sum(isinstance(event, RunStarted) for event in events) >= 5
    assert check(events, promises(on_crash)) == []


# --- mutations -----------------------------------------------------------------------------------------


class Mutation(NamedTuple):
    """One broken line.

    Attributes:
        owner: the class or module of the function.
        function: its name.
        line: the part of the line to replace.
        broken: the replacement.
        on_crash: the option of the job in which it shows.
        fault: a part of the checker's report.
    """

    owner: Any
    function: str
    line: str
    broken: str
    on_crash: zk.OnCrash
    fault: str

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace the function by one with the broken line."""
        function = getattr(self.owner, self.function)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.line) == 1, f"{self.line!r} is not one line of {self.function}"
        names: dict[str, Any] = {}
        code = compile(
            source.replace(self.line, self.broken),
            f"<broken {self.function}>",
            "exec",
            __future__.annotations.compiler_flag,
        )
        exec(code, vars(sys.modules[function.__module__]), names)
        monkeypatch.setattr(self.owner, self.function, names[self.function])


_ENDING = once_per_use._Ending  # noqa: SLF001 - a mutation of the recipe
MUTATIONS = {
    "a finished run does not use up its period": Mutation(
        Schedule, "uses_up_period", "return True", "return False", "retry", "has finished"
    ),
    "a run that died is started again": Mutation(
        Schedule, "uses_up_period", 'return self.on_crash == "leave"', "return False", "leave", "had the run"
    ),
    "the start of a run is not recognized after a lost reply": Mutation(
        RunUse,
        "_try_to_start",
        "if record.run is not None and",
        "if False and",
        "retry",
        "was started before",
    ),
    "the time is that of an engine whose clock is fast": Mutation(
        RunUse,
        "_read",
        "stat.mtime / 1000",
        "stat.mtime / 1000 + 15 * (api.session.id % 2)",
        "leave",
        "had the",
    ),
    "a run is due before its time": Mutation(
        RunUse, "_try_to_start", "if due_at > now:", "if due_at > now + 5:", "retry", "has finished"
    ),
    "a call is refused although the period had no run": Mutation(
        Schedule,
        "due_at",
        "self._next_period(last.started_at)",
        "last.started_at + 45",
        "retry",
        "no run has",
    ),
    "at_most_for does not cancel the block": Mutation(
        RunUse, "_enter", "self._scope.deadline =", "_ =", "retry", "the block took"
    ),
    "a failed run is recorded as finished": Mutation(
        once_per_use,
        "_describe",
        'return "failed", text',
        'return "finished", text',
        "retry",
        "has not ended",
    ),
    "an end that was not recorded is not reported": Mutation(
        _ENDING,
        "_settle",
        "return LockLostError(",
        "return (lambda *_, **__: None)(",
        "retry",
        "the record says",
    ),
    "the end is recorded before the block has ended": Mutation(
        RunUse,
        "_enter",
        "return Run(hold, record)",
        "self._api.start_clean_up("
        '_Ending(self._job, self._lock, self._session, self._started, ("failed", "")).run); '
        "return Run(hold, record)",
        "retry",
        "its block is running",
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_the_checker_finds_a_recipe_with_one_line_broken(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation.apply(monkeypatch)
    for seed in range(MUTATION_SEEDS):
        faults = check(_play("asyncio", seed, mutation.on_crash).events, promises(mutation.on_crash))
        if any(mutation.fault in fault for fault in faults):
            return
    raise AssertionError("no history shows the fault")

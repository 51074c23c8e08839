"""Generated histories: the same steps give the same history, so that a failure is repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import ReceivedRequest, World, jumping_backend
from tests.recipes.histories import Step, Worker, play
from zkrecipes.devserver import FaultKind

STEPS: list[Step] = [
    ("want", 0, None),
    ("want", 1, None),
    ("fault", 2, (2, FaultKind.AFTER_COMMIT)),
    ("want", 2, None),
    ("cut", 0, None),
    ("pass time", 0, 16.0),
    ("want", 1, None),
    ("cut", 1, None),
    ("pass time", 0, 31.0),  # long enough to make the pauses between tries long as well
    ("heal", 0, None),
    ("expire", 2, None),
    ("leave", 0, None),
    ("want", 0, None),
]


class _Job:
    def enter(self, client: zk.Client, worker: Worker) -> AbstractAsyncContextManager[zk.Hold]:
        del worker
        return zk.Mutex(client, "/locks/job")

    def check(self, inside: Sequence[Worker]) -> None:
        assert len(inside) == 1

    async def change(self, client: zk.Client, number: int, inside: Sequence[Worker]) -> None:
        raise NotImplementedError


def _requests_of(backend: str) -> list[tuple[float, int, int]]:
    seen: list[ReceivedRequest] = []

    def make(there: World) -> _Job:
        there.requests = seen
        return _Job()

    name, options = jumping_backend(backend)
    anyio.run(play, STEPS, make, {"/locks", "/locks/job"}, backend=name, backend_options=options)
    return [(each.at, each.session_id, each.opcode) for each in seen]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_the_same_steps_give_the_same_history(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # hypothesis seeds trio's shuffling of tasks; here there is none
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", SimpleNamespace(shuffle=lambda batch: None))
    first = _requests_of(backend)
    assert len(first) > 30
    assert first == _requests_of(backend)

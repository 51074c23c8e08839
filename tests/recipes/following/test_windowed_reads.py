"""Requests about many znodes, a bounded number at a time."""

from __future__ import annotations

import pytest

from zkrecipes.recipes.following.windowed_reads import WINDOW, ask_each

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("count", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW])
async def test_items_are_taken_in_order_with_at_most_a_window_in_flight(count: int) -> None:
    under_way, most, taken = 0, 0, []

    def ask(item: int) -> str | None:
        nonlocal under_way, most
        if item % 10 == 3:
            return None
        under_way += 1
        most = max(most, under_way)
        return f"request {item}"

    async def take(item: int, request: str) -> None:
        nonlocal under_way
        assert request == f"request {item}"
        under_way -= 1
        taken.append(item)

    await ask_each(range(count), ask, take)
    assert taken == [item for item in range(count) if item % 10 != 3]
    assert most <= WINDOW
    assert under_way == 0


async def test_items_that_are_added_during_the_iteration_are_asked_about() -> None:
    gone: set[int] = set()

    async def take(item: int, request: int) -> None:
        gone.add(item + WINDOW)

    asked = []

    def ask(item: int) -> int | None:
        if item in gone:
            return None
        asked.append(item)
        return item

    await ask_each(range(WINDOW + 200), ask, take)
    assert len(asked) == WINDOW

"""Asking about many znodes, some at a time."""

from __future__ import annotations

import pytest

from zkrecipes.recipes.following.windowed import WINDOW, ask_each

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("count", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW])
async def test_each_is_asked_and_taken_in_order_and_no_more_than_a_window_at_once(count: int) -> None:
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


async def test_what_is_found_meanwhile_is_seen_by_later_questions() -> None:
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

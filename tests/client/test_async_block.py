"""A call whose result is entered: what entering gives, and what each wrong use of it reports."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator

import pytest

from zkrecipes.client.async_block import async_block

pytestmark = pytest.mark.anyio

REMEDY = r"`async with thing.open\(…\) as value:`"


@async_block("thing.open(…)", "value")
async def opened(value: int, *, events: list[str] | None = None) -> AsyncIterator[int]:
    """Open it."""
    if events is None:
        yield value
        return
    events.append("entered")
    try:
        yield value
    except KeyError:
        events.append("KeyError")
    finally:
        events.append("left")


async def test_it_gives_what_the_generator_yields_and_passes_errors_on() -> None:
    events: list[str] = []
    async with opened(3, events=events) as value:
        assert value == 3
        assert events == ["entered"]
    async with opened(3, events=events):
        events.extend(_raise_key_error())
    with pytest.raises(ZeroDivisionError):
        async with opened(3, events=events):
            raise ZeroDivisionError
    assert events == ["entered", "left", "entered", "KeyError", "left", "entered", "left"]


def _raise_key_error() -> list[str]:
    raise KeyError


async def test_it_keeps_the_documentation_of_the_function() -> None:
    assert opened.__doc__ == "Open it."


async def test_awaiting_it_says_how_it_is_entered() -> None:
    with pytest.raises(TypeError, match=rf"must be entered with `async with`, not awaited: {REMEDY}"):
        await opened(3)  # type: ignore[misc]


async def test_using_it_before_it_is_entered_says_so() -> None:
    with pytest.raises(AttributeError, match=rf"must be entered before \.real can be used: {REMEDY}"):
        _ = opened(3).real  # type: ignore[attr-defined]


async def test_iterating_over_it_says_that_it_must_be_entered_first() -> None:
    with pytest.raises(TypeError, match=rf"must be entered before it is iterated over: {REMEDY}"):
        async for _ in opened(3):  # type: ignore[attr-defined]
            pass


async def test_a_plain_with_says_that_it_must_be_async() -> None:
    with (
        pytest.raises(TypeError, match=rf"must be entered with `async with`, not `with`: {REMEDY}"),
        opened(3),  # type: ignore[attr-defined]
    ):
        pass


async def test_forgetting_it_warns() -> None:
    with pytest.warns(RuntimeWarning, match=rf"was never entered, so it had no effect: {REMEDY}"):
        opened(3)


async def test_an_error_that_was_reported_is_not_reported_again() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for wrong in ("real", "imag"):
            with pytest.raises(AttributeError):
                getattr(opened(3), wrong)
        async with opened(3):
            pass
    assert not caught


async def test_a_wrong_argument_shows_no_other_argument_in_its_frames() -> None:
    with pytest.raises(TypeError) as caught:
        opened(3, evnts=["a secret"])  # type: ignore[call-arg]
    frame = caught.value.__traceback__
    assert frame is not None
    while (frame := frame.tb_next) is not None:
        assert "a secret" not in repr(frame.tb_frame.f_locals)

"""Secrets: hidden by their `repr`, and absent from tracebacks."""

from __future__ import annotations

import traceback

import pytest

from zkrecipes.codec.secret import SecretBytes, hides_arguments, hides_arguments_of_init


def test_a_secret_and_its_slices_show_only_their_length() -> None:
    secret = SecretBytes(b"hunter2")
    assert repr(secret) == str(secret) == "<7 secret bytes>"
    assert repr(secret[:3]) == "<3 secret bytes>"
    assert list(secret.__rich_repr__()) == [7]
    assert secret[0] == ord("h")
    assert repr(bytes(secret)) == "b'hunter2'"


def test_an_error_of_a_hiding_function_has_no_frame_with_its_arguments() -> None:
    @hides_arguments
    def refuse(password: str) -> None:
        try:
            raise KeyError(password)
        except KeyError as error:
            raise ValueError("refused") from error

    with pytest.raises(ValueError, match="refused") as caught:
        refuse("hunter2")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert all("hunter2" not in repr(frame.f_locals) for frame in frames[1:])


def test_a_hiding_function_returns_its_result() -> None:
    assert hides_arguments(len)("hunter2") == 7


def test_a_class_can_hide_the_arguments_of_its_constructor() -> None:
    @hides_arguments_of_init
    class User:
        def __init__(self, password: str) -> None:
            raise TypeError(f"{len(password)} characters")

    with pytest.raises(TypeError, match="7 characters") as caught:
        User("hunter2")
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert all("hunter2" not in repr(frame.f_locals) for frame in frames[1:])

"""The event loops that the client supports, for test modules that run on real ones."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

_UVLOOP = pytest.param(
    ("asyncio", {"use_uvloop": True}),
    id="uvloop",
    marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop does not install here"),
)


def every_loop() -> Any:
    """Return a fixture for a test module: `anyio_backend = every_loop()`."""

    @pytest.fixture(scope="module", params=["trio", "asyncio", _UVLOOP])
    def anyio_backend(request: pytest.FixtureRequest) -> Any:
        return request.param

    return anyio_backend

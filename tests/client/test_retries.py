"""The recipes' rule for trying again."""

from __future__ import annotations

import logging

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time
from zkrecipes.client.retries import Retries
from zkrecipes.errors import RequestTimeoutError, ThrottledError

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

LOSS = zk.ConnectionLossError("/n")
EXPIRED = zk.SessionExpiredError(1)


async def seconds_after(retries: Retries, error: zk.ZooKeeperError) -> float:
    start = anyio.current_time()
    await retries.wait_after(error)
    return anyio.current_time() - start


@pytest.mark.parametrize("error", [LOSS, EXPIRED])
async def test_there_is_no_pause_after_a_loss_or_an_expiry(error: zk.ZooKeeperError) -> None:
    assert await seconds_after(Retries(lambda: False), error) == 0


async def test_pauses_after_transient_answers_double_until_a_reset() -> None:
    retries = Retries(lambda: False, pause_after_loss=True)
    waited = [await seconds_after(retries, error) for error in (ThrottledError("/n"), LOSS)]
    retries.reset()
    waited.append(await seconds_after(retries, RequestTimeoutError("/n")))
    assert waited == pytest.approx([0.05, 0.1, 0.05])


@pytest.mark.parametrize(
    ("is_over", "error"),
    [(True, EXPIRED), (False, zk.NoAuthError("/n")), (False, zk.PacketTooLargeError("/n", size=2, limit=1))],
)
async def test_an_error_that_another_try_cannot_help_is_raised(
    is_over: bool, error: zk.ZooKeeperError
) -> None:
    with pytest.raises(type(error)):
        await Retries(lambda: is_over).wait_after(error)


async def test_a_pause_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zkrecipes.recipes")
    retries = Retries(lambda: False, failure="could not read /n", path="/n")
    for error in (LOSS, EXPIRED, ThrottledError("/n")):
        await retries.wait_after(error)
    assert [each.getMessage() for each in caplog.records] == [
        f"could not read /n: {ThrottledError('/n')} (retrying)"
    ]

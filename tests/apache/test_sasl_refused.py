"""The answers of servers of each release when SASL has failed, and the resulting errors."""

from __future__ import annotations

from pathlib import Path

import pytest

import zkrecipes as zk
from tests.apache.guarded import REFUSED, SASL, serving
from zkrecipes.enums import ServerVersion

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

WRONG = zk.DigestMD5("bob", "not the password")


async def test_a_wrong_password_is_reported_with_every_release(tmp_path: Path) -> None:
    """Case 63. Servers of 3.4 close the connection silently, like a server that shuts down."""
    with serving(tmp_path, dict(SASL)) as served:
        async with served.connect() as client:
            assert await client.exists("/") is not None
        if served.version > ServerVersion.V3_4:
            assert await served.why_not(WRONG) == REFUSED
            return
        with pytest.raises(zk.ConnectTimeoutError) as caught:
            async with served.connect(WRONG, connect_timeout=2):
                raise AssertionError("attached")
        (reason,) = caught.value.reasons.values()
        assert reason == (
            "closed by the server during the SASL authentication, as older servers refuse it; look at user "
            "and password, and whether its mechanism is DIGEST-MD5; its log says why"
        )

"""The read-write lock against the dev server and Apache's: sharing, and a downgrade under waiters."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.apache.served import Served
from zkrecipes.recipes.locking.lock_layouts import LockLayoutName

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("layout", ["kazoo", "curator"])
async def test_a_writer_is_alone_and_becomes_a_reader(
    server: Served, fresh_path: str, layout: LockLayoutName
) -> None:
    with anyio.fail_after(15):
        async with (
            zk.connect(server.connect_string, session_timeout=10) as one,
            zk.connect(server.connect_string, session_timeout=10) as other,
        ):
            ours, theirs = (zk.ReadWriteLock(each, fresh_path, layout=layout) for each in (one, other))
            entered: list[str] = []

            async def enter(acquisition: zk.Acquisition, name: str) -> None:
                async with acquisition:
                    entered.append(name)

            async with anyio.create_task_group() as tasks, ours.write() as hold:
                for number, name in enumerate(["reader", "writer"], 2):
                    acquisition = theirs.read() if name == "reader" else theirs.write()
                    tasks.start_soon(enter, acquisition, name)
                    while len(await ours.contenders()) < number:  # noqa: ASYNC110 - polling
                        await anyio.sleep(0.01)
                assert entered == []
                await ours.downgrade()
                while len(await ours.contenders()) > 2:  # noqa: ASYNC110 - polling
                    await anyio.sleep(0.01)
                assert entered == ["reader"]
                await hold.confirm()
            assert entered == ["reader", "writer"]
            assert await ours.contenders() == []

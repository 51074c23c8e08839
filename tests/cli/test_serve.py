"""The dev server from the command line, and what its clients live through."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import ExitStack

import pytest
import trio

import zkrecipes as zk
from tests.cli.commands import DEV_SERVER, ZKRECIPES, run_command, running_server
from zkrecipes.cli.exit_codes import ExitCode


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_ends_it(number: signal.Signals) -> None:
    with running_server(*ZKRECIPES, "serve", "--port", "0") as (process, hosts):
        assert trio.run(_create, hosts) == "/a"
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == ExitCode.OK
        assert not errors


def test_a_port_in_use_is_one_line_and_its_own_code() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command("serve", "--port", str(port))
    assert done.returncode == ExitCode.CANNOT_LISTEN
    assert not done.stdout
    assert done.stderr == f"zkrecipes: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_running_client_goes_on_after_a_restart_of_the_server() -> None:
    with ExitStack() as servers:
        first, hosts = servers.enter_context(running_server(*DEV_SERVER, "--port", "0"))

        def restart() -> None:
            first.kill()
            first.wait()
            servers.enter_context(running_server(*DEV_SERVER, "--port", hosts.rpartition(":")[2]))

        async def work(mutex: zk.Mutex) -> None:
            async with mutex:
                await trio.to_thread.run_sync(restart)
                await trio.sleep_forever()

        async def outlive() -> None:
            async with zk.connect(hosts) as client:
                before = client.session
                mutex = zk.Mutex(client, "/locks/job")
                with pytest.raises(zk.LockLostError):
                    await work(mutex)
                # Everything was in memory: the session is another one, and the lock's directory is gone.
                async with mutex as hold:
                    hold.check()
                assert before.state is zk.SessionState.EXPIRED
                assert client.session.id != before.id

        trio.run(outlive)


async def _create(hosts: str) -> str:
    async with zk.connect(hosts) as client:
        return await client.create("/a")

"""One Apache ZooKeeper server as an async context manager, with methods to make it fail."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, final

import anyio

from zkrecipes.ensemble.errors import ServerStartError
from zkrecipes.ensemble.four_letter import ServerStatus, ask, parse_mntr, parse_srvr
from zkrecipes.ensemble.installation import Installation, find_installation
from zkrecipes.ensemble.java_process import ServerProcess
from zkrecipes.ensemble.ports import free_ports
from zkrecipes.ensemble.zoo_cfg_writer import LOGGER_FILES, Peer, Setting, render

__all__ = ["ApacheServer"]

_MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_HOST = "127.0.0.1"
# A server starts in half a second, or in a few on a loaded machine; after 30 s it will not start.
_START_LIMIT = 30.0
_STOP_LIMIT = 10.0
_POLL_INTERVAL = 0.03
_ANSWER_LIMIT = 2.0
_LOG_TAIL_LINES = 30


@final
class ApacheServer:
    """A real Apache ZooKeeper server on 127.0.0.1 that runs while the block runs.

    ```python
    async with ApacheServer(settings={"tickTime": 500}) as server:
        async with zk.connect(server.connect_string) as client: ...
        server.kill()
        await server.start()  # the same port, the same data
    ```

    Entering waits until the server serves. No part of it belongs to an event loop, so several loops may use
    one server, one after another or at the same time; but calls that start and stop it must not overlap.
    `kill`, `pause` and `resume` act immediately and do not wait.

    Args:
        port: the port for clients; None for a free one.
        directory: the folder for configuration, data and log, which stays; None for a temporary folder, which
            is removed at the end. If this program is killed, a watchdog process removes the folder and ends
            the server.
        settings: zoo.cfg's keys and values, such as `{"tickTime": 500}`.
        properties: Java system properties, such as `{"zookeeper.nio.numWorkerThreads": 0}`.
        java_options: further options of `java`, such as `"-Xmx1g"`.
        installation: the installation to run; None for the result of `find_installation`.
        server_id: this server's number in an ensemble, a key of `peers`.
        peers: the members of the ensemble by number; None for a standalone server. No member serves without a
            quorum, so enter the members concurrently, or use `ApacheEnsemble`.

    Raises:
        ServerNotFoundError: in the constructor: ZooKeeper or Java is not installed.
        ServerStartError: on entering: the server ended, or does not serve after 30 s. It has the end of the
            log.
        ValueError: a setting is one that this class sets itself (`clientPort`, `dataDir` …), or is not a
            valid line of a zoo.cfg.

    **Cancellation**: a cancelled start ends the process; leaving always ends it.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        directory: Path | None = None,
        settings: Mapping[str, Setting] | None = None,
        properties: Mapping[str, Setting] | None = None,
        java_options: Sequence[str] = (),
        installation: Installation | None = None,
        server_id: int = 1,
        peers: Mapping[int, Peer] | None = None,
    ) -> None:
        self._installation = find_installation() if installation is None else installation
        self._port = free_ports(1)[0] if port is None else port
        self._server_id = server_id
        self._peers = dict(peers or {})
        self._settings = dict(settings or {})
        self._properties = dict(properties or {})
        self._java_options = tuple(java_options)
        self._given_directory = directory
        self._process: ServerProcess | None = None
        self._directory: Path | None = None
        # To refuse bad settings here rather than when entering.
        self._zoo_cfg(Path())

    def __repr__(self) -> str:
        state = "running" if self.is_running else "not running"
        return f"<ApacheServer {self.connect_string} {state}>"

    @property
    def host(self) -> str:
        """The address for clients."""
        return _HOST

    @property
    def port(self) -> int:
        """The port for clients, which stays the same over restarts."""
        return self._port

    @property
    def connect_string(self) -> str:
        """The connect string, `host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def server_id(self) -> int:
        """The number in the ensemble; 1 for a standalone server."""
        return self._server_id

    @property
    def directory(self) -> Path:
        """The folder with `zoo.cfg`, `data` and `server.log`.

        Raises:
            RuntimeError: outside the block.
        """
        if self._directory is None:
            raise RuntimeError("the server has a folder only inside its `async with` block")
        return self._directory

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process exists, be it serving, starting or paused."""
        return self._process is not None and self._process.is_running

    async def __aenter__(self) -> Self:
        self.open()
        try:
            await self.start()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._given_directory is not None:  # data that stays needs an orderly stop
                with anyio.CancelScope(shield=True):
                    await self.stop()
        finally:
            self.close()

    def open(self) -> None:
        """Create the folder without starting the server; for callers that cannot use `async with`.

        Raises:
            RuntimeError: the server is open already.
        """
        if self._process is not None:
            raise RuntimeError("the server is open already")
        directory = self._given_directory
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="zkrecipes-"))
        self._directory = directory = directory.absolute()
        self._write_files(directory)
        self._process = ServerProcess(
            self._command(directory),
            directory=directory,
            log=directory / "server.log",
            is_temporary=self._given_directory is None,
        )

    def close(self) -> None:
        """Kill the server if it runs, and remove the folder if it is temporary."""
        if self._process is not None:
            self._process.close()
            self._process = None
        if self._directory is not None and self._given_directory is None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None

    async def start(self) -> None:
        """Start the server, for the first time or after `kill` or `stop`, and wait until it serves.

        Raises:
            ServerStartError: the server ended, or does not serve after 30 s and was killed.
            RuntimeError: the server runs already, or the call is outside the block.
        """
        self.launch()
        try:
            await self.wait_until_serving()
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Start the process without waiting, because a member of an ensemble serves only with a quorum.

        Raises:
            RuntimeError: the server runs already, or the call is outside the block.
        """
        self._open_process().launch()

    async def wait_until_serving(self) -> ServerStatus:
        """Wait until the server serves, and return its status.

        Raises:
            ServerStartError: the server's process has ended, or 30 s have passed.
        """
        process = self._open_process()
        with anyio.move_on_after(_START_LIMIT):
            while process.is_running:
                status = await self.status()
                if status is not None:
                    return status
                await anyio.sleep(_POLL_INTERVAL)
            raise ServerStartError(
                f"the server {self.connect_string} ended with status {process.exit_status}", self.log_tail()
            )
        raise ServerStartError(
            f"the server {self.connect_string} does not serve after {_START_LIMIT:g} s", self.log_tail()
        )

    async def stop(self) -> None:
        """End the server with SIGTERM, and with SIGKILL if that takes more than 10 s."""
        process = self._open_process()
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)  # a paused process does not react to SIGTERM
        with anyio.move_on_after(_STOP_LIMIT):
            while process.is_running:  # noqa: ASYNC110 - only polling works on every system
                await anyio.sleep(_POLL_INTERVAL)
        process.kill()
        await anyio.lowlevel.checkpoint()

    async def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same port with the same data.

        Raises:
            ServerStartError: see `start`.
        """
        await self.stop()
        await self.start()

    def kill(self) -> None:
        """End the process with SIGKILL, like a power failure. Do nothing if it has ended."""
        self._open_process().kill()

    def pause(self) -> None:
        """Stop the process with SIGSTOP, so that connections stay open and nothing is answered."""
        self._open_process().signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process continue."""
        self._open_process().signal(signal.SIGCONT)

    async def status(self) -> ServerStatus | None:
        """Ask the server for its status with `srvr`.

        Returns:
            The status; None if nothing listens, the server does not answer within 2 s, or it is not serving.
        """
        return parse_srvr(await self._answer("srvr"))

    async def metrics(self) -> dict[str, str]:
        """Ask the server for its metrics with `mntr`, such as `zk_synced_followers` on a leader.

        Returns:
            The unparsed values by name; empty if `status` would be None.
        """
        return parse_mntr(await self._answer("mntr"))

    def log_tail(self) -> str:
        """Return the last thirty lines of the server's log."""
        try:
            text = (self.directory / "server.log").read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])

    async def _answer(self, word: str) -> str:
        with anyio.move_on_after(_ANSWER_LIMIT):
            try:
                return await ask(self.host, self.port, word)
            except OSError:
                return ""
        return ""

    def _open_process(self) -> ServerProcess:
        if self._process is None:
            raise RuntimeError("the server must be used inside its `async with` block")
        return self._process

    def _write_files(self, directory: Path) -> None:
        for folder in ("conf", "data", "tmp"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        for name, text in LOGGER_FILES.items():
            (directory / "conf" / name).write_text(text, "utf-8")
        (directory / "zoo.cfg").write_text(self._zoo_cfg(directory), "utf-8")
        if self._peers:
            (directory / "data" / "myid").write_text(f"{self._server_id}\n", "ascii")

    def _zoo_cfg(self, directory: Path) -> str:
        return render(
            self._settings, host=self.host, port=self.port, data=directory / "data", peers=self._peers
        )

    def _command(self, directory: Path) -> list[str]:
        class_path = [directory / "conf", *self._installation.class_path]
        return [
            str(self._installation.java),
            "-cp",
            ":".join(map(str, class_path)),
            "-Xmx512m",
            # With these two options, a killed server leaves no files in /tmp.
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={directory / 'tmp'}",
            "-Djava.awt.headless=true",
            "-Dlog4j2.level=INFO",
            *self._java_options,
            *(f"-D{key}={_java_word(value)}" for key, value in self._properties.items()),
            _MAIN_CLASS,
            str(directory / "zoo.cfg"),
        ]


def _java_word(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

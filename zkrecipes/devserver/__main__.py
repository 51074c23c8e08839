"""`python -m zkrecipes.devserver`: a server in the foreground, for development."""

from __future__ import annotations

import argparse
import signal
import sys

import anyio

from zkrecipes.devserver.server import DevServer

__all__ = ["main", "serve"]

_EPILOG = """\
exit codes: 0 after SIGINT or SIGTERM, 1 where the address cannot be listened on, 2 for wrong arguments.
Everything is in memory and gone when the server ends. It is for development and tests, never for production.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        anyio.run(serve, options.host, options.port, backend="trio")
    except OSError as error:
        where = f"{options.host}:{options.port}"
        sys.stderr.write(f"cannot listen on {where}: {error.strerror or error}\n")
        return 1
    return 0


async def serve(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; one line on standard output says when it is ready.

    Raises:
        OSError: the address cannot be listened on.
    """
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with DevServer(host=host, port=port) as server:
            sys.stdout.write(f"zkrecipes dev server ready on {server.connect_string}\n")
            sys.stdout.flush()
            async for _ in signals:
                return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zkrecipes.devserver",
        description="A ZooKeeper server in memory, in the foreground.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=2181, help="the port; 0 takes a free one (default: %(default)s)"
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, not {port}")
    return port


if __name__ == "__main__":
    sys.exit(main())

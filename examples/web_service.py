"""A web service (Starlette, or FastAPI) that stops serving when its ZooKeeper client has ended permanently.

A client ends permanently if it may not renew its session (`renew=False`) or a server refuses its password.
uvicorn only logs an error that the lifespan raises after the start, and continues to serve requests, all of
which fail.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import zkrecipes as zk


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Keep one client for the whole service."""
    try:
        async with zk.connect(app.state.hosts, session_timeout=4, renew=False) as client:
            app.state.client = client
            yield
    except zk.ZooKeeperError as error:
        print("the client has ended:", type(error).__name__)
        signal.raise_signal(signal.SIGTERM)  # uvicorn shuts down, and its supervisor starts it again


async def health(request: Request) -> JSONResponse:
    """Report whether requests can flow: 503 takes this instance out of the load balancer."""
    state = request.app.state.client.state
    return JSONResponse({"zookeeper": state.name}, status_code=200 if state.is_connected else 503)


app = Starlette(lifespan=lifespan, routes=[Route("/health", health)])
app.state.hosts = "h1:2181,h2:2181"


async def main() -> None:
    """Demonstrate it: the session expires, and the service stops."""
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when it has stopped
    async with zk.DevServer() as dev_server:
        app.state.hosts = dev_server.connect_string
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.01)
        print("serving")
        dev_server.expire(app.state.client.session.id)
        await serving
        print("stopped")


if __name__ == "__main__" and sys.platform != "win32":
    asyncio.run(main())

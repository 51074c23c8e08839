"""Report a client's slow requests and print its statistics."""

import trio

import zkrecipes as zk


class SlowRequests(zk.Instrument):
    """An instrument that reports slow requests."""

    def request_finished(self, request: zk.ObservedRequest) -> None:
        """Check one request. The client calls it for each request."""
        if request.latency > 0.05:
            print(f"slow: {request.operation} {request.path}")


async def main() -> None:
    server = zk.DevServer()
    async with server, zk.connect(server.connect_string, instrument=SlowRequests()) as client:
        await client.create("/jobs")
        held = server.faults.hold_replies()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/jobs")
            await trio.sleep(0.1)
            held.release()
        stats = client.stats()
        print(f"{stats.state.value}, {stats.connections} connection, {stats.outstanding} outstanding")


trio.run(main)

"""A program hands its session and its ephemeral znodes over to its successor."""

import json
import tempfile
from pathlib import Path

import trio

import zkrecipes as zk


def save(key: zk.SessionKey, file: Path) -> None:
    """Save the key for the successor, readable only by the owner, because it gives access to the session."""
    file.touch(mode=0o600)
    file.write_text(json.dumps([key.id, key.password.hex(), key.timeout]))


def load(file: Path) -> zk.SessionKey:
    """Load the key of the predecessor."""
    session_id, password, timeout = json.loads(file.read_text())
    return zk.SessionKey(session_id, bytes.fromhex(password), timeout)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "session.json"
        await hand_over(file)


async def hand_over(file: Path) -> None:
    async with zk.DevServer() as server:
        async with zk.connect(server.connect_string, keep_session=True) as client:
            await client.create("/workers/7", b"version 1", ephemeral=True, make_parents=True)
            save(client.session.key, file)

        # Usually this is the next process.
        key = load(file)
        async with zk.connect(server.connect_string, resume=key) as client:
            print("the same session:", client.session.id == key.id)
            await client.set("/workers/7", b"version 2")
            print(await client.get_children("/workers"))


trio.run(main)

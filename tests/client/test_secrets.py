"""A crash shows no secret: not in the log, the traceback, the error or the local variables."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from pathlib import Path

import anyio
import pytest

from tests.client.crashing_program import WAYS
from tests.house.source_tree import ROOT
from tests.net.tls_peers import encrypt_key, papers

pytestmark = pytest.mark.anyio

SECRET = "open-sesame"
JAAS = f"""Client {{
    org.apache.zookeeper.server.auth.DigestLoginModule required
    username="bob"
    password="{SECRET}";
}};
"""
TOLD = {
    "auth_is_refused": "the server refused the credentials",
    "added_auth_is_refused": "the server refused the credentials",
    "sasl_is_refused": "the server refused the SASL authentication",
    "sasl_is_not_there": "SASL is not configured there",
    "nobody_answers": "ConnectTimeoutError",
    "the_block_has_a_bug": "NodeExistsError",
    "the_session_expires": "SessionExpiredError",
    "a_key_is_not_opened": "key_password does not decrypt the key",
    "a_key_stands_where_a_certificate_should": "must contain a certificate in PEM",
    "a_jaas_file_is_broken": "expected",
    "a_jaas_file_lacks_the_section": "must have a section Another",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the program reads, or cannot read."""
    folder = tmp_path_factory.mktemp("files")
    encrypt_key(papers(folder).issue("me", "me@example.org"), b"another password")
    key = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
    (folder / "secret-key.pem").write_text(key)
    (folder / "whole.jaas").write_text(JAAS)
    (folder / "broken.jaas").write_text(JAAS.replace("};", ""))
    return folder


def test_every_way_is_tried() -> None:
    assert list(TOLD) == list(WAYS)


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize(("way", "told"), TOLD.items())
async def test_a_crash_shows_no_secret(files: Path, way: str, told: str, anyio_backend: str) -> None:
    """Run one case in a separate process."""
    command = [sys.executable, "-X", "dev", "-m", "tests.client.crashing_program", way]
    environment = {**os.environ, "SECRET": SECRET, "FOLDER": str(files)}
    done = await anyio.run_process(command, check=False, cwd=ROOT, env=environment)
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert told in output
    for form in (SECRET, SECRET.encode().hex(), b64encode(SECRET.encode()).decode()):
        assert form not in output

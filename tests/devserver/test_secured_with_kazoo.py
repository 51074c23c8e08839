"""kazoo authenticates with a secured dev server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError
from kazoo.security import ACL, Id

from tests.net.tls_peers import papers
from zkrecipes.devserver import DevServer
from zkrecipes.testing import ThreadedDevServer

BOB = {"mechanism": "DIGEST-MD5", "username": "bob", "password": "open-sesame"}


@contextmanager
def _client(hosts: str, **options: Any) -> Iterator[KazooClient]:
    client = KazooClient(hosts, timeout=10, **options)
    client.start(timeout=10)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def test_kazoo_authenticates_through_sasl() -> None:
    dev_server = DevServer(sasl_users={"bob": "open-sesame"}, sasl_required=True)
    with ThreadedDevServer(dev_server) as server, _client(server.connect_string, sasl_options=BOB) as client:
        client.create("/mine", b"data", acl=[ACL(31, Id("sasl", "bob"))])
        assert client.get("/mine")[0] == b"data"


def test_kazoo_is_refused_with_a_wrong_password() -> None:
    dev_server = DevServer(sasl_users={"bob": "another"})
    with (
        ThreadedDevServer(dev_server) as server,
        _client(server.connect_string, sasl_options=BOB) as client,
        pytest.raises(AuthFailedError),
    ):
        client.get("/")


def test_kazoo_speaks_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    authority = papers(tmp_path)
    own = authority.issue("client", common_name="kazoo")
    context = authority.server_context("127.0.0.1", wants_clients=True)
    with ThreadedDevServer(DevServer(tls=context)) as server:
        options = {"use_ssl": True, "ca": str(authority.ca_file), "certfile": str(own), "keyfile": str(own)}
        with _client(server.connect_string, **options) as client:
            client.create("/n", b"data")
            assert client.get("/n")[0] == b"data"

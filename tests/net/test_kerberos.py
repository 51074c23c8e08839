"""The caller's options for Kerberos. Exchanges with a KDC are tested with Apache's server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from zkrecipes import Kerberos


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"principal": b"me"}, "principal must be a str, not bytes"),
        ({"keytab": b"a.keytab"}, "keytab must be the path of a file, not bytes"),
        ({"cache_file": 1}, "cache_file must be the path of a file, not int"),
        ({"service": None}, "service must be a str, not NoneType"),
        ({"server_realm": 1}, "server_realm must be a str, not int"),
        ({"server_principal": 1}, "server_principal must be a str, not int"),
    ],
)
def test_options_of_the_wrong_type_are_a_type_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Kerberos(**options)


@pytest.mark.parametrize("service", ["zookeeper/zk1", "zookeeper@zk1"])
def test_a_service_is_not_a_principal(service: str) -> None:
    with pytest.raises(
        ValueError,
        match=f"service must be only the first part of a principal, without '/' and '@', not '{service}'",
    ):
        Kerberos(service=service)


@pytest.mark.parametrize("realm", ["zk1@EXAMPLE.ORG", "zookeeper/zk1"])
def test_a_realm_is_not_a_principal(realm: str) -> None:
    with pytest.raises(
        ValueError,
        match=f"server_realm must be only the realm of a principal, without '/' and '@', not '{realm}'",
    ):
        Kerberos(server_realm=realm)


def test_a_realm_and_a_whole_principal_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="server_principal must be given without server_realm"):
        Kerberos(server_realm="EXAMPLE.ORG", server_principal="zookeeper/zk1@EXAMPLE.ORG")


def test_a_keytab_and_a_cache_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="keytab must be given without cache_file"):
        Kerberos(keytab="a.keytab", cache_file="ccache")


def test_the_error_for_a_missing_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install zkrecipes\[kerberos\]"):
        Kerberos()


def test_its_repr_shows_the_path_of_the_keys_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", sys)  # any module is enough to build it
    kerberos = Kerberos(principal="me", keytab=Path("/etc/me.keytab"))
    assert repr(kerberos) == (
        "Kerberos(principal='me', keytab=PosixPath('/etc/me.keytab'), cache_file=None, service='zookeeper', "
        "server_realm=None, server_principal=None)"
    )
    assert kerberos == Kerberos(principal="me", keytab=Path("/etc/me.keytab"))

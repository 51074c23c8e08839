"""The SASL mechanism that the settings stand for; our keys, a JAAS file, and Flink's keys."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

import zkrecipes as zk

JAAS = """\
Other {
  org.apache.zookeeper.server.auth.DigestLoginModule required username="bob" password="x#y";
};
"""


@pytest.fixture(autouse=True)
def _gssapi(monkeypatch: pytest.MonkeyPatch) -> None:
    # Kerberos options can be made with any module of this name; only an exchange uses it.
    monkeypatch.setitem(sys.modules, "gssapi", ModuleType("gssapi"))


def read(folder: Path, *lines: str) -> zk.Settings:
    path = folder / "app.properties"
    path.write_text("".join(f"zookeeper.{line}\n" for line in lines), "utf-8")
    return zk.read_settings(path)


def mechanism(folder: Path, *lines: str) -> zk.SaslMechanism | None:
    return read(folder, *lines).connect_options().get("sasl")


def test_no_key_is_no_sasl(tmp_path: Path) -> None:
    assert "sasl" not in read(tmp_path).connect_options()


@pytest.mark.parametrize("more", [[], ["sasl.mechanism=DIGEST-MD5 # the only one"]])
def test_a_user_with_a_password(tmp_path: Path, more: list[str]) -> None:
    found = mechanism(tmp_path, "sasl.username=bob", "sasl.password=pw", *more)
    assert found == zk.DigestMD5("bob", "pw")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["sasl.mechanism=kerberos"], {}),
        (["sasl.keytab=/etc/me.keytab"], {"keytab": "/etc/me.keytab"}),
        (
            ["sasl.principal=me@EXAMPLE.ORG", "sasl.cache-file=/tmp/cc", "sasl.service-name=zk"],
            {"principal": "me@EXAMPLE.ORG", "cache_file": "/tmp/cc", "service": "zk"},
        ),
        (["sasl.server-realm=EXAMPLE.ORG"], {"server_realm": "EXAMPLE.ORG"}),
        (["sasl.server-principal=zk/a@EXAMPLE.ORG"], {"server_principal": "zk/a@EXAMPLE.ORG"}),
    ],
)
def test_kerberos(tmp_path: Path, lines: list[str], expected: dict[str, str]) -> None:
    assert mechanism(tmp_path, *lines) == zk.Kerberos(**expected)


def test_a_jaas_file_is_read_when_a_client_connects(tmp_path: Path) -> None:
    jaas = tmp_path / "jaas.conf"
    found = read(tmp_path, f"sasl.jaas-file={jaas}", "sasl.login-context-name=Other")
    with pytest.raises(FileNotFoundError):
        found.connect_options()
    jaas.write_text(JAAS)
    assert found.connect_options()["sasl"] == zk.DigestMD5("bob", "x#y")


@pytest.mark.parametrize(
    ("lines", "key", "reason"),
    [
        (["sasl.username=bob"], "sasl.username", "requires sasl.password, if the mechanism is digest-md5"),
        (
            ["sasl.password=hunter2"],
            "sasl.password",
            "requires sasl.username, if the mechanism is digest-md5",
        ),
        (["sasl.mechanism=digest-md5"], "sasl.mechanism", "requires sasl.username"),
        (["sasl.mechanism=plain"], "sasl.mechanism", "must be digest-md5 or kerberos, not 'plain'"),
        (["sasl.service-name=zk"], "sasl.service-name", "requires sasl.mechanism, or sasl.jaas-file"),
        (["sasl.login-context-name=zk"], "sasl.login-context-name", "requires sasl.mechanism, or"),
        (
            ["sasl.username=bob", "sasl.password=hunter2", "sasl.keytab=k"],
            "sasl.keytab",
            "must be removed for digest-md5",
        ),
        (
            ["sasl.mechanism=kerberos", "sasl.password=hunter2"],
            "sasl.password",
            "must be removed for kerberos",
        ),
        (["sasl.jaas-file=j", "sasl.keytab=k"], "sasl.keytab", "must be removed, or sasl.jaas-file must be"),
        (["sasl.keytab=k", "sasl.cache-file=c"], "sasl.keytab", "cache-file: its tickets are kept in memory"),
        (["sasl.keytab=k", "sasl.service-name=a/b"], "sasl.service-name", "must be only the first part"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, lines: list[str], key: str, reason: str) -> None:
    with pytest.raises(zk.SettingsError) as caught:
        read(tmp_path, *lines)
    assert (caught.value.key, caught.value.line) == (
        f"zookeeper.{key}",
        1 + [line.partition("=")[0] for line in lines].index(key),
    )
    assert reason in caught.value.reason
    assert "hunter2" not in str(caught.value)


def test_a_missing_package_is_reported_when_a_client_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    found = read(tmp_path, "sasl.mechanism=kerberos")
    with pytest.raises(ModuleNotFoundError, match="gssapi"):
        found.connect_options()
    with pytest.raises(zk.SettingsError, match="must be only the first part"):
        read(tmp_path, "sasl.mechanism=kerberos", "sasl.service-name=a@b")


# --- Flink -------------------------------------------------------------------------------------------------

LOGIN = (
    "security.kerberos.login.keytab: /etc/flink.keytab\n"
    "security.kerberos.login.principal: flink@EXAMPLE.ORG\n"
    "zookeeper.sasl.service-name: zk\n"
)


def flink(folder: Path, text: str) -> zk.SaslMechanism | None:
    path = folder / "flink-conf.yaml"
    path.write_text(text, "utf-8")
    return zk.read_settings(path).connect_options().get("sasl")


def test_flink_uses_kerberos_for_the_contexts_that_it_lists(tmp_path: Path) -> None:
    expected = zk.Kerberos(principal="flink@EXAMPLE.ORG", keytab="/etc/flink.keytab", service="zk")
    contexts = "security.kerberos.login.contexts: KafkaClient, Client\n"
    assert flink(tmp_path, LOGIN + contexts) == expected
    assert flink(tmp_path, contexts) == zk.Kerberos()
    assert flink(tmp_path, LOGIN) is None
    assert flink(tmp_path, LOGIN + "security.kerberos.login.contexts: KafkaClient\n") is None
    assert flink(tmp_path, LOGIN + contexts + "zookeeper.sasl.disable: true\n") is None
    named = contexts.replace("Client\n", "ZK\n") + "zookeeper.sasl.login-context-name: ZK\n"
    assert flink(tmp_path, LOGIN + named) == expected


def test_the_contexts_may_be_a_list_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("security.kerberos.login.contexts: [KafkaClient, Client]\n")
    assert zk.read_settings(path).connect_options()["sasl"] == zk.Kerberos()


def test_our_keys_replace_those_of_flink(tmp_path: Path) -> None:
    text = LOGIN + "security.kerberos.login.contexts: Client\n"
    assert flink(tmp_path, f"{text}zookeeper.sasl.principal: me\n") == zk.Kerberos(
        principal="me", service="zk"
    )

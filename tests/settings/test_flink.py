"""Flink's files: the flat `flink-conf.yaml`, and its keys in `config.yaml`."""

from __future__ import annotations

from pathlib import Path

import pytest

import zkrecipes as zk

FLAT = """\
# The cluster
jobmanager.rpc.address: localhost
high-availability.type: ZooKeeper   # a comment
high-availability.storageDir: hdfs:///flink/ha/
high-availability.zookeeper.quorum: zk1:2181, zk2:2181 ,zk3:2181
high-availability.zookeeper.path.root: /flink
high-availability.cluster-id: /default_ns
high-availability.zookeeper.client.session-timeout: 60000
high-availability.zookeeper.client.connection-timeout: 15 s
high-availability.zookeeper.client.retry-wait: 5000
high-availability.zookeeper.client.acl: creator
high-availability.zookeeper.client.ensemble-tracker: false
zookeeper.sasl.service-name: zk
zookeeper.sasl.login-context-name: Client
zookeeper.heap.mb: 256
"""
NESTED = """\
high-availability:
  type: zookeeper
  cluster-id: /default_ns
  zookeeper:
    quorum: "zk1:2181,zk2:2181 ,zk3:2181"
    path.root: /flink
    client: {session-timeout: 60000, connection-timeout: 15 s, acl: creator, ensemble-tracker: false}
zookeeper:
  sasl.service-name: zk
"""
OPTIONS = {
    "session_timeout": 60.0,
    "connect_timeout": 15.0,
    "default_acl": zk.CREATOR_ALL_ACL,
    "follow_config": False,
}


def read(folder: Path, text: str, name: str = "flink-conf.yaml") -> zk.Settings:
    path = folder / name
    path.write_text(text, "utf-8")
    return zk.read_settings(path)


@pytest.mark.parametrize(("text", "name"), [(FLAT, "flink-conf.yaml"), (NESTED, "config.yaml")])
def test_the_keys_of_flink(tmp_path: Path, text: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    found = read(tmp_path, text, name)
    assert found.enabled
    assert found.connect_string == "zk1:2181,zk2:2181,zk3:2181"
    assert found.connect_options() == OPTIONS
    assert found.text("high-availability.zookeeper.path.root") == "/flink"
    assert found.text("high-availability.cluster-id") == "/default_ns"
    assert not caplog.records


def test_an_error_about_a_key_of_another_reader_has_its_place(tmp_path: Path) -> None:
    found = read(tmp_path, FLAT)
    error = found.error("high-availability.cluster-id", "must be different")
    assert str(error) == f"{found.source}:7: high-availability.cluster-id: must be different"
    assert found.error("missing", "must be given").line is None


@pytest.mark.parametrize(
    ("line", "enabled"),
    [
        ("high-availability: zookeeper", True),
        ("recovery.mode: zookeeper", True),
        ("high-availability.type: NONE", False),
        ("high-availability.type: kubernetes", False),
        ("", False),
    ],
)
def test_the_type_of_high_availability_enables(tmp_path: Path, line: str, enabled: bool) -> None:
    text = f"{line}\nhigh-availability.zookeeper.quorum: zk1\n"
    assert read(tmp_path, text).enabled is enabled


def test_our_keys_are_read_beside_those_of_flink(tmp_path: Path) -> None:
    found = read(tmp_path, "zookeeper.connection-string: zk1/app\nzookeeper.session-timeout: 8\n")
    assert found.enabled
    assert found.connect_string == "zk1:2181/app"
    assert found.connect_options() == {"session_timeout": 8.0}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("high-availability.zookeeper.quorum:zk1", "must be followed by a colon, a blank and a value"),
        ("high-availability.zookeeper.quorum:", "must be followed by a colon, a blank and a value"),
        ("high-availability.zookeeper.qourum: zk1", "the nearest one is high-availability.zookeeper.quorum"),
        ("high-availability.zookeeper.client.session-timeout: 1 h", "at most 1000 s"),
        ("zookeeper.sasl.password: hunter2#3", "must not contain '#': Flink cuts a line of this file there"),
    ],
)
def test_an_error_names_file_line_and_key(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(zk.SettingsError) as caught:
        read(tmp_path, f"a: b\n{line}\nno key\n")
    assert caught.value.line == 2
    assert reason in caught.value.reason
    assert "hunter2" not in str(caught.value)


def test_other_lines_that_flink_skips_are_skipped(tmp_path: Path) -> None:
    assert read(tmp_path, "other:x\n???\n\nzookeeper.enabled: false\n").enabled is False


def test_an_unknown_key_of_its_client_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, "high-availability.zookeeper.client.authorization: digest\n")
    assert "unknown keys are ignored: high-availability.zookeeper.client.authorization" in caplog.text

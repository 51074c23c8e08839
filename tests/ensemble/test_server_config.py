"""Reading a real server's zoo.cfg."""

from __future__ import annotations

from pathlib import Path

import pytest

from zkrecipes.ensemble import ServerConfig, ServerConfigError, read_server_config

MEMBERS = "initLimit=10\nsyncLimit=5\n"


def read(folder: Path, text: str) -> ServerConfig:
    path = folder / "zoo.cfg"
    path.write_text(text)
    return read_server_config(path)


def test_a_standalone_server(tmp_path: Path) -> None:
    config = read(tmp_path, f"dataDir={tmp_path}/data\nclientPort=2181\nadmin.enableServer=false\n")
    assert config.data_dir == config.transaction_log_dir == tmp_path / "data"
    assert config.client_endpoint == ("", 2181)
    assert config.secure_endpoint is config.admin_endpoint is None
    assert not config.is_replicated


def test_member_lines_with_roles_addresses_and_client_ports(tmp_path: Path) -> None:
    lines = (
        "server.1=zk1:2888:3888;2181\nserver.2=[2001:db8::2]:2888:3888:observer;[::1]:2182\n"
        "server.12=zk12:2888:3888:participant|zk12b:2889:3889\n"
    )
    (tmp_path / "myid").write_text("2\n")
    config = read(tmp_path, f"dataDir={tmp_path}\n{MEMBERS}{lines}")
    assert config.is_replicated
    assert [(line.host, line.role) for line in config.members.values()] == [
        ("zk1", "participant"),
        ("2001:db8::2", "observer"),
        ("zk12", "participant"),
    ]
    assert config.client_endpoint == ("::1", 2182)


def test_member_lines_of_the_dynamic_file_count(tmp_path: Path) -> None:
    dynamic = tmp_path / "zoo.cfg.dynamic.1"
    dynamic.write_text("server.1=zk1:2888:3888:participant;0.0.0.0:2199\n")
    config = read(
        tmp_path, f"dataDir={tmp_path}\ndynamicConfigFile={dynamic}\n{MEMBERS}standaloneEnabled=false\n"
    )
    assert config.is_replicated
    assert config.client_endpoint == ("0.0.0.0", 2199)


def test_a_port_for_tls_alone(tmp_path: Path) -> None:
    config = read(tmp_path, f"dataDir={tmp_path}\nsecureClientPort=2281\n")
    assert config.client_endpoint is None
    assert config.secure_endpoint == ("", 2281)
    assert config.admin_endpoint == ("", 8080)


@pytest.mark.parametrize("written", ["C:/zk/data", r"C:\\zk\\data"])
def test_windows_paths_that_java_reads_as_written(tmp_path: Path, written: str) -> None:
    config = read(tmp_path, f"dataDir={written}\nclientPort=2181\n")
    assert config.value("dataDir").replace("\\", "/") == "C:/zk/data"


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("clientPort=2181\n", "zoo.cfg: dataDir:", "is missing"),
        ("dataDir=/d\nclientPort=218l\n", "zoo.cfg, line 2: clientPort:", "whole number, not '218l'"),
        ("dataDir=/d\nclientPort=-+1\n", "zoo.cfg, line 2: clientPort:", "whole number, not '-+1'"),
        ("\N{BOM}dataDir=/d\nclientPort=2181\n", "zoo.cfg, line 1:", "must not begin with a byte order mark"),
        ("dataDir=/d\nclientPort=70000\n", "zoo.cfg, line 2: clientPort:", "1 to 65535, not 70000"),
        ("dataDir=/d\n\ntickTime=2s\n", "zoo.cfg, line 3: tickTime:", "whole number, not '2s'"),
        ("dataDir=C:\\zk\\data\n", "zoo.cfg, line 1: dataDir:", "write C:/zk/data"),
        ("dataDir=/d\nserver.1=a:1:2\nserver.01=b:1:2\n", "line 3: server.01:", "line 2 has the same"),
        ("dataDir=/d\nserver.1=a:1:2\nserver.1=b:1:2\n", "line 3: server.1:", "line 2 has the same"),
        ("dataDir=/d\nserver.x=a:1:2\n", "line 2: server.x:", "a number, not 'x'"),
        ("dataDir=/d\nserver.1=a\n", "line 2: server.1:", "must be host:port:port"),
        ("dataDir=/d\nserver.1=a:1:2\nserver.2=b:1:2\n", "zoo.cfg: initLimit:", "is missing"),
        ("dataDir=/d\ndynamicConfigFile=/none\n", "line 2: dynamicConfigFile:", "cannot read /none"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path: Path, text: str, place: str, problem: str) -> None:
    with pytest.raises(ServerConfigError) as caught:
        read(tmp_path, text)
    assert place in str(caught.value)
    assert problem in caught.value.problem
    assert str(tmp_path) in str(caught.value)


def test_a_missing_file_beside_its_sample_names_the_sample(tmp_path: Path) -> None:
    (tmp_path / "zoo_sample.cfg").touch()
    with pytest.raises(ServerConfigError, match=r"no such file; copy .*zoo_sample\.cfg"):
        read_server_config(tmp_path / "zoo.cfg")


def test_a_my_id_that_is_not_a_number_is_named(tmp_path: Path) -> None:
    (tmp_path / "myid").write_text("one\n")
    config = read(tmp_path, f"dataDir={tmp_path}\nclientPort=1\n")
    with pytest.raises(ServerConfigError, match=r"myid, line 1: must contain the number .* not 'one'"):
        config.read_my_id()

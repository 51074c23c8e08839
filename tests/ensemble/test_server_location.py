"""Finding the configuration file, and the variables of zookeeper-env.sh and java.env."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ensemble.test_installation import make_file
from zkrecipes.ensemble.errors import ServerConfigError
from zkrecipes.ensemble.installation import find_layout
from zkrecipes.ensemble.server_location import locate_config, locate_server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_file(tmp_path / "zk/lib/zookeeper-3.9.5.jar")
    make_file(tmp_path / "zk/conf/zoo.cfg")
    return tmp_path / "zk"


def test_a_release_has_its_configuration_in_conf(home: Path) -> None:
    location = locate_server(None, {"ZOOKEEPER_HOME": str(home)})
    assert location.config == home / "conf/zoo.cfg"
    assert location.log_directory == home / "logs"


def test_the_variables_name_folder_file_and_logs(home: Path, tmp_path: Path) -> None:
    environ = {
        "ZOOKEEPER_HOME": str(home),
        "ZOOCFGDIR": str(tmp_path),
        "ZOOCFG": "a.cfg",
        "ZOO_LOG_DIR": "/l",
    }
    location = locate_server(None, environ)
    assert location.config == tmp_path / "a.cfg"
    assert location.log_directory == Path("/l")
    assert locate_server(None, environ, config_directory=home).config == home / "a.cfg"
    assert locate_server("b.cfg", environ).config == tmp_path / "b.cfg"


def test_a_name_in_the_current_folder_counts_if_the_other_folder_lacks_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_file(tmp_path / "mine.cfg")
    make_file(tmp_path / "zoo.cfg")
    environ = {"ZOOKEEPER_HOME": str(home)}
    assert locate_server("mine.cfg", environ).config == tmp_path / "mine.cfg"
    assert locate_server("zoo.cfg", environ).config == home / "conf/zoo.cfg"


def test_a_path_needs_no_installation(tmp_path: Path) -> None:
    path = tmp_path / "zoo.cfg"
    assert locate_config(str(path), {"ZOOKEEPER_HOME": "/none"}, config_directory=None) == path


def test_the_environment_files_are_run_in_order(home: Path) -> None:
    (home / "conf/zookeeper-env.sh").write_text('ZK_SERVER_HEAP=256\nJVMFLAGS="-Da=1 $JVMFLAGS"\necho talk\n')
    (home / "conf/java.env").write_text('export JVMFLAGS="-Db=2 $JVMFLAGS"\n')
    environ = {"ZOOKEEPER_HOME": str(home), "JVMFLAGS": "-Dc=3", "PATH": "/usr/bin:/bin"}
    result = locate_server(None, environ).environ
    assert result["ZK_SERVER_HEAP"] == "256"
    assert result["JVMFLAGS"].split() == ["-Db=2", "-Da=1", "-Dc=3"]


def test_an_environment_file_that_fails_is_named(home: Path) -> None:
    (home / "conf/java.env").write_text("echo wrong >&2\nexit 3\n")
    with pytest.raises(ServerConfigError, match=r"cannot run java\.env: wrong"):
        locate_server(None, {"ZOOKEEPER_HOME": str(home), "PATH": "/usr/bin:/bin"})


def test_zkserver_on_the_path_names_its_release(home: Path, tmp_path: Path) -> None:
    script = make_file(home / "bin/zkServer.sh")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/zkServer.sh").symlink_to(script)
    assert find_layout({"PATH": str(tmp_path / "bin")}).home == home


def test_homebrew_keeps_configuration_and_logs_in_its_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(tmp_path / "opt/zookeeper/libexec/lib/zookeeper-3.9.0.jar")
    monkeypatch.setattr("zkrecipes.ensemble.installation._DEBIAN_JARS", tmp_path)
    monkeypatch.setattr("zkrecipes.ensemble.installation._HOMEBREW_PREFIXES", [tmp_path])
    layout = find_layout({})
    assert (layout.name, layout.config_directory) == ("homebrew", tmp_path / "etc/zookeeper")
    assert layout.log_directory == tmp_path / "var/log/zookeeper"


@pytest.mark.parametrize("variable", ["ZOOKEEPER_HOME", "KAFKA_HOME"])
def test_kafka_has_its_own_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    make_file(tmp_path / "kafka/libs/zookeeper-3.8.4.jar")
    (tmp_path / "kafka/config").mkdir()
    monkeypatch.setattr("zkrecipes.ensemble.installation._DEBIAN_JARS", tmp_path)
    location = locate_server(None, {variable: str(tmp_path / "kafka")})
    assert location.config == tmp_path / "kafka/config/zookeeper.properties"

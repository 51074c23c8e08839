"""Finding ZooKeeper and Java."""

from __future__ import annotations

from pathlib import Path

import pytest

from zkrecipes.ensemble.errors import ServerNotFoundError
from zkrecipes.ensemble.installation import find_installation


def make_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


@pytest.mark.parametrize("folder", ["", "lib"])
def test_a_release_has_its_jars_in_it_or_in_its_lib(tmp_path: Path, folder: str) -> None:
    ours = make_file(tmp_path / "zk" / folder / "zookeeper-3.9.5.jar")
    logger = make_file(tmp_path / "zk" / folder / "logback-classic.jar")
    java = make_file(tmp_path / "jdk" / "bin" / "java")
    found = find_installation({"ZOOKEEPER_HOME": str(tmp_path / "zk"), "JAVA_HOME": str(tmp_path / "jdk")})
    assert found.java == java
    assert set(found.class_path) == {ours, logger}


def test_java_on_the_path_is_enough(tmp_path: Path) -> None:
    make_file(tmp_path / "zookeeper.jar")
    java = make_file(tmp_path / "bin" / "java")
    found = find_installation({"ZOOKEEPER_HOME": str(tmp_path), "PATH": str(tmp_path / "bin")})
    assert found.java == java


def test_a_home_without_zookeeper_is_named(tmp_path: Path) -> None:
    make_file(tmp_path / "lib" / "kafka.jar")
    with pytest.raises(ServerNotFoundError, match=r"no zookeeper\*\.jar in ZOOKEEPER_HOME=.* or unset it"):
        find_installation({"ZOOKEEPER_HOME": str(tmp_path)})


def test_a_home_without_java_is_named(tmp_path: Path) -> None:
    make_file(tmp_path / "zookeeper.jar")
    with pytest.raises(ServerNotFoundError, match=r"there is no Java in JAVA_HOME=") as caught:
        find_installation({"ZOOKEEPER_HOME": str(tmp_path), "JAVA_HOME": str(tmp_path)})
    assert "unset it" in caught.value.remedy


def test_no_java_says_what_to_type(tmp_path: Path) -> None:
    make_file(tmp_path / "zookeeper.jar")
    with pytest.raises(ServerNotFoundError, match="apt-get install default-jre-headless"):
        find_installation({"ZOOKEEPER_HOME": str(tmp_path), "PATH": str(tmp_path)})


def test_no_package_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("zkrecipes.ensemble.installation._DEBIAN_JARS", tmp_path)
    with pytest.raises(ServerNotFoundError, match="apt-get install zookeeper") as caught:
        find_installation({})
    assert "zookeeper.jar does not exist" in caught.value.missing

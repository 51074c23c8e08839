"""The dev server reads a real server's configuration file, and reports its mistakes."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given, strategies as st

from zkrecipes.devserver.config.settings import Settings
from zkrecipes.devserver.config.zoo_cfg_reader import ConfigError, parse_zoo_cfg, read_zoo_cfg
from zkrecipes.ensemble.zoo_cfg_writer import render
from zkrecipes.properties import Property, parse_properties

SAMPLE = """\
# The number of milliseconds of each tick
tickTime=2000
initLimit=10
syncLimit=5
dataDir=/tmp/zookeeper
clientPort=2182
#maxClientCnxns=60
autopurge.snapRetainCount=3
4lw.commands.whitelist=stat, ruok,mntr
minSessionTimeout=500
maxSessionTimeout=-1
jute.maxbuffer=4194304
clientPortAddress=0.0.0.0
extendedTypesEnabled=true
admin.enableServer=false
metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
"""


# --- settings ----------------------------------------------------------------------------------------------


def test_a_files_values_are_the_servers_settings() -> None:
    settings, without_effect = parse_zoo_cfg(SAMPLE)
    assert settings == Settings(
        host="0.0.0.0",
        port=2182,
        data_dir=Path("/tmp/zookeeper"),
        tick_time=2.0,
        session_timeout_min=0.5,
        session_timeout_max=None,
        connections_per_address_max=60,
        four_letter_words=frozenset({"stat", "ruok", "mntr"}),
        max_packet_size=4 * 1024 * 1024,
        extended_types=True,
    )
    assert without_effect == ("metricsProvider.className",)


def test_an_empty_file_means_a_real_servers_defaults_on_this_machine_only() -> None:
    settings, _ = parse_zoo_cfg("")
    assert settings.host == "127.0.0.1"
    assert settings.tick_time == 3.0
    assert settings.connections_per_address_max == 60
    assert settings.four_letter_words == frozenset()
    assert settings.data_dir is None


def test_a_star_allows_all_words() -> None:
    assert parse_zoo_cfg("4lw.commands.whitelist=*").settings.four_letter_words is None


def test_keys_without_effect_are_reported_once_each() -> None:
    text = (
        "server.1=a:1:2\nnonsense=1\nskipACL=yes\nnonsense=2\ninitLimit=3\nautopurge.purgeInterval=24\n"
        "admin.enableServer=false\nadmin.serverPort=8081\nmetricsProvider.httpPort=7000\n"
    )
    keys = parse_zoo_cfg(text).without_effect
    assert keys == ("server.1", "nonsense", "skipACL", "admin.serverPort", "metricsProvider.httpPort")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"C:\\zookeeper\\data", r"C:\zookeeper\data"),
        (r"C:\zookeeper\temp\new", r"C:\zookeeper\temp\new"),
        ("C:/zookeeper/data", "C:/zookeeper/data"),
        (r"\\\\host\\share", r"\\host\share"),
        (r"D:\Program Files\zk data", r"D:\Program Files\zk data"),
    ],
)
def test_a_windows_path_means_itself_however_it_is_written(written: str, meant: str) -> None:
    (entry,) = parse_properties(f"dataDir={written}\n", paths=["dataDir"])
    assert PureWindowsPath(entry.value) == PureWindowsPath(meant)
    assert entry.value == meant


def test_the_file_that_our_real_servers_get_is_read(tmp_path: Path) -> None:
    text = render({"tickTime": 500}, host="127.0.0.1", port=2181, data=tmp_path, peers={})
    settings, without_effect = parse_zoo_cfg(text)
    assert (settings.data_dir, settings.tick_time, settings.port) == (tmp_path, 0.5, 2181)
    assert without_effect == ()


# --- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tickTime=fast", "line 1: tickTime=fast: must be a whole number of milliseconds, 1 to 2147483647"),
        (
            "\n# port\nclientPort=70000",
            "line 3: clientPort=70000: must be a whole number, 0 to 65535",
        ),
        ("clientPort=2181 # mine", "clientPort=2181 # mine: must be a whole number"),
        ("clientPort=1_000", "must be a whole number"),
        ("tickTime=0", "must be a whole number of milliseconds"),
        ("maxSessionTimeout=-2", "must be a whole number of milliseconds"),
        ("maxClientCnxns=-", "must be a whole number"),
        ("minSessionTimeout=soon", "must be a whole number of milliseconds"),
        ("dataDir=", "dataDir=: must not be empty"),
        ("jute.maxbuffer=10", "must be a whole number of bytes, 1024 to"),
        (
            "tickTime=1000\nminSessionTimeout=50000",
            "line 2: minSessionTimeout=50000: minSessionTimeout must be",
        ),
        (
            "maxSessionTimeout=1000",
            "line 1: maxSessionTimeout=1000: minSessionTimeout must be",
        ),
    ],
)
def test_an_invalid_value_is_reported_with_its_key_and_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_zoo_cfg(text)
    assert str(raised.value).startswith("zoo.cfg, line ")
    assert message in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*zoo\.cfg: No such file or directory"):
        read_zoo_cfg(tmp_path / "zoo.cfg")


def test_a_byte_order_mark_that_changes_the_first_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "zoo.cfg").write_bytes("\ufeffdataDir=/tmp/x\n".encode())
    with pytest.raises(ConfigError, match=r"starts with a byte-order mark.* the first key, dataDir: save"):
        read_zoo_cfg(tmp_path / "zoo.cfg")


@pytest.mark.parametrize("lines", ["server.1=a:1:2;2181\nserver.2=b:1:2;2182\n"])
def test_several_ports_without_a_myid_are_refused(lines: str) -> None:
    with pytest.raises(ConfigError, match="several server lines name one: add clientPort, or a file myid"):
        parse_zoo_cfg(lines)


def test_a_bad_port_in_a_server_line_is_named() -> None:
    with pytest.raises(ConfigError, match=r"line 1: server.1=a:1:2;70000: the client port must be a whole"):
        parse_zoo_cfg("server.1=a:1:2;70000")


# --- Java's rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "gbk"])
def test_a_comment_may_be_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    text = "# Größe\n" if encoding != "gbk" else "# 客户端端口\n"
    (tmp_path / "zoo.cfg").write_bytes(text.encode(encoding) + b"clientPort=2183\n")
    assert read_zoo_cfg(tmp_path / "zoo.cfg").settings.port == 2183


def test_a_byte_order_mark_before_a_comment_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "zoo.cfg").write_bytes("\ufeff# mine\nclientPort=2183\n".encode())
    assert read_zoo_cfg(tmp_path / "zoo.cfg").settings.port == 2183


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("tickTime=+2000", "tick_time", 2.0),
        ("tickTime=02000", "tick_time", 2.0),
        ("maxClientCnxns=-1", "connections_per_address_max", -1),
        ("minSessionTimeout=-1", "session_timeout_min", None),
        ("minSessionTimeout=0", "session_timeout_min", 0.001),
        ("clientPortAddress=[::1]", "host", "::1"),
        ("clientPortAddress=", "host", "127.0.0.1"),
        ("extendedTypesEnabled=True", "extended_types", True),
        ("extendedTypesEnabled=yes", "extended_types", False),
        ("server.1=a:2888:3888;2183", "port", 2183),
        ("server.1=a:2888:3888:participant;2183;2281", "port", 2183),
        ("server.1=[::1]:2888:3888;[::1]:2183", "host", "::1"),
        ("server.1=a:2888:3888;0.0.0.0:2183", "host", "0.0.0.0"),
        ("server.1=a:2888:3888;0.0.0.0:2183\nclientPort=2184", "port", 2184),
        ("server.1=a:2888:3888;;2281", "port", 2181),
        ("server.1=a:2888:3888\nserver.2=b:2888:3888;2182", "port", 2182),
    ],
)
def test_values_are_read_as_java_reads_them(line: str, field: str, value: object) -> None:
    assert getattr(parse_zoo_cfg(line).settings, field) == value


def test_myid_says_which_server_line_is_ours(tmp_path: Path) -> None:
    (tmp_path / "myid").write_text("2\n")
    text = f"dataDir={tmp_path}\nserver.1=a:1:2;2181\nserver.2=b:1:2;127.0.0.1:2182\n"
    settings = parse_zoo_cfg(text).settings
    assert (settings.host, settings.port) == ("127.0.0.1", 2182)


# --- Java's properties files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", ("a", "1", 1)),
        ("  a : 1  ", ("a", "1", 1)),
        ("a 1", ("a", "1", 1)),
        ("a", ("a", "", 1)),
        ("! no\r\n# no\r\n\r\na=1\r\n", ("a", "1", 4)),
        ("a=1,\\\n    2", ("a", "1,2", 1)),
        ("a=1\\", ("a", "1", 1)),
        ("a\\=b=c\\td", ("a=b", "c\td", 1)),
        ("a=\\u00e9\\q", ("a", "éq", 1)),
    ],
)
def test_a_line_is_read_as_java_reads_it(text: str, expected: tuple[str, str, int]) -> None:
    assert parse_properties(text) == [Property(*expected)]


@given(st.text())
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    parse_properties(text, paths=["dataDir"])

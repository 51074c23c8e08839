"""Files and the environment become settings, or errors with their place. No message shows a secret."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import zkrecipes as zk
from zkrecipes.settings.keys import KEYS

MANUAL = """\
# Job execution
zookeeper.enabled=true
zookeeper.connection-string=10.0.1.101:2181,10.0.2.101:2181,10.0.3.101:2181 # comma separated list of hosts
"""
SECRET = "hunter2#x"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str | bytes, name: str = "app.properties") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def read(path: Path, **options: Any) -> zk.Settings:
    return zk.read_settings(path, **options)


def refusal(path: Path, **options: Any) -> zk.SettingsError:
    with pytest.raises(zk.SettingsError) as caught:
        read(path, **options)
    assert caught.value.source in (str(path), "environment")
    assert str(caught.value).startswith(f"{caught.value.source}:")
    return caught.value


# --- properties --------------------------------------------------------------------------------------------


def test_the_file_of_the_manual(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    found = read(write(MANUAL))
    assert found.enabled is True
    assert found.connect_string == "10.0.1.101:2181,10.0.2.101:2181,10.0.3.101:2181"
    assert found.connect_options() == {}
    assert not caplog.records


def test_blanks_around_commas_and_a_continued_line(write: Any) -> None:
    found = read(
        write("zookeeper.connection-string = h1:2181 , h2, \\\n   h3:2183 #three\nzookeeper.chroot=/app")
    )
    assert found.connect_string == "h1:2181,h2:2181,h3:2183/app"


def test_every_simple_option(write: Any) -> None:
    lines = """\
    session-timeout=4 # seconds
    connect-timeout=none
    tick-time=2000 ms
    max-packet-size=2000000
    create-chroot=true
    follow-config=no
    keep-session=off
    read-only=TRUE # always
    renew=false
    default-acl=creator
    auth.2=digest:b:pw
    auth.1=digest:a:p#w:x
    """
    text = "\n".join(f"zookeeper.{line.strip()}" for line in lines.splitlines() if line.strip())
    assert read(write(text)).connect_options() == {
        "session_timeout": 4.0,
        "connect_timeout": None,
        "tick_time": 2.0,
        "max_packet_size": 2000000,
        "create_chroot": True,
        "follow_config": False,
        "keep_session": False,
        "read_only": True,
        "renew": False,
        "default_acl": zk.CREATOR_ALL_ACL,
        "auth": [("digest", "a:p#w:x"), ("digest", "b:pw")],
    }


def test_a_password_keeps_its_hash(write: Any) -> None:
    text = f"zookeeper.sasl.username=bob\nzookeeper.sasl.password={SECRET} # not a comment"
    assert read(write(text)).connect_options()["sasl"] == zk.DigestMD5("bob", f"{SECRET} # not a comment")


@pytest.mark.parametrize("start", ["\ufeff", ""])
def test_a_byte_order_mark_and_windows_line_ends(write: Any, start: str) -> None:
    found = read(write(start + MANUAL.replace("\n", "\r\n")))
    assert found.enabled
    assert found.connect_string == "10.0.1.101:2181,10.0.2.101:2181,10.0.3.101:2181"


def test_a_file_without_our_keys_gives_the_defaults(write: Any) -> None:
    found = read(write("server.port=80\n"))
    assert found.enabled
    assert found.connect_string is None
    assert found.connect_options() == {}


def test_another_prefix_and_none(write: Any) -> None:
    path = write("spring.cloud.zookeeper.connect-string=h1\n")
    assert read(path, prefix="spring.cloud.zookeeper").connect_string == "h1:2181"
    assert read(write("connection-string=h2\n"), prefix="").connect_string == "h2:2181"


# --- Windows paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [r"C:\zk\certs\ca.pem", r"C:\\zk\\certs\\ca.pem", "C:/zk/certs/ca.pem"])
def test_a_windows_path_in_each_spelling(write: Any, raw: str, caplog: pytest.LogCaptureFixture) -> None:
    tls = read(write(f"zookeeper.tls.ca-file={raw}\n")).connect_options()["tls"]
    assert isinstance(tls, zk.TLS)
    assert str(tls.ca_file).replace("/", "\\") == r"C:\zk\certs\ca.pem"
    assert len(caplog.records) == (raw[3] == "z" and raw[2] == "\\")
    if caplog.records:
        assert "a Java program drops them (write each backslash twice, or use '/')" in caplog.text
        assert "app.properties:1: zookeeper.tls.ca-file" in caplog.text


def test_a_path_that_java_could_not_read_is_read(write: Any) -> None:
    tls = read(write("zookeeper.tls.ca-file=C:\\users\\ca.pem\n")).connect_options()["tls"]
    assert isinstance(tls, zk.TLS)
    assert tls.ca_file == "C:\\users\\ca.pem"


def test_a_backslash_that_is_dropped_is_logged_without_the_value(
    write: Any, caplog: pytest.LogCaptureFixture
) -> None:
    read(write("zookeeper.sasl.username=bob\nzookeeper.sasl.password=hunt\\er2\n"))
    assert "app.properties:2: zookeeper.sasl.password: a single backslash is dropped" in caplog.text
    assert "hunt" not in caplog.text


def test_text_that_looks_like_a_comment_is_logged(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    found = read(write("zookeeper.tls.ca-file=ca.pem # of 2026\nzookeeper.auth=digest:a:b # c\n"))
    assert found.connect_options()["tls"] == zk.TLS(ca_file="ca.pem # of 2026")
    (record,) = caplog.records
    assert (
        "properties:1: zookeeper.tls.ca-file: the text from '#' on is a part of the value" in record.message
    )


def test_a_windows_path_in_a_key_of_another_program_is_no_error(write: Any) -> None:
    assert read(write(f"other.path=C:\\users\n{MANUAL}")).enabled


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("zookeeper.enabled=maybe", "must be true or false, not 'maybe'"),
        ("zookeeper.connection-string=h1;h2", "hosts must be separated by ','"),
        ("zookeeper.connection-string=", "must not be empty; remove the key if you need the default"),
        ("zookeeper.connection-string=# none", "must not be empty"),
        ("zookeeper.session-timeout=60000", "must be in seconds, not in milliseconds: write '60000 ms'"),
        ("zookeeper.session-timeout=60000 ms x", "must be a time"),
        ("zookeeper.session-timeout=\\u12", "four hexadecimal digits"),
        ("zookeeper.sasl.principal=\\ud800", "must not contain a lone surrogate"),
        ("zookeeper.tls.key-file=k", "requires cert-file, the certificate of the key"),
        ("zookeeper.auth=hunter2", "must be 'scheme:credential', for example 'digest:user:password'"),
        ("zookeeper.auth=digest:hunter2", "must be 'scheme:credential'"),
        ("zookeeper.sessionTimeout=4", "is not a key; the nearest one is zookeeper.session-timeout"),
        ("zookeper.enabled=true", "is not a key; the nearest one is zookeeper.enabled"),
    ],
)
def test_an_error_names_file_line_and_key(write: Any, line: str, reason: str) -> None:
    path = write(f"# a comment\n\n{line}\nserver.port=80\n")
    error = refusal(path)
    assert reason in error.reason
    assert (error.line, error.key) == (3, line.partition("=")[0])
    assert str(error) == f"{path}:3: {error.key}: {error.reason}"
    assert "hunter2" not in str(error)


def test_a_repeated_key_names_both_lines(write: Any) -> None:
    error = refusal(write("zookeeper.enabled=true\nzookeeper.renew=true\nzookeeper.enabled=true\n"))
    assert (error.line, error.reason) == (3, "must be given once; it is also given in line 1")


def test_a_repeated_key_of_another_program_is_no_error(write: Any) -> None:
    assert read(write("a=1\na=2\n")).text("a") == "2"


def test_two_names_of_one_key_must_agree(write: Any) -> None:
    first, second = "zookeeper.connection-string=h1", "zookeeper.connect-string="
    assert read(write(f"{first}\n{second}h1\n")).connect_string == "h1:2181"
    error = refusal(write(f"{first}\n{second}h2\n"))
    assert error.reason == "must have the same value as zookeeper.connection-string in line 1, or be removed"


def test_two_chroots_are_refused(write: Any) -> None:
    error = refusal(write("zookeeper.connection-string=h1/a\nzookeeper.chroot=/b\n"))
    assert error.key == "zookeeper.chroot"
    assert "must be removed" in error.reason


def test_following_the_configuration_excludes_tls(write: Any) -> None:
    error = refusal(write("zookeeper.tls.enabled=true\nzookeeper.follow-config=true\n"))
    assert error.key == "zookeeper.follow-config"


def test_tls_can_be_switched_off(write: Any) -> None:
    text = "zookeeper.tls.ca-file=ca.pem\nzookeeper.tls.enabled=false\n"
    assert "tls" not in read(write(text)).connect_options()
    assert read(write("zookeeper.tls.enabled=true\n")).connect_options()["tls"] == zk.TLS()


def test_unknown_keys_are_named_in_one_warning(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    text = f"{MANUAL}zookeeper.foo=1\nzookeeper.password\\=hunter2 x\nspring.datasource.url=x\n"
    path = write(text)
    read(path)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("zkrecipes.settings", logging.WARNING)
    assert record.getMessage() == f"{path}: unknown keys are ignored: zookeeper.foo, zookeeper.password…"


def test_a_long_list_of_unknown_keys_is_cut(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    read(write("".join(f"zookeeper.unknown{n}.key=1\n" for n in range(30))))
    assert caplog.text.rstrip().endswith("unknown19.key and 10 more")


def test_a_file_must_be_utf_8(write: Any) -> None:
    error = refusal(write(b"a=1\nb=\xe4\n"))
    assert (error.line, error.reason) == (2, "the file must be encoded in UTF-8; the byte 0xe4 is not")
    error = refusal(write("zookeeper.enabled=true".encode("utf-16")))
    assert error.reason == "the file must be encoded in UTF-8, not in UTF-16"


def test_a_file_that_does_not_exist_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.properties"):
        read(tmp_path / "none.properties")
    with pytest.raises(OSError, match=r"Is a directory|Permission denied"):
        read(tmp_path, format="properties")


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        ((), {}, "a path or environ must be given"),
        (("app.conf",), {}, r"the name of app\.conf must end with one of \.properties, "),
        (("app.conf",), {"format": "ini"}, "format must be one of properties, toml, flink, yaml, not 'ini'"),
        (("zookeeper.sasl.password=hunter2\n",), {}, "path must be the path of a file, not its content"),
        ((), {"environ": {}, "prefix": ""}, "prefix must not be empty if environ is given"),
    ],
)
def test_other_arguments_are_refused(arguments: Any, options: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        zk.read_settings(*arguments, **options)


# --- the environment ---------------------------------------------------------------------------------------


def test_the_environment_alone() -> None:
    found = zk.read_settings(
        environ={
            "ZOOKEEPER_CONNECTION_STRING": "h1, h2/app",
            "ZOOKEEPER_TLS_CA_FILE": r"C:\zk\ca.pem",
            "ZOOKEEPER_AUTH_1": "digest:a:b",
            "ZOOKEEPER_SESSION_TIMEOUT": "",
            "PATH": "/bin",
        }
    )
    assert found.source == "environment"
    assert found.connect_string == "h1:2181,h2:2181/app"
    assert found.connect_options() == {
        "tls": zk.TLS(ca_file=r"C:\zk\ca.pem"),
        "auth": [("digest", "a:b")],
    }


def test_the_environment_replaces_the_file(write: Any) -> None:
    path = write(f"{MANUAL}zookeeper.auth=digest:a:b\nzookeeper.session-timeout=4\n")
    found = read(path, environ={"ZOOKEEPER_ENABLED": "false", "ZOOKEEPER_AUTH": "digest:c:d"})
    assert not found.enabled
    assert found.source == f"{path} and environment"
    assert found.connect_options() == {"session_timeout": 4.0, "auth": [("digest", "c:d")]}


def test_variables_that_one_program_sets_together_agree() -> None:
    names = ["ZOOKEEPER_HOSTS", "ZOOKEEPER_CONNECT_STRING", "ZOOKEEPER_CONNECTION_STRING"]
    assert zk.read_settings(environ=dict.fromkeys(names, "h1")).connect_string == "h1:2181"


def test_variables_of_other_programs_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    names = ["ZOOKEEPER_HOME", "ZOOKEEPER_PORT", "ZOOKEEPER_SERVICE_HOST", "ZOOKEEPER_PORT_2181_TCP_ADDR"]
    zk.read_settings(environ=dict.fromkeys(names, "tcp://10.0.0.1:2181"))
    assert not caplog.records
    zk.read_settings(environ={"ZOOKEEPER_OTHER": "x"})
    assert "environment: unknown keys are ignored: ZOOKEEPER_OTHER" in caplog.text


def test_an_error_in_the_environment_names_the_variable() -> None:
    with pytest.raises(
        zk.SettingsError, match=r"^environment: ZOOKEEPER_ENABLED: must be true or false, not 'x'$"
    ):
        zk.read_settings(environ={"ZOOKEEPER_ENABLED": "x"})
    with pytest.raises(zk.SettingsError, match="the nearest one is ZOOKEEPER_SESSION_TIMEOUT"):
        zk.read_settings(environ={"ZOOKEEPER_SESION_TIMEOUT": "4"})


# --- secrets -----------------------------------------------------------------------------------------------


def test_a_secret_is_in_no_repr(write: Any) -> None:
    lines = [f"auth=digest:a:{SECRET}", "sasl.username=bob", f"sasl.password={SECRET}"]
    found = read(write("".join(f"zookeeper.{line}\n" for line in lines)))
    assert "zookeeper.sasl.password=***" in repr(found)
    assert "bob" in repr(found)
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("name", [key.name for key in KEYS])
def test_a_secret_is_in_no_local_variable_of_an_error(write: Any, name: str) -> None:
    lines = [
        f"zookeeper.sasl.password={SECRET}",
        f"zookeeper.auth=digest:a:{SECRET}",
        f"zookeeper.tls.key-password={SECRET}",
    ]
    with pytest.raises(zk.SettingsError) as caught:
        read(write("\n".join([*lines, f"zookeeper.{name}="])), environ={"OTHER_SECRET": SECRET})
    lines = list(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    package = [line for line in lines if "zkrecipes/settings" in line or "secret.py" in line]
    assert package
    assert not [line for line in package if "hunter2" in line]


# --- any text ----------------------------------------------------------------------------------------------

NAMES = st.sampled_from([f"zookeeper.{key.name}" for key in KEYS])
LINES = st.one_of(
    st.builds("{}={}".format, NAMES, st.text(max_size=20)),
    st.builds("{}: {}".format, NAMES, st.text(max_size=20)),
    st.builds('{} = "{}"'.format, NAMES, st.text(max_size=20)),
    st.builds("{} = [{}]".format, NAMES, st.text(max_size=20)),
    st.text(max_size=40),
    st.sampled_from(["[zookeeper]", "zookeeper:", "  enabled: true", "a: &a [*a]", "<<: *a", "? [a]", "- 1"]),
)


@pytest.mark.parametrize("kind", ["properties", "toml", "flink", "yaml"])
@given(st.lists(LINES, max_size=6).map("\n".join) | st.binary(max_size=40))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_settings_or_an_error(write: Any, kind: Any, content: str | bytes) -> None:
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    path = write(data, "any")
    with suppress(zk.SettingsError):
        assert isinstance(read(path, format=kind), zk.Settings)

"""JAAS files: the mechanisms that they describe, in every spelling, and the errors of unsupported files."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import pytest

from zkrecipes import DigestMD5, Kerberos, read_jaas

SECRET = "open-sesame"
BOB = """
Client {
    org.apache.zookeeper.server.auth.DigestLoginModule required
    username="bob"
    password="open-sesame";
};
"""
SERVER = 'Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required user_bob="x";\n};\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jaas.conf"


def why_not(file: Path, text: str, section: str = "Client") -> str:
    """Return the error about an unsupported file, without the file's name."""
    file.write_text(text, "utf-8")
    with pytest.raises(ValueError, match="jaas") as caught:
        read_jaas(file, section)
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    # The last frames: the first is the test's own, which has written the file.
    told.stack = traceback.StackSummary(told.stack[1:])
    assert SECRET not in "".join(told.format())
    assert caught.value.__context__ is None
    return str(caught.value).removeprefix(f"{file}: ")


# --- names and passwords ---------------------------------------------------------------------------------


def test_a_user_with_a_password(file: Path) -> None:
    file.write_text(BOB)
    assert read_jaas(file) == read_jaas(str(file)) == DigestMD5("bob", SECRET)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"a\101b", "aAb"),
        (r"\7\12\3777", "\x07\n\xff7"),
        (r"\477", "'7"),
        (r"\8\9", "89"),
        (r"a\"b\\c\td", 'a"b\\c\td'),
        ("it's", "it's"),
    ],
)
def test_escapes_in_a_value_mean_what_they_mean_to_java(file: Path, written: str, meant: str) -> None:
    file.write_text(BOB.replace(SECRET, written))
    assert read_jaas(file) == DigestMD5("bob", meant)


def test_single_quotes_are_refused_as_java_refuses_them(file: Path) -> None:
    text = BOB.replace('"bob"', "'bob'")
    assert why_not(file, text).endswith("a value must be in double quotes, not in single quotes")


@pytest.mark.parametrize(
    "text",
    [
        BOB.replace("\n", " "),
        BOB.replace("    ", "").replace("required", "REQUIRED"),
        f"/* Client {{ */ // Client {{\n{SERVER}{BOB}{SERVER.replace('Server', 'Other')}",
        BOB.replace('"bob"', "bob").replace("=", " =\n "),
        BOB.replace("required", "required debug=true // a remark\n"),
        BOB.replace("org.apache.zookeeper.server.auth.", "shaded."),
        BOB.replace("};", '  some.other.Module optional password="other";\n};'),
    ],
    ids=[
        "one line",
        "no indents",
        "comments and others",
        "unquoted",
        "more options",
        "shaded",
        "two modules",
    ],
)
def test_a_file_may_be_written_in_many_ways(file: Path, text: str) -> None:
    file.write_text(text)
    assert read_jaas(file) == DigestMD5("bob", SECRET)


@pytest.mark.parametrize(
    ("written", "password"),
    [
        (r"a \"quoted\" \\ word", 'a "quoted" \\ word'),
        (r"tab\tand\x", "tab\tandx"),
        ("// no /* comment */ # {};=", "// no /* comment */ # {};="),
        ("pässwört 秘密", "pässwört 秘密"),
        ("", ""),
    ],
)
def test_a_password_may_hold_anything(file: Path, written: str, password: str) -> None:
    file.write_text(BOB.replace(SECRET, written), "utf-8")
    assert read_jaas(file) == DigestMD5("bob", password)


def test_another_section_may_be_named(file: Path) -> None:
    file.write_text(BOB.replace("Client", "Solr"))
    assert read_jaas(file, "Solr") == DigestMD5("bob", SECRET)


# --- Kerberos --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (
            'useKeyTab=true keyTab="/etc/me.keytab" storeKey=true principal="me@EXAMPLE.ORG"',
            {"principal": "me@EXAMPLE.ORG", "keytab": "/etc/me.keytab"},
        ),
        ('useKeyTab="true" keyTab="FILE:/etc/me.keytab" useTicketCache=true', {"keytab": "/etc/me.keytab"}),
        ("useTicketCache=true renewTGT=true", {}),
        ('useTicketCache=true ticketCache="/tmp/krb5cc_0"', {"cache_file": "/tmp/krb5cc_0"}),
    ],
)
def test_kerberos_from_a_keytab_or_a_cache(
    file: Path, options: str, wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", sys)  # any module suffices to build it
    file.write_text(f"Client {{ com.sun.security.auth.module.Krb5LoginModule required {options}; }};")
    assert read_jaas(file) == Kerberos(**wanted)
    assert read_jaas(file, service="zk") == Kerberos(service="zk", **wanted)


# --- what cannot be followed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file must have a section Client; its sections: none"),
        (SERVER, "the file must have a section Client; its sections: Server"),
        (
            BOB.replace("Digest", "Ldap"),
            "not org.apache.zookeeper.server.auth.LdapLoginModule",
        ),
        (BOB.replace("username", "user"), "DigestLoginModule must have the option username"),
        (BOB.replace("password", "pass"), "DigestLoginModule must have the option password"),
        (BOB.replace('"bob"', '""'), "username must not be empty"),
        (BOB.replace('"bob"', '"${user.name}"'), "username must not refer to a system property of Java"),
    ],
)
def test_a_file_that_lacks_something_is_refused(file: Path, text: str, reason: str) -> None:
    assert reason in why_not(file, text)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("useKeyTab=true", "Krb5LoginModule must have keyTab if it has useKeyTab"),
        ("useTicketCache=false", "Krb5LoginModule must have useKeyTab or useTicketCache"),
    ],
)
def test_a_kerberos_section_that_lacks_something_is_refused(file: Path, options: str, reason: str) -> None:
    text = f"Client {{ com.sun.security.auth.module.Krb5LoginModule required {options}; }};"
    assert reason in why_not(file, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOB.replace("{", ""), "line 3: expected {"),
        (BOB.replace("required", ""), "line 4: expected one of optional, required, requisite, suff"),
        (BOB.replace("password=", "password "), "line 5: expected ="),
        (BOB.replace('";', '"'), "line 6: expected a name or a value"),
        (BOB.replace("};", "}"), "line 7: expected ;"),
        (BOB.replace("};", ""), "line 7: expected a name or a value"),
        (BOB.replace('me";', "me;"), "line 5: syntax error"),
        (f"Client {{ {SECRET} {SECRET} {SECRET}", "line 1: expected one of"),
        (f'"{SECRET}"', "line 1: expected {"),
        ("Client {};", "line 1: expected a name or a value"),
    ],
)
def test_a_syntax_error_names_its_line(file: Path, text: str, reason: str) -> None:
    assert why_not(file, text).startswith(reason)


def test_a_file_in_another_encoding_is_refused(file: Path) -> None:
    file.write_bytes(BOB.replace("bob", "zoë").encode("latin-1"))
    with pytest.raises(ValueError, match="the file must be encoded in UTF-8"):
        read_jaas(file)


def test_a_file_that_is_not_there_is_an_os_error(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_jaas(file)

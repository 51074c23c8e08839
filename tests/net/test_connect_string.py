"""The connect string: the accepted forms, and the message for each mistake."""

from __future__ import annotations

import traceback

import pytest

from zkrecipes.net.connect_string import Host, parse_connect_string


@pytest.mark.parametrize(
    ("text", "hosts", "chroot"),
    [
        ("h1", [("h1", 2181)], ""),
        ("h1:2182", [("h1", 2182)], ""),
        ("h1:1,h2:65535", [("h1", 1), ("h2", 65535)], ""),
        (" h1 , h2:5 ", [("h1", 2181), ("h2", 5)], ""),
        ("h1:2181\n", [("h1", 2181)], ""),
        ("\th1:2181,\n  h2:2181\n", [("h1", 2181), ("h2", 2181)], ""),
        ("h1:2181,h2:2181,", [("h1", 2181), ("h2", 2181)], ""),
        ("h1:2181 , h2:2181 , ", [("h1", 2181), ("h2", 2181)], ""),
        ("h1:2181,/app", [("h1", 2181)], "/app"),
        ("h1:2181/app\n", [("h1", 2181)], "/app"),
        ("h1:2181/app ", [("h1", 2181)], "/app"),
        ("h1,h1:2181,h2", [("h1", 2181), ("h2", 2181)], ""),
        ("h1,h2:5/app/team", [("h1", 2181), ("h2", 5)], "/app/team"),
        ("h1/", [("h1", 2181)], ""),
        ("[::1]", [("::1", 2181)], ""),
        ("[::1]:7,[fe80::1%eth0]:8/x", [("::1", 7), ("fe80::1%eth0", 8)], "/x"),
        ("::1", [("::1", 2181)], ""),
        ("fe80::1%eth0,h", [("fe80::1%eth0", 2181), ("h", 2181)], ""),
        ("10.0.0.1:2181", [("10.0.0.1", 2181)], ""),
        ("zk_1.ns-2.svc.cluster.local.:2181", [("zk_1.ns-2.svc.cluster.local.", 2181)], ""),
        ("zürich:2181", [("zürich", 2181)], ""),
        ("h1:2181/app@prod", [("h1", 2181)], "/app@prod"),
        ("h1:2181/my app", [("h1", 2181)], "/my app"),
    ],
)
def test_a_connect_string_is_taken_apart(text: str, hosts: list[tuple[str, int]], chroot: str) -> None:
    parsed = parse_connect_string(text)
    assert parsed.hosts == tuple(Host(*host) for host in hosts)
    assert parsed.chroot == chroot


FORM = "the right form is 'host:port,host:port/chroot'"
MISTAKES = {
    "": "a host must not be empty",
    " ": "a host must not be empty",
    "/app": "a host must not be empty",
    ",h1": "a host must not be empty",
    "h1,,h2": "a host must not be empty",
    ",": "a host must not be empty",
    ":2181": "a host must not be empty",
    "h1:2181;h2:2181": "hosts must be separated by ',', not by ';'",
    "h1:2181|h2:2181": "hosts must be separated by ',', not by '|'",
    "h1:2181 h2:2181": "hosts must be separated by ',' and must not contain white space",
    "h1:2181,h2 h3": "hosts must be separated by ',' and must not contain white space, got 'h2 h3'",
    "h1\nh2": "hosts must be separated by ',' and must not contain white space",
    "h1\u200b:2181": "a host must not contain invisible characters",
    "h1:2181,\ufeffh2": "a host must not contain invisible characters, got '\\ufeffh2'",
    "h1\0": "a host must not contain invisible characters",
    "h1 :2181": "hosts must be separated by ',' and must not contain white space",
    "h1:2181:h2:2181": "a host must have one port, and hosts must be separated by ','",
    "h0,zk1:2181:2888:3888": "a host must have one port, and hosts must be separated by ',', got 'zk1",
    '"h1:2181"': "a host must be a name or an address, without quotes or other special characters",
    "h1:2181?sasl=true": "a host must be a name or an address, without quotes or other special characters",
    "hosts=h1:2181": "a host must be a name or an address, without quotes or other special characters",
    "h1:": "a port must be a number from 1 to 65535, got ':'",
    "h1:0": "a port must be a number from 1 to 65535, got '0'",
    "h1:65536": "a port must be a number from 1 to 65535, got '65536'",
    "h1:-1": "a port must be a number from 1 to 65535, got '-1'",
    "h1:2181x": "a port must be a number from 1 to 65535, got '2181x'",
    "h1:²": "a port must be a number from 1 to 65535, got '²'",
    "h1:" + "9" * 5000: "a port must be a number from 1 to 65535",
    "[::1": "an IPv6 address with a port must be written as '[address]:port'",
    "::1]": "an IPv6 address with a port must be written as '[address]:port'",
    "[::1]2181": "an IPv6 address with a port must be written as '[address]:port'",
    "[]:2181": "brackets must contain an IPv6 address",
    "[h1]:2181": "brackets must contain an IPv6 address",
    "h[1]": "an IPv6 address with a port must be written as '[address]:port'",
    "h1/app/": "the chroot is invalid: ",
    "h1/a//b": "the chroot is invalid: ",
    "h1/a/../b": "the chroot is invalid: ",
    "h1//": "the chroot is invalid: ",
    "h1:2181/app,h2:2181/app": "the chroot must be given once, after the last host, without ','",
    "h1/app,h2": "the chroot must be given once, after the last host, without ',', got '/app,h2'",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_message_names_the_mistake_and_the_right_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"^connect string ") as caught:
        parse_connect_string(text)
    message = str(caught.value)
    assert message.startswith(f"connect string {text!r}: {MISTAKES[text]}")
    assert message.endswith(FORM)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("zk://h1:2181,h2:2181/mesos", "'h1:2181,h2:2181/mesos'"),
        ("tcp://10.43.16.45:2181", "'10.43.16.45:2181'"),
        ("zookeeper://h1:2181/app", "'h1:2181/app'"),
        ("zk://h1:2181;h2:2181", "'host:port,host:port/chroot'"),
    ],
)
def test_the_message_for_a_scheme_shows_the_right_form(text: str, right: str) -> None:
    with pytest.raises(ValueError, match="it must not begin with a scheme; the right form is ") as caught:
        parse_connect_string(text)
    assert str(caught.value).endswith(right)


@pytest.mark.parametrize(
    "text",
    [
        "zk://bob:s3cret@h1:2181/mesos",
        "bob:s3cret@h1:2181",
        "s3cret@h1",
        "h0,bob:s3cret@h1:2181,h2/app",
        "bob:x/s3cret@h1:2181/app",
        "bob:s3cret/x@h1:2181",
        "bob:s3cret/x@h1:2181,h2",
        "bob:s3cret,x@h1:2181",
        "bob:s3cret@x@h1:2181",
        "bob:s3cret;x@h1",
        "zk://bob:s3cret@h1:2181,eve:s3cret@h2:2181/app//x",
        "h1:s3cret/app@prod",
        "h1:2181/s3cret//x@prod",
        " bob:s3cret @ h1",
    ],
)
def test_no_message_shows_the_text_before_an_at_sign(text: str) -> None:
    with pytest.raises(ValueError, match="connect string ") as caught:
        parse_connect_string(text)
    error = caught.value
    assert "s3cret" not in str(error)
    assert "***@" in str(error)
    # nor does the error in a crash report
    assert error.__context__ is error.__cause__ is None
    printed = traceback.format_exception(error)
    assert not any("s3cret" in line for line in printed)


def test_a_user_in_front_of_a_host_is_pointed_to_where_it_belongs() -> None:
    with pytest.raises(ValueError, match=r"which belong in auth= or sasl=; the right form is 'h1:2181/app'"):
        parse_connect_string("bob:s3cret@h1:2181/app")


@pytest.mark.parametrize("value", [["h1", "h2"], ("h1",), b"h1", None, 5, ["bob:s3cret@h1"]])
def test_a_connect_string_that_is_not_a_string_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="a connect string must be a str, not ") as caught:
        parse_connect_string(value)  # type: ignore[arg-type]  # what is tested
    assert "s3cret" not in str(caught.value)
    assert ("join the hosts with commas" in str(caught.value)) is isinstance(value, (list, tuple))


def test_a_host_shows_as_it_is_written() -> None:
    assert str(Host("h1", 2181)) == "h1:2181"
    assert str(Host("::1", 5)) == "[::1]:5"

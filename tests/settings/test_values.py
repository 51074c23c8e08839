"""Values are read, or refused with the requirement."""

from __future__ import annotations

import pytest

from zkrecipes.acl import ACL, CREATOR_ALL_ACL, OPEN_ACL, READ_ACL, Id
from zkrecipes.enums import Perms
from zkrecipes.settings import values


@pytest.mark.parametrize("text", ["true", "True", "yes", "ON", "1"])
def test_words_for_true(text: str) -> None:
    assert values.boolean(text) is True


@pytest.mark.parametrize("text", ["false", "FALSE", "no", "off", "0"])
def test_words_for_false(text: str) -> None:
    assert values.boolean(text) is False


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10), ("2.5", 2.5), (".5", 0.5), ("10s", 10), ("10 s", 10), ("500 ms", 0.5), ("2300ms", 2.3),
        ("2 min", 120), ("1 H", 3600), ("8000 MS", 8), ("60 seconds", 60), ("1000", 1000),
    ],
)  # fmt: skip
def test_times(text: str, seconds: float) -> None:
    assert values.duration()(text) == seconds


def test_a_time_can_have_another_default_unit() -> None:
    assert values.duration("ms")("60000") == 60
    assert values.duration("ms")("60 s") == 60


@pytest.mark.parametrize("text", ["", "ten", "-1", "1e3", "1 fortnight", "nan", "inf", "1,5", "٣"])
def test_other_text_is_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a time, such as 10, '2\.5 s' or '500 ms'"):
        values.duration()(text)


def test_a_number_of_milliseconds_is_recognised() -> None:
    reason = "must be in seconds, not in milliseconds: write '60000 ms'"
    with pytest.raises(ValueError, match=f"{reason}, or '60000 s' if you mean seconds$"):
        values.duration()("60000")
    with pytest.raises(ValueError, match=f"{reason}$"):
        values.duration(limit=1000)("60000")


def test_a_time_has_limits() -> None:
    with pytest.raises(ValueError, match=r"must be above 0 and at most 1000 s, not '20 min'"):
        values.duration(limit=1000)("20 min")
    with pytest.raises(ValueError, match="must be above 0, not '0'"):
        values.duration()("0")


def test_a_time_limit_may_be_none() -> None:
    assert values.duration_or_none()("None") is None
    assert values.duration_or_none()("1") == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("h1:2181,h2:2181 # two", "h1:2181,h2:2181"),
        ("h1:2181# one", "h1:2181"),
        ("h1:2181/app#1", "h1:2181/app#1"),
        ("h1:2181/app#1 # c", "h1:2181/app#1"),
        ("h1:2181", "h1:2181"),
        ("# all", ""),
        ("/app#1 # c", "/app#1"),
    ],
)
def test_a_comment_after_hosts_is_cut(value: str, expected: str) -> None:
    assert values.cut_comment_after_hosts(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open", OPEN_ACL),
        ("Read", READ_ACL),
        ("creator", CREATOR_ALL_ACL),
        ("world:anyone:r", (ACL(Perms.READ, Id("world", "anyone")),)),
        (
            "auth::cdrwa, digest:bob:x1=:rw",
            (ACL(Perms.ALL, Id("auth", "")), ACL(Perms.READ | Perms.WRITE, Id("digest", "bob:x1="))),
        ),
    ],
)
def test_acls(text: str, expected: tuple[ACL, ...]) -> None:
    assert values.acl(text) == expected


@pytest.mark.parametrize("text", ["closed", "world:anyone", "world:anyone:x", ":a:r", "a:b:", "a:b:r,", "r"])
def test_other_text_is_not_an_acl(text: str) -> None:
    with pytest.raises(ValueError, match="must be open, read, creator, or entries such as"):
        values.acl(text)


@pytest.mark.parametrize(("text", "expected"), [("/app", "/app"), ("/", ""), ("/a/b", "/a/b")])
def test_chroots(text: str, expected: str) -> None:
    assert values.chroot(text) == expected


@pytest.mark.parametrize("text", ["app", "/a,b", "/a/", "/a//b"])
def test_other_text_is_not_a_chroot(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        values.chroot(text)


@pytest.mark.parametrize("text", ["0", "1024", "-1", "4 MiB", "1e6", "99999999999"])
def test_a_packet_size_has_limits(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be (above 1024|a number of) bytes"):
        values.bytes_count(text)


def test_a_word_has_no_white_space() -> None:
    with pytest.raises(ValueError, match="a comment must be on a separate line"):
        values.word("zookeeper # the default")

"""Znode paths: ZooKeeper's rules, chroots on and off, sequence numbers."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from zkrecipes.paths import (
    check_name,
    check_path,
    chroot_off,
    chroot_on,
    join,
    name_of,
    parent_of,
    sequence_number,
)

GOOD = [
    "/",
    "/a",
    "/a/b/c",
    "/.a",
    "/a.",
    "/a..",
    "/..a",
    "/...",
    "/a/.../b",
    "/a b",
    "/ ",
    "/zookeeper/config",
    "/ünï/€",
    "/~",
    "/\u00a0",
    "/\ud7ff",
    "/\uf900",
    "/\uffef",
    "/\\",
]
# Each with its message.
BAD = [
    ("", "must start with a slash"),
    ("a", "must start with a slash"),
    ("a/b", "must start with a slash"),
    (" /a", "must start with a slash"),
    ("/a/", "must not end in a slash"),
    ("//", "must not end in a slash"),
    ("//a", "an empty component at position 1"),
    ("/a//b", "an empty component at position 3"),
    ("/.", "a relative component at position 1"),
    ("/..", "a relative component at position 1"),
    ("/a/.", "a relative component at position 3"),
    ("/a/..", "a relative component at position 3"),
    ("/./a", "a relative component at position 1"),
    ("/a/../b", "a relative component at position 3"),
    ("/a/./b", "a relative component at position 3"),
    ("/.../..", "a relative component at position 5"),
    ("/\0", r"'\x00', at position 1"),
    ("/a\x1f", r"'\x1f', at position 2"),
    ("/a\n", r"'\n', at position 2"),
    ("/a/.\n", r"'\n', at position 4"),
    ("/\x7f", r"'\x7f', at position 1"),
    ("/\x9f", r"'\x9f', at position 1"),
    ("/\ud800", r"'\ud800', at position 1"),
    ("/\ue000", r"'\ue000', at position 1"),
    ("/\uf8ff", r"'\uf8ff', at position 1"),
    ("/\ufff0", r"'\ufff0', at position 1"),
    ("/\uffff", r"'\uffff', at position 1"),
    ("/😀", "'😀', at position 1"),
]
SLASHES_AND_DOTS = st.text("/.ab\0\x1f \x9f\ud800\uf900\ufffd😀", max_size=10)
COMPONENTS = st.text("ab.-_ü€ ", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))


def java_accepts(path: str) -> bool:
    """`PathUtils.validatePath`, for each unit of UTF-16 as in Java (read at 3.9.5)."""
    units = memoryview(path.encode("utf-16-le", "surrogatepass")).cast("H").tolist()
    if not units or units[0] != ord("/"):
        return False
    if len(units) > 1 and units[-1] == ord("/"):
        return False
    for component in "".join(map(chr, units[1:])).split("/") if len(units) > 1 else []:
        if component in ("", ".", ".."):
            return False
        for char in map(ord, component):
            if char <= 0x1F or 0x7F <= char <= 0x9F or 0xD800 <= char <= 0xF8FF or char >= 0xFFF0:
                return False
    return True


@pytest.mark.parametrize("path", GOOD)
def test_a_valid_path_is_returned_unchanged(path: str) -> None:
    assert java_accepts(path)
    assert check_path(path) == path


@pytest.mark.parametrize(("path", "message"), BAD)
def test_an_invalid_path_is_refused_and_named(path: str, message: str) -> None:
    """Case 44."""
    assert not java_accepts(path)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the message is checked below
        check_path(path)
    assert repr(path) in str(refusal.value)
    assert message in str(refusal.value)


@given(SLASHES_AND_DOTS | SLASHES_AND_DOTS.map("/".__add__))
def test_a_path_is_accepted_where_java_accepts_it(path: str) -> None:
    try:
        check_path(path)
    except ValueError:
        assert not java_accepts(path)
    else:
        assert java_accepts(path)


@given(SLASHES_AND_DOTS.map("/".__add__))
def test_a_sequential_path_is_accepted_where_it_is_with_digits(path: str) -> None:
    try:
        assert check_path(path, sequential=True) == path
    except ValueError:
        assert not java_accepts(path + "1")
    else:
        assert java_accepts(path + "1")


@pytest.mark.parametrize("path", ["/", "/a/", "/a/.", "/a/..", "/lock-"])
def test_the_last_component_of_a_sequential_path_needs_no_name(path: str) -> None:
    assert check_path(path, sequential=True) == path


@pytest.mark.parametrize("path", [None, b"/a", 1, ("/a",), ["/a"]])
def test_a_path_that_is_not_a_string_is_a_type_error(path: str) -> None:
    with pytest.raises(TypeError):
        check_path(path)


def test_a_type_error_names_the_value() -> None:
    with pytest.raises(TypeError, match="a znode path must be a str, not bytes: b'/a'"):
        check_path(b"/a")
    with pytest.raises(TypeError, match="a znode name must be a str, not int: 7"):
        check_name(7)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize("name", ["a", "...", "lock-0000000001", "a b"])
def test_a_valid_name_is_returned_unchanged(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "/", "a/b", "/a", "a/", ".", "..", "\0", "a\n", "😀"])
def test_an_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="znode"):
        check_name(name)


@pytest.mark.parametrize(
    ("path", "parent", "name"),
    [("/a", "/", "a"), ("/a/b", "/a", "b"), ("/a/b/c", "/a/b", "c")],
)
def test_a_path_is_its_parent_and_its_name(path: str, parent: str, name: str) -> None:
    assert (parent_of(path), name_of(path)) == (parent, name)
    assert join(parent, name) == path


def test_the_root_is_its_own_parent_and_has_no_name() -> None:
    assert (parent_of("/"), name_of("/")) == ("/", "")


@pytest.mark.parametrize(
    ("chroot", "seen", "full"),
    [
        ("", "/", "/"),
        ("", "/a", "/a"),
        ("/app", "/", "/app"),
        ("/app", "/a", "/app/a"),
        ("/app/x", "/a/b", "/app/x/a/b"),
        ("/app", "/app", "/app/app"),
    ],
)
def test_a_chroot_is_added_and_removed(chroot: str, seen: str, full: str) -> None:
    assert chroot_on(chroot, seen) == full
    assert chroot_off(chroot, full) == seen


@pytest.mark.parametrize("path", ["/", "/other", "/application", "/app2/a"])
def test_a_path_outside_the_chroot_is_returned_unchanged(path: str) -> None:
    assert chroot_off("/app", path) == path


@given(st.lists(COMPONENTS, max_size=3), st.lists(COMPONENTS, max_size=3))
def test_removing_a_chroot_undoes_adding_it(above: list[str], below: list[str]) -> None:
    chroot = "".join(f"/{name}" for name in above)
    path = "".join(f"/{name}" for name in below) or "/"
    assert chroot_off(chroot, chroot_on(chroot, path)) == path


@pytest.mark.parametrize(
    ("name", "after", "number"),
    [
        ("lock-0000000005", "lock-", 5),
        ("lock-0000000005", "-", 5),
        ("x__lock__2147483647", "__lock__", 2147483647),
        ("x__lock__-2147483648", "__lock__", -2147483648),
        ("x__lock__-000000001", "__lock__", -1),
        ("lock-12345678901", "lock-", 12345678901),
        ("lock-9223372036854775807", "lock-", 2**63 - 1),
        ("a-1-0000000002", "-", 2),
        ("0000000007", "", None),
        ("lock-", "lock-", None),
        ("lock-1x", "lock-", None),
        ("lock--", "lock-", None),
        ("lock-+1", "lock-", None),
        ("lock- 1", "lock-", None),
        ("lock-1\n", "lock-", None),
        ("lock-1_000", "lock-", None),
        ("lock---5", "lock-", None),
        ("lock-٣", "lock-", None),
        ("lock-²", "lock-", None),
        ("other0000000001", "lock-", None),
        ("", "lock-", None),
    ],
)
def test_the_sequence_number_follows_the_tag(name: str, after: str, number: int | None) -> None:
    assert sequence_number(name, after=after) == number


def test_a_name_of_thousands_of_digits_has_no_sequence_number() -> None:
    assert sequence_number("lock-" + "1" * 5000, after="lock-") is None


@given(st.text(max_size=30))
def test_any_name_has_a_sequence_number_or_none(name: str) -> None:
    number = sequence_number(f"lock-{name}", after="lock-")
    assert number is None or number == int(name)


@given(st.integers(-(2**31), 2**63 - 1))
def test_every_number_that_a_server_appends_is_read(number: int) -> None:
    assert sequence_number(f"x__lock__{number:010}", after="__lock__") == number

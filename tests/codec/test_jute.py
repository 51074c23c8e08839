"""Records are named tuples that can be compared, copied, pickled and shown."""

from __future__ import annotations

import copy
import pickle

import pytest

from zkrecipes.codec.jute import Bool, Buffer, Int, OptionalBool, Record, Secret, UString, Vector, values_of
from zkrecipes.errors import ProtocolError


class Point(Record, tuple[int, int]):
    x: Int
    y: Int = 7


class Twin(Record):
    x: Int
    y: Int = 7


class Nothing(Record):
    pass


class Login(Record):
    user: UString
    password: Secret
    points: Vector[Point]


class Flags(Record):
    one: Bool
    two: OptionalBool = None


class Awkward(Record):
    """A record whose field names are also names in generated code."""

    pos: Int
    end: UString
    length: Buffer
    start: Vector[UString]
    size: Buffer
    make: Int
    count: UString
    self_bytes: Int


def test_fields_are_given_by_position_by_name_or_by_default() -> None:
    assert Point(1, 2) == Point(x=1, y=2)
    assert Point(1).y == 7
    assert Point.fields == ("x", "y")
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]  # the point of the test


def test_a_record_is_a_tuple_of_its_fields() -> None:
    x, y = Point(1, 2)
    assert (x, y) == (1, 2)
    assert Point(1, 2)[1] == 2
    assert len(values_of(Nothing())) == 0


def test_records_are_equal_if_their_class_and_fields_are() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Twin(1, 2)
    assert Point(1, 2) != (1, 2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert len({Point(1, 2), Point(1, 2), Twin(1, 2)}) == 2


def test_a_record_cannot_be_changed_and_has_no_other_attributes() -> None:
    point = Point(1, 2)
    with pytest.raises(AttributeError):
        point.x = 3  # type: ignore[misc]  # the point of the test
    with pytest.raises(AttributeError):
        point.z = 3  # type: ignore[attr-defined]  # the point of the test


def test_a_record_survives_a_copy_and_a_pickle() -> None:
    login = Login("me", b"secret", [Point(1, 2)])
    assert copy.copy(login) == copy.deepcopy(login) == pickle.loads(pickle.dumps(login)) == login
    assert type(pickle.loads(pickle.dumps(login))) is Login


def test_repr_names_the_fields() -> None:
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"
    assert repr(Nothing()) == "Nothing()"


@pytest.mark.parametrize("secret", [b"hunter2", "hunter2", bytearray(b"hunter2")])
def test_repr_hides_a_secret(secret: bytes) -> None:
    assert "hunter2" not in repr(Login("me", secret, []))


def test_rich_shows_the_fields_without_the_secret() -> None:
    shown = dict(Login("me", b"hunter2", None).__rich_repr__())
    assert shown["user"] == "me"
    assert repr(shown["password"]) == "<7 secret bytes>"
    assert shown["points"] is None


def test_an_error_hides_a_secret() -> None:
    with pytest.raises(TypeError) as refusal:
        Login("me", "hunter2", []).encode()  # type: ignore[arg-type]  # the point of the test
    assert "hunter2" not in str(refusal.value)


def test_repr_shows_the_size_of_a_secret_and_whether_it_is_there() -> None:
    assert "password=<7 bytes>" in repr(Login("me", b"hunter2", None))
    assert "password=None" in repr(Login("me", None, None))


def test_decode_ignores_what_follows() -> None:
    assert Point.decode(Point(1, 2).encode() + b"rubbish") == Point(1, 2)
    assert Nothing.decode(b"rubbish") == Nothing()


def test_read_stays_between_start_and_end() -> None:
    buffer = b"xxx" + Point(1, 2).encode() + b"yyyy"
    assert Point.read(buffer, 3, 11) == (Point(1, 2), 11)
    with pytest.raises(ProtocolError, match="the bytes end before Point does"):
        Point.read(buffer, 3, 10)
    assert Nothing.read(buffer, 3, 3) == (Nothing(), 3)
    with pytest.raises(ProtocolError, match="the bytes end before Nothing does"):
        Nothing.read(buffer, 3, 2)


def test_no_field_name_collides_with_generated_code() -> None:
    awkward = Awkward(1, "end", b"length", ["a", "b"], None, 2, "", 3)
    assert Awkward.decode(awkward.encode()) == awkward


def test_a_record_inside_another_must_be_of_its_class() -> None:
    with pytest.raises(TypeError, match=r"Login cannot be encoded: expected Point, not Twin\(x=1, y=2\)"):
        Login("me", None, [Twin(1, 2)]).encode()  # type: ignore[list-item]  # the point of the test


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (Point(2**31, 0), ValueError),
        (Point(-(2**31) - 1, 0), ValueError),
        (Point(2**70, 0), ValueError),
        (Point("1", 0), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Point(1.0, 0), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Point(None, 0), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Login(b"me", None, None), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Login(None, None, None), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Login("\ud800", None, None), ValueError),
        (Login("me", "text", None), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Login("me", [1], None), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Login("me", None, 5), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Login("me", None, "ab"), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Login("me", None, {Point(1)}), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Flags("no"), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Flags(None), TypeError),  # type: ignore[arg-type]  # the point of the test
        (Flags(True, 1), TypeError),  # type: ignore[arg-type]  # the point of the test
    ],
    ids=repr,
)
def test_a_value_that_does_not_fit_its_field_is_refused(record: Record, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{type(record).__name__} cannot be encoded: ") as refusal:
        record.encode()
    assert type(refusal.value) is error

"""How a record is declared: jute, ZooKeeper's serialization, in pure Python.

A record is declared once, as a class whose annotations are its fields in wire order; `messages.py` holds the
declarations. What stands on the wire for each kind of field is in `field_types.py`; on first use of a class
`code_generation.py` compiles a pair of functions for it, with each run of fixed-size fields folded into one
`struct.Struct`. Nothing here knows what a message means.

Records are tuples underneath: an 11-field `Stat` is made in 0.2 µs that way, in 1.1 µs as a frozen dataclass.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from operator import itemgetter
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from zkrecipes.codec import field_types
from zkrecipes.codec.code_generation import FieldType, compile_encoder, compile_reader
from zkrecipes.codec.secret import SecretBytes

try:
    # The getter of named tuples, in C; the standard library itself does without it where it is missing.
    from _collections import _tuplegetter  # type: ignore[import-not-found]
except ImportError:  # pragma: no cover - another Python than CPython

    def _tuplegetter(index: int, doc: str | None) -> Any:
        return property(itemgetter(index), doc=doc)


__all__ = [
    "Bool",
    "Buffer",
    "Int",
    "Long",
    "OptionalBool",
    "OptionalUString",
    "Record",
    "Secret",
    "UString",
    "Vector",
    "fields_of",
    "values_of",
]

T = TypeVar("T")

Bool = Annotated[bool, field_types.Boolean()]
Int = Annotated[int, field_types.Integer("i")]
Long = Annotated[int, field_types.Integer("q")]
UString = Annotated[str, field_types.UString(null="")]
"""Text. Null reads as empty: kazoo writes an empty string as null, and no field here tells the two apart."""
OptionalUString = Annotated[str | None, field_types.UString(null=None)]
"""Text where null means something."""
Buffer = Annotated[bytes | None, field_types.Buffer()]
"""Bytes, or null."""
Secret = Annotated[bytes | None, field_types.Buffer(secret=True)]
"""Bytes that no `repr` shows."""
OptionalBool = Annotated[bool | None, field_types.OptionalBoolean()]
"""A last field that older peers leave out: None is absent. The peer's end of the frame decides."""
Vector = Annotated[list[T] | None, field_types.Vector]
"""A list, or null."""


class _RecordType(type):
    """Gives records no attributes but their fields: a misspelt one is an error, and no memory is spent."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> _RecordType:
        return super().__new__(cls, name, bases, {"__slots__": (), **namespace}, **options)


if TYPE_CHECKING:
    # A record that users unpack names its tuple itself, `class Node(Record, tuple[bytes | None, Stat])`: a
    # checker takes the items' types from there. A tuple of `Any` up here would hide every mistake in them.
    class _Values:
        """What stands for the tuple."""

else:
    _Values = tuple


@dataclass_transform(frozen_default=True)
class Record(_Values, metaclass=_RecordType):
    """The base of all records: an immutable tuple with named fields that knows its wire form.

    Two records are equal if they are of one class and their fields are equal. Making one does not check types
    (it happens for each message); encoding a value that does not fit its field raises.
    """

    __slots__ = ()
    fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        names = tuple(
            name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)
        )
        if names:
            cls.fields = names
            setattr(cls, "__match_args__", names)  # noqa: B010 - to checkers it is theirs
            cls._install_constructor({name: cls.__dict__[name] for name in names if name in cls.__dict__})
            for index, name in enumerate(names):
                setattr(cls, name, _tuplegetter(index, None))

    @classmethod
    def _install_constructor(cls, defaults: dict[str, Any]) -> None:
        parameters = "".join(f", {name}={name}" if name in defaults else f", {name}" for name in cls.fields)
        values = "".join(f"{name}, " for name in cls.fields)
        source = f"def __new__(_cls{parameters}):\n    return _make(_cls, ({values}))\n"
        scope: dict[str, Any] = {"_make": tuple.__new__, **defaults}
        exec(source, scope)  # noqa: S102 - the source is made of our own field names
        setattr(cls, "__new__", scope["__new__"])  # noqa: B010 - as above

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The record at the beginning of `data`; bytes behind it are ignored, as newer servers append fields.

        Raises:
            ProtocolError: the bytes are not such a record.
        """
        return cls.read(data, 0, len(data))[0]

    @classmethod
    def read(cls, buffer: bytes, start: int, end: int) -> tuple[Self, int]:
        """The record that begins at `start` and the position behind it; nothing from `end` on is touched.

        Raises:
            ProtocolError: the bytes are not such a record.
        """
        cls.read = staticmethod(compile_reader(cls, fields_of(cls)))  # type: ignore[method-assign,assignment]
        return cls.read(buffer, start, end)

    def encode(self) -> bytes:
        """The record's bytes.

        Raises:
            ValueError: a number or a text does not fit its field.
            TypeError: a value is of another type than its field.
        """
        cls = type(self)
        cls.encode = compile_encoder(cls, fields_of(cls))  # type: ignore[method-assign,assignment]
        return self.encode()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and tuple.__eq__(values_of(self), other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((type(self), tuple(values_of(self))))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(values_of(self))

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        return _rich_fields(self)

    def __repr__(self) -> str:
        fields = fields_of(type(self)).kinds
        shown = (
            f"{name}={_shown(value, fields[name])}"
            for name, value in zip(fields, values_of(self), strict=True)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def _rich_fields(record: Record) -> Iterator[tuple[str, object]]:
    """The fields as `rich` is to show them: it would show a tuple item by item, secrets included."""
    kinds_of = fields_of(type(record)).kinds
    for name, value in zip(record.fields, values_of(record), strict=True):
        is_secret = _is_secret(kinds_of[name]) and isinstance(value, bytes)
        yield name, SecretBytes(value) if is_secret else value


def values_of(record: Record) -> tuple[Any, ...]:
    """The record as the tuple that it is, for code that takes records of any class."""
    values: tuple[Any, ...] = record  # type: ignore[assignment]  # checkers know only named tuples as such
    return values


def _is_secret(kind: FieldType) -> bool:
    return isinstance(kind, field_types.Buffer) and kind.secret


def _shown(value: object, kind: FieldType) -> str:
    if _is_secret(kind) and value is not None:
        return f"<{len(value)} bytes>" if isinstance(value, bytes) else "<hidden>"
    return repr(value)


@cache
def fields_of(cls: type[Record]) -> field_types.RecordFields:
    """What the annotations of a record class say about the wire."""
    hints = get_type_hints(cls, include_extras=True)
    return field_types.RecordFields(cls, {name: _kind_of(hints[name]) for name in cls.fields})


def _kind_of(hint: Any) -> FieldType:
    if get_origin(hint) is not Annotated:
        return fields_of(hint)
    plain, kind = get_args(hint)
    if kind is field_types.Vector:
        (element, _null) = get_args(plain)
        return field_types.Vector(_kind_of(get_args(element)[0]))
    found: FieldType = kind
    return found

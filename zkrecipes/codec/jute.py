"""The declaration of records in jute, ZooKeeper's serialization, in pure Python.

A record is declared once, as a class whose annotations are its fields in wire order; `messages.py` contains
the declarations. `field_types.py` defines the wire format of each type of field. On first use of a class
`code_generation.py` compiles a pair of functions for it, which read and write consecutive fixed-size fields
through one `struct.Struct`. This module does not know the meaning of any message.

Records are tuples underneath: making an 11-field `Stat` takes 0.2 µs that way, 1.1 µs as a frozen dataclass.
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
from zkrecipes.codec.code_generation import FieldType, compile_encoder, compile_function, compile_reader
from zkrecipes.codec.secret import SecretBytes

try:
    # The getter of named tuples, in C; the standard library has the same fallback.
    from _collections import _tuplegetter  # type: ignore[import-not-found]
except ImportError:  # pragma: no cover - other Pythons than CPython

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
    "record_type_of",
    "values_of",
]

T = TypeVar("T")

Bool = Annotated[bool, field_types.BooleanType()]
Int = Annotated[int, field_types.IntegerType("i")]
Long = Annotated[int, field_types.IntegerType("q")]
UString = Annotated[str, field_types.UStringType(null="")]
"""Text. Null reads as empty: kazoo writes an empty string as null, and no such field needs the difference."""
OptionalUString = Annotated[str | None, field_types.UStringType(null=None)]
"""Text in which null differs from empty."""
Buffer = Annotated[bytes | None, field_types.BufferType()]
"""Bytes, or null."""
Secret = Annotated[bytes | None, field_types.BufferType(secret=True)]
"""Bytes, or null; every `repr` hides them."""
OptionalBool = Annotated[bool | None, field_types.OptionalBooleanType()]
"""A last field that older peers leave out: None if it is absent, that is, if the frame ends before it."""
Vector = Annotated[list[T] | None, field_types.VectorType]
"""A list, or null."""


class _RecordMeta(type):
    """The metaclass that gives records empty `__slots__`: no `__dict__`, and a misspelt field is an error."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> _RecordMeta:
        return super().__new__(cls, name, bases, {"__slots__": (), **namespace}, **options)


if TYPE_CHECKING:
    # A record that users unpack names its tuple type, `class Node(Record, tuple[bytes | None, Stat])`, and a
    # checker takes the items' types from it. A tuple of `Any` in the base would hide every mistake in them.
    class _Values:
        """A stand-in for the tuple."""

else:
    _Values = tuple


@dataclass_transform(frozen_default=True)
class Record(_Values, metaclass=_RecordMeta):
    """The base of all records: an immutable tuple with named fields that knows its wire format.

    Two records are equal if they have the same class and equal fields. Making a record does not check types,
    because every message makes one; encoding a value that does not fit its field raises.
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
            setattr(cls, "__match_args__", names)  # noqa: B010 - a checker defines it from the fields
            cls._install_constructor({name: cls.__dict__[name] for name in names if name in cls.__dict__})
            for index, name in enumerate(names):
                setattr(cls, name, _tuplegetter(index, None))

    @classmethod
    def _install_constructor(cls, defaults: dict[str, Any]) -> None:
        parameters = "".join(f", {name}={name}" if name in defaults else f", {name}" for name in cls.fields)
        values = "".join(f"{name}, " for name in cls.fields)
        source = f"def __new__(_cls{parameters}):\n    return _make(_cls, ({values}))\n"
        scope: dict[str, Any] = {"_make": tuple.__new__, **defaults}
        setattr(cls, "__new__", compile_function(source, "__new__", cls, scope))  # noqa: B010 - as above

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the record at the start of `data`, and ignore later bytes: newer servers append fields.

        Raises:
            ProtocolError: the bytes are not such a record.
        """
        return cls.read(data, 0, len(data))[0]

    @classmethod
    def read(cls, buffer: bytes, start: int, end: int) -> tuple[Self, int]:
        """Return the record that begins at `start`, and the position after it; do not read beyond `end`.

        Raises:
            ProtocolError: the bytes are not such a record.
        """
        cls.read = staticmethod(compile_reader(cls, record_type_of(cls)))  # type: ignore[method-assign,assignment]
        return cls.read(buffer, start, end)

    def encode(self) -> bytes:
        """Return the record's bytes.

        Raises:
            ValueError: a number or a text does not fit its field.
            TypeError: a value has another type than its field.
        """
        cls = type(self)
        cls.encode = compile_encoder(cls, record_type_of(cls))  # type: ignore[method-assign,assignment]
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
        fields = record_type_of(type(self)).fields
        shown = (
            f"{name}={_shown(value, fields[name])}"
            for name, value in zip(fields, values_of(self), strict=True)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def _rich_fields(record: Record) -> Iterator[tuple[str, object]]:
    """Yield the fields for `rich`, which would otherwise show a tuple item by item, secrets included."""
    field_types_of = record_type_of(type(record)).fields
    for name, value in zip(record.fields, values_of(record), strict=True):
        is_secret = _is_secret(field_types_of[name]) and isinstance(value, bytes)
        yield name, SecretBytes(value) if is_secret else value


def values_of(record: Record) -> tuple[Any, ...]:
    """Return the record typed as a tuple, for code that takes records of any class."""
    values: tuple[Any, ...] = record  # type: ignore[assignment]  # checkers know only named tuples as such
    return values


def _is_secret(field_type: FieldType) -> bool:
    return isinstance(field_type, field_types.BufferType) and field_type.secret


def _shown(value: object, field_type: FieldType) -> str:
    if _is_secret(field_type) and value is not None:
        return f"<{len(value)} bytes>" if isinstance(value, bytes) else "<hidden>"
    return repr(value)


@cache
def record_type_of(cls: type[Record]) -> field_types.RecordType:
    """Return the wire format that the annotations of a record class declare."""
    hints = get_type_hints(cls, include_extras=True)
    return field_types.RecordType(cls, {name: _field_type_of(hints[name]) for name in cls.fields})


def _field_type_of(hint: Any) -> FieldType:
    if get_origin(hint) is not Annotated:
        return record_type_of(hint)
    plain, declared = get_args(hint)
    if declared is field_types.VectorType:
        (element, _null) = get_args(plain)
        return field_types.VectorType(_field_type_of(get_args(element)[0]))
    field_type: FieldType = declared
    return field_type

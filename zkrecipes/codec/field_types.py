"""The types of fields: the reader and the writer of each wire format, side by side.

The wire format (read in `BinaryOutputArchive.java` and `BinaryInputArchive.java`, 3.9): integers are
big-endian; a boolean is one byte; a string or a buffer is its length in bytes and then its bytes; a vector is
its count and then its elements. Length or count -1 is null, which differs from empty.

Each class implements `FieldType`, which documents `size_min`, `read` and `write`. The classes end in `Type`
because `jute.py` gives the plain names (`UString`, `Buffer`, …) to the annotations that records are declared
with.
"""

# ruff: noqa: D102 - their documentation is that of `FieldType`

from __future__ import annotations

from dataclasses import dataclass

from zkrecipes.codec.code_generation import FieldType, ReaderSource, WriterSource, struct
from zkrecipes.codec.secret import SecretBytes
from zkrecipes.codec.strings import decode_string, encode_string, read_strings
from zkrecipes.errors import ProtocolError

__all__ = [
    "BooleanType",
    "BufferType",
    "IntegerType",
    "OptionalBooleanType",
    "RecordType",
    "UStringType",
    "VectorType",
]


@dataclass(frozen=True)
class IntegerType:
    """An integer of fixed size; `code` is its struct letter."""

    code: str

    @property
    def size_min(self) -> int:
        return struct(self.code).size

    def read(self, reader: ReaderSource, label: str) -> str:
        number = reader.new_name(label)
        reader.add_fixed(self.code, number)
        return number

    def write(self, writer: WriterSource, value: str) -> None:
        writer.add_fixed(self.code, value)


@dataclass(frozen=True)
class BooleanType:
    """A boolean in one byte; every byte but 0 is true."""

    size_min = 1

    def read(self, reader: ReaderSource, label: str) -> str:
        boolean = reader.new_name(label)
        reader.add_fixed("?", boolean)
        return boolean

    def write(self, writer: WriterSource, value: str) -> None:
        # A boolean is packed as a number: the struct letter for booleans accepts any value, and writes the
        # text "no" as true.
        writer.add_fixed("B", value)


@dataclass(frozen=True)
class OptionalBooleanType:
    """A boolean that older peers leave out at the end of a record; present if bytes remain before the end."""

    size_min = 0

    def read(self, reader: ReaderSource, label: str) -> str:
        boolean = reader.new_name(label)
        reader.flush()
        reader.add(f"{boolean} = None if pos >= end else buffer[pos] != 0")
        reader.add(f"pos += {boolean} is not None")
        return boolean

    def write(self, writer: WriterSource, value: str) -> None:
        data = f"{value}_bytes"
        writer.add(f"{data} = {writer.bind('optional_bytes', _optional_bytes)}({value})")
        writer.add_piece(data)


def _optional_bytes(value: object) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, bool):
        raise TypeError(f"expected True, False or None, not {value!r}")
    return b"\1" if value else b"\0"


@dataclass(frozen=True)
class UStringType:
    """A string in UTF-8; a null string reads as `null`, which is empty text or None."""

    null: str | None

    size_min = 4

    def read(self, reader: ReaderSource, label: str) -> str:
        text = reader.new_name(label)
        decode = reader.bind("decode_string", decode_string)
        reader.add_counted(
            label,
            "try:",
            f"    {text} = buffer[start:pos].decode()",
            "except UnicodeDecodeError:",
            f"    {text} = {decode}(buffer[start:pos])",
            null=f"{text} = {self.null!r}",
        )
        return text

    def write(self, writer: WriterSource, value: str) -> None:
        data, size = f"{value}_bytes", f"{value}_size"
        if self.null is None:
            with writer.block(f"if {value} is None:"):
                writer.add(f"{data}, {size} = b'', -1")
            with writer.block("else:"):
                self._encode(writer, data, value)
                writer.add(f"{size} = len({data})")
        else:
            self._encode(writer, data, value)
            size = f"len({data})"
        writer.add_fixed("i", size)
        writer.add_piece(data)

    def _encode(self, writer: WriterSource, data: str, value: str) -> None:
        with writer.block("try:"):
            writer.add(f"{data} = {value}.encode()")
        with writer.block("except UnicodeEncodeError:"):
            writer.add(f"{data} = {writer.bind('encode_string', encode_string)}({value})")


@dataclass(frozen=True)
class BufferType:
    """Bytes, or None for a null buffer; `secret` bytes have a `repr` that hides them."""

    secret: bool = False

    size_min = 4

    def read(self, reader: ReaderSource, label: str) -> str:
        data = reader.new_name(label)
        taken = "buffer[start:pos]"
        if self.secret:
            taken = f"{reader.bind('secret', SecretBytes)}({taken})"
        reader.add_counted(label, f"{data} = {taken}", null=f"{data} = None")
        return data

    def write(self, writer: WriterSource, value: str) -> None:
        data, size = f"{value}_bytes", f"{value}_size"
        with writer.block(f"if type({value}) is bytes:"):
            writer.add(f"{data}, {size} = {value}, len({value})")
        with writer.block("else:"):
            writer.add(f"{data}, {size} = {writer.bind('bytes_of', _bytes_of)}({value})")
        writer.add_fixed("i", size)
        writer.add_piece(data)


def _bytes_of(value: object) -> tuple[bytes, int]:
    """Return the bytes to write for a value that is not plain bytes, and the length to write before them."""
    if value is None:
        return b"", -1
    if not isinstance(value, bytes | bytearray | memoryview):
        # The value stays out of the message: it may be a password.
        raise TypeError(f"expected bytes or None, not {type(value).__name__}")
    data = bytes(value)
    return data, len(data)


@dataclass(frozen=True)
class VectorType:
    """A list of elements of one type, or None for a null vector."""

    element: FieldType

    size_min = 4

    def read(self, reader: ReaderSource, label: str) -> str:
        elements = reader.new_name(label)
        reader.add_fixed("i", "count")
        reader.flush()
        with reader.block("if count == 0:"):
            reader.add(f"{elements} = []")
        with reader.block("elif count > 0:"):
            with reader.block(f"if count * {self.element.size_min} > end - pos:"):
                reader.add(f"raise {reader.bind('too_many', _too_many)}({label!r}, count, end - pos)")
            self._read_elements(reader, elements, label)
        with reader.block("elif count == -1:"):
            reader.add(f"{elements} = None")
        with reader.block("else:"):
            reader.add(f"raise wrong_length({label!r}, count)")
        reader.end_is_checked = False
        return elements

    def _read_elements(self, reader: ReaderSource, elements: str, label: str) -> None:
        if isinstance(self.element, UStringType):
            read = reader.bind("read_strings", read_strings)
            reader.add(f"{elements}, pos = {read}(buffer, pos, end, count)")
            return
        reader.add(f"{elements} = []")
        with reader.block("for _ in range(count):"):
            element = self.element.read(reader, label)
            reader.flush()
            reader.add(f"{elements}.append({element})")

    def write(self, writer: WriterSource, value: str) -> None:
        data, parts, element = f"{value}_bytes", f"{value}_parts", f"{value}_element"
        count = writer.bind("pack_count", struct("i").pack)
        with writer.block(f"if {value} is None:"):
            writer.add(f"{data} = {count}(-1)")
        with writer.block(f"elif isinstance({value}, (list, tuple)):"):
            writer.add(f"{parts} = [{count}(len({value}))]")
            with writer.collect(f"for {element} in {value}:", into=parts):
                self.element.write(writer, element)
            writer.add(f"{data} = join({parts})")
        with writer.block("else:"):
            writer.add(f"raise TypeError(f'expected a list or None, not {{{value}!r}}')")
        writer.add_piece(data)


def _too_many(label: str, count: int, room: int) -> ProtocolError:
    return ProtocolError(f"{label} cannot have {count} elements in the remaining {room} bytes")


@dataclass(frozen=True)
class RecordType:
    """A record: its fields, one after the other."""

    record: type
    fields: dict[str, FieldType]

    @property
    def size_min(self) -> int:
        return sum(field_type.size_min for field_type in self.fields.values())

    @property
    def struct_codes(self) -> str | None:
        """The struct letters of a record that consists of numbers only, else None."""
        numbers = [each.code for each in self.fields.values() if isinstance(each, IntegerType)]
        return "".join(numbers) if 0 < len(numbers) == len(self.fields) else None

    def read(self, reader: ReaderSource, label: str) -> str:
        record = reader.bind("record", self.record)
        if self.struct_codes is not None:
            return f"make({record}, {reader.add_numbers(self.struct_codes, label)})"
        values = [field_type.read(reader, name) for name, field_type in self.fields.items()]
        return f"make({record}, ({''.join(value + ', ' for value in values)}))"

    def write(self, writer: WriterSource, value: str) -> None:
        if value != "self":
            with writer.block(f"if type({value}) is not {writer.bind('record', self.record)}:"):
                expected = self.record.__name__
                writer.add(f"raise TypeError(f'expected {expected}, not {{{value}!r}}')")
        if self.struct_codes is not None:
            writer.add_fixed(self.struct_codes, f"*{value}")
            return
        names = {name: writer.new_name(name) for name in self.fields}
        if names:
            writer.add(f"{', '.join(names.values())}, = {value}")
        for name, field_type in self.fields.items():
            field_type.write(writer, names[name])

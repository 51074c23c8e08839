"""The kinds of fields: what each is on the wire, its reader and its writer side by side.

The wire (read in `BinaryOutputArchive.java` and `BinaryInputArchive.java`, 3.9): big-endian integers, a
boolean is one byte, a string or a buffer is its length in bytes and then its bytes, a vector is its count and
then its elements; length or count -1 is null, which is not the same as empty.

Each kind is a `FieldType`; what `smallest`, `read` and `write` mean stands there.
"""

# ruff: noqa: D102 - their documentation is that of `FieldType`

from __future__ import annotations

from dataclasses import dataclass

from zkrecipes.codec.code_generation import FieldType, ReaderSource, WriterSource, struct
from zkrecipes.codec.secret import SecretBytes
from zkrecipes.codec.strings import decode_string, encode_string, read_strings
from zkrecipes.errors import ProtocolError

__all__ = ["Boolean", "Buffer", "Integer", "OptionalBoolean", "RecordFields", "UString", "Vector"]


@dataclass(frozen=True)
class Integer:
    """An integer of fixed size; `code` is its struct letter."""

    code: str

    @property
    def smallest(self) -> int:
        return struct(self.code).size

    def read(self, reader: ReaderSource, label: str) -> str:
        number = reader.name(label)
        reader.fixed(self.code, number)
        return number

    def write(self, writer: WriterSource, value: str) -> None:
        writer.fixed(self.code, value)


@dataclass(frozen=True)
class Boolean:
    """A boolean in one byte; every byte but 0 is true."""

    smallest = 1

    def read(self, reader: ReaderSource, label: str) -> str:
        truth = reader.name(label)
        reader.fixed("?", truth)
        return truth

    def write(self, writer: WriterSource, value: str) -> None:
        # As the number that it is: the letter for booleans takes anything, and would call the text "no" true.
        writer.fixed("B", value)


@dataclass(frozen=True)
class OptionalBoolean:
    """A boolean that older peers leave out, last in its record: there, if anything is left before the end."""

    smallest = 0

    def read(self, reader: ReaderSource, label: str) -> str:
        truth = reader.name(label)
        reader.flush()
        reader.add(f"{truth} = None if pos >= end else buffer[pos] != 0")
        reader.add(f"pos += {truth} is not None")
        return truth

    def write(self, writer: WriterSource, value: str) -> None:
        data = f"{value}_bytes"
        writer.add(f"{data} = {writer.bind('optional_bytes', _optional_bytes)}({value})")
        writer.piece(data)


def _optional_bytes(value: object) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, bool):
        raise TypeError(f"expected True, False or None, not {value!r}")
    return b"\1" if value else b"\0"


@dataclass(frozen=True)
class UString:
    """A string in UTF-8; `null` is what a null string reads as: empty text or None."""

    null: str | None

    smallest = 4

    def read(self, reader: ReaderSource, label: str) -> str:
        text = reader.name(label)
        decode = reader.bind("decode_string", decode_string)
        reader.counted(
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
        writer.fixed("i", size)
        writer.piece(data)

    def _encode(self, writer: WriterSource, data: str, value: str) -> None:
        with writer.block("try:"):
            writer.add(f"{data} = {value}.encode()")
        with writer.block("except UnicodeEncodeError:"):
            writer.add(f"{data} = {writer.bind('encode_string', encode_string)}({value})")


@dataclass(frozen=True)
class Buffer:
    """Bytes, or None for a null buffer; `secret` bytes are not shown."""

    secret: bool = False

    smallest = 4

    def read(self, reader: ReaderSource, label: str) -> str:
        data = reader.name(label)
        taken = "buffer[start:pos]"
        if self.secret:
            taken = f"{reader.bind('secret', SecretBytes)}({taken})"
        reader.counted(label, f"{data} = {taken}", null=f"{data} = None")
        return data

    def write(self, writer: WriterSource, value: str) -> None:
        data, size = f"{value}_bytes", f"{value}_size"
        with writer.block(f"if type({value}) is bytes:"):
            writer.add(f"{data}, {size} = {value}, len({value})")
        with writer.block("else:"):
            writer.add(f"{data}, {size} = {writer.bind('bytes_of', _bytes_of)}({value})")
        writer.fixed("i", size)
        writer.piece(data)


def _bytes_of(value: object) -> tuple[bytes, int]:
    """What is written for data that is not plain bytes, and the length before it."""
    if value is None:
        return b"", -1
    if not isinstance(value, bytes | bytearray | memoryview):
        # The value stays out of the message: it may be a password.
        raise TypeError(f"expected bytes or None, not {type(value).__name__}")
    data = bytes(value)
    return data, len(data)


@dataclass(frozen=True)
class Vector:
    """A list of one kind, or None for a null vector."""

    element: FieldType

    smallest = 4

    def read(self, reader: ReaderSource, label: str) -> str:
        elements = reader.name(label)
        reader.fixed("i", "count")
        reader.flush()
        with reader.block("if count == 0:"):
            reader.add(f"{elements} = []")
        with reader.block("elif count > 0:"):
            with reader.block(f"if count * {self.element.smallest} > end - pos:"):
                reader.add(f"raise {reader.bind('too_many', _too_many)}({label!r}, count, end - pos)")
            self._read_elements(reader, elements, label)
        with reader.block("elif count == -1:"):
            reader.add(f"{elements} = None")
        with reader.block("else:"):
            reader.add(f"raise misfit({label!r}, count)")
        reader.end_is_checked = False
        return elements

    def _read_elements(self, reader: ReaderSource, elements: str, label: str) -> None:
        if isinstance(self.element, UString):
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
            with writer.gathered(f"for {element} in {value}:", into=parts):
                self.element.write(writer, element)
            writer.add(f"{data} = join({parts})")
        with writer.block("else:"):
            writer.add(f"raise TypeError(f'expected a list or None, not {{{value}!r}}')")
        writer.piece(data)


def _too_many(label: str, count: int, room: int) -> ProtocolError:
    return ProtocolError(f"{label} cannot have {count} elements in the {room} bytes that are left")


@dataclass(frozen=True)
class RecordFields:
    """A record: its fields, one after the other."""

    record: type
    kinds: dict[str, FieldType]

    @property
    def smallest(self) -> int:
        return sum(kind.smallest for kind in self.kinds.values())

    @property
    def codes(self) -> str | None:
        """The struct letters of a record of nothing but numbers, else None."""
        numbers = [kind.code for kind in self.kinds.values() if isinstance(kind, Integer)]
        return "".join(numbers) if 0 < len(numbers) == len(self.kinds) else None

    def read(self, reader: ReaderSource, label: str) -> str:
        record = reader.bind("record", self.record)
        if self.codes is not None:
            return f"make({record}, {reader.numbers(self.codes, label)})"
        values = [kind.read(reader, name) for name, kind in self.kinds.items()]
        return f"make({record}, ({''.join(value + ', ' for value in values)}))"

    def write(self, writer: WriterSource, value: str) -> None:
        if value != "self":
            with writer.block(f"if type({value}) is not {writer.bind('record', self.record)}:"):
                wanted = self.record.__name__
                writer.add(f"raise TypeError(f'expected {wanted}, not {{{value}!r}}')")
        if self.codes is not None:
            writer.fixed(self.codes, f"*{value}")
            return
        names = {name: writer.name(name) for name in self.kinds}
        if names:
            writer.add(f"{', '.join(names.values())}, = {value}")
        for name, kind in self.kinds.items():
            kind.write(writer, names[name])

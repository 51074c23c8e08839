"""From a record's fields to the functions that read and write it: Python source, compiled once a class.

`field_types.py` says which lines read and write each type of field; this module collects them. A
generated reader walks a buffer with `pos` up to `end`; a generated encoder joins pieces of bytes. Runs of
fixed-size fields are gathered until something of another size comes, and go through one `struct.Struct`.

This is what becomes of `Node`, a buffer and a `Stat` (names shortened):

    def read(buffer, pos, end):                         def encode(self):
        try:                                                try:
            length, = unpack_length(buffer, pos)                data, stat = self
            start = pos + 4                                     if type(data) is bytes:
            pos = start + length                                    size = len(data)
            if start <= pos <= end:                             else:
                data = buffer[start:pos]                            data, size = bytes_of(data)
            elif length == -1 and start <= end:                 if type(stat) is not Stat:
                data = None                                         raise TypeError(...)
                pos = start                                     return join((
            else:                                                   pack_length(size),
                raise misfit("data", length)                        data,
            stat = unpack_stat(buffer, pos)                         pack_stat(*stat),
            pos += 68                                           ))
        except (StructError, IndexError):                   except (StructError, TypeError, ...) as error:
            raise truncated("Node") from None                   raise unencodable("Node", error) from error
        if pos > end:
            raise truncated("Node")
        return make(Node, (data, make(Stat, stat))), pos
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from struct import Struct, error as StructError  # noqa: N812 - an exception, whatever its case
from typing import Any, Protocol

from zkrecipes.errors import ProtocolError

__all__ = [
    "FieldType",
    "ReaderSource",
    "WriterSource",
    "compile_encoder",
    "compile_frame_encoder",
    "compile_reader",
    "struct",
]


class FieldType(Protocol):
    """What stands on the wire for a value, as source that reads it and source that writes it."""

    @property
    def smallest(self) -> int:
        """The bytes of the shortest value, so that a count that cannot be true is refused."""

    def read(self, reader: ReaderSource, label: str) -> str:
        """Add what reads a value called `label`; the expression that stands for it afterwards."""

    def write(self, writer: WriterSource, value: str) -> None:
        """Add what writes the value of the variable `value`; names that begin so are its own."""


def compile_reader(cls: type, kind: FieldType) -> Callable[[bytes, int, int], tuple[Any, int]]:
    """A function (buffer, start, end) that returns a `cls` and the position behind it."""
    reader = ReaderSource("def read(buffer, pos, end):")
    with reader.block("try:"):
        value = kind.read(reader, cls.__name__)
        reader.flush()
    with reader.block("except (StructError, IndexError):"):
        reader.add(f"raise truncated({cls.__name__!r}) from None")
    if not reader.end_is_checked:
        with reader.block("if pos > end:"):
            reader.add(f"raise truncated({cls.__name__!r})")
    reader.add(f"return {value}, pos")
    read: Callable[[bytes, int, int], tuple[Any, int]] = reader.function("read", f"{cls.__name__}.read")
    return read


def compile_encoder(cls: type, kind: FieldType) -> Callable[[Any], bytes]:
    """A function that returns the bytes of a `cls`."""
    return _compile_writer(cls, kind, WriterSource("def encode(self):"), "encode")


def compile_frame_encoder(cls: type, kind: FieldType, opcode: int) -> Callable[[Any, int], bytes]:
    """A function (request, xid) that returns the whole frame: length, request header, body."""
    writer = WriterSource("def encode_frame(self, xid):")
    writer.fixed("i", "size")
    writer.fixed("i", "xid")
    writer.fixed("i", str(int(opcode)))
    return _compile_writer(cls, kind, writer, "encode_frame")


def _compile_writer(cls: type, kind: FieldType, writer: WriterSource, name: str) -> Callable[..., bytes]:
    with writer.block("try:"):
        kind.write(writer, "self")
        result = writer.take()
        if name == "encode_frame":
            writer.add(f"size = {writer.size_after(4)}")
        writer.add(f"return {result}")
    with writer.block("except (StructError, AttributeError, TypeError, ValueError) as error:"):
        writer.add(f"raise unencodable({cls.__name__!r}, error) from error")
    encode: Callable[..., bytes] = writer.function(name, f"{cls.__name__}.{name}")
    return encode


@cache
def struct(codes: str) -> Struct:
    """The big-endian `Struct` of these letters."""
    return Struct("!" + codes)


class _Source:
    """The source of one function in the making, and the objects that it names."""

    def __init__(self, signature: str) -> None:
        self._lines = [signature]
        self._indent = "    "
        self._run: list[tuple[str, str]] = []  # letter and name or expression of fixed-size fields to come
        self._scope: dict[str, Any] = {
            "StructError": StructError,
            "join": b"".join,
            "make": tuple.__new__,
            "misfit": _misfit,
            "truncated": _truncated,
            "unencodable": _unencodable,
        }
        self._names = 0

    def add(self, *lines: str) -> None:
        """Add lines at the present depth."""
        self._lines += [self._indent + line for line in lines]

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """What is added inside stands under the line `opening`."""
        self.add(opening)
        outer, self._indent = self._indent, self._indent + "    "
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.add("pass")
        self._indent = outer

    def name(self, hint: str) -> str:
        """A new name, unlike every other, whatever the fields are called."""
        self._names += 1
        return f"{hint}_{self._names}"

    def bind(self, hint: str, value: object) -> str:
        """A new name under which the function finds `value`."""
        name = self.name(hint)
        self._scope[name] = value
        return name

    def fixed(self, codes: str, value: str) -> None:
        """The next bytes are of this layout; they are read into, or written from, `value`."""
        self._run.append((codes, value))

    def function(self, name: str, title: str) -> Any:
        """The function, compiled; a traceback shows it as `title`."""
        code = compile("\n".join(self._lines), f"<{title}, generated>", "exec")
        exec(code, self._scope)  # noqa: S102 - made of our own declarations only
        return self._scope[name]

    def _take_run(self) -> tuple[Struct, list[str]]:
        codes = "".join(letters for letters, _ in self._run)
        values = [value for _, value in self._run]
        self._run.clear()
        return struct(codes), values


class ReaderSource(_Source):
    """A function that takes a record from `buffer` at `pos` and goes no further than `end`."""

    end_is_checked: bool = False
    """Whether all that was read so far is known to lie before `end`."""

    def flush(self, position: str = "pos") -> None:
        """Read the run of fixed-size fields; `position` is what to call the place behind it."""
        if self._run:
            layout, names = self._take_run()
            self.add(f"{', '.join(names)}, = {self.bind('unpack', layout.unpack_from)}(buffer, pos)")
            self.add(f"{position} = pos + {layout.size}")
            self.end_is_checked = False

    def numbers(self, codes: str, label: str) -> str:
        """Read numbers of this layout; the name of their tuple."""
        self.flush()
        layout, numbers = struct(codes), self.name(label)
        self.add(f"{numbers} = {self.bind('unpack', layout.unpack_from)}(buffer, pos)")
        self.add(f"pos += {layout.size}")
        self.end_is_checked = False
        return numbers

    def counted(self, label: str, *take: str, null: str) -> None:
        """Read a length and so many bytes.

        Args:
            label: what to call the field in an error.
            take: lines that take the bytes from `start` to `pos`.
            null: the line for length -1.
        """
        self.fixed("i", "length")
        self.flush("start")
        self.add("pos = start + length")
        with self.block("if start <= pos <= end:"):
            self.add(*take)
        with self.block("elif length == -1 and start <= end:"):
            self.add(null, "pos = start")
        with self.block("else:"):
            self.add(f"raise misfit({label!r}, length)")
        self.end_is_checked = True


class WriterSource(_Source):
    """A function that returns bytes as a sum of pieces, each an expression."""

    def __init__(self, signature: str) -> None:
        super().__init__(signature)
        self._pieces: list[str] = []
        self._fixed_size = 0
        self._sizes: list[str] = []

    def size_after(self, head: int) -> str:
        """The expression for the number of bytes behind the first `head`."""
        return " + ".join([str(self._fixed_size - head), *self._sizes])

    def piece(self, name: str) -> None:
        """The next bytes are those of the variable `name`."""
        self._flush()
        self._pieces.append(name)
        self._sizes.append(f"len({name})")

    def take(self) -> str:
        """The expression for all pieces so far, which are then forgotten."""
        self._flush()
        pieces, self._pieces = self._pieces, []
        # Three and more are joined: each `+` would copy a megabyte of data once more.
        return f"join(({', '.join(pieces)}))" if len(pieces) > 2 else " + ".join(pieces) or "b''"

    @contextmanager
    def gathered(self, opening: str, into: str) -> Iterator[None]:
        """What is written inside stands under `opening`, and is appended to the list `into`."""
        self._flush()
        outer = self._pieces, self._sizes, self._fixed_size
        self._pieces, self._sizes = [], []
        with self.block(opening):
            yield
            self.add(f"{into}.append({self.take()})")
        self._pieces, self._sizes, self._fixed_size = outer

    def _flush(self) -> None:
        if self._run:
            layout, values = self._take_run()
            self._pieces.append(f"{self.bind('pack', layout.pack)}({', '.join(values)})")
            self._fixed_size += layout.size


def _truncated(what: str) -> ProtocolError:
    return ProtocolError(f"the bytes end before {what} does")


def _misfit(what: str, length: int) -> ProtocolError:
    if length < -1:
        return ProtocolError(f"{what} has the impossible length {length}")
    return _truncated(what)


def _unencodable(what: str, error: Exception) -> Exception:
    kind = TypeError if isinstance(error, AttributeError | TypeError) else ValueError
    if isinstance(error, StructError) and "required argument is not an integer" in str(error):
        kind = TypeError
    return kind(f"{what} cannot be encoded: {error}")

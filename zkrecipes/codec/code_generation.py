"""Generates the functions that read and write a record, as Python source compiled once per class.

`field_types.py` contributes the lines that read and write each type of field; this module collects them. A
generated reader walks a buffer from `pos` up to `end`; a generated encoder joins pieces of bytes. Consecutive
fixed-size fields go through one `struct.Struct`. The source is registered with `linecache`, so that
tracebacks and debuggers show the generated lines.

For `Node`, a buffer and a `Stat`, the generated functions are (names shortened):

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
                raise wrong_length("data", length)                  data,
            stat = unpack_stat(buffer, pos)                         pack_stat(*stat),
            pos += 68                                           ))
        except (StructError, IndexError):                   except (StructError, TypeError, ...) as error:
            raise truncated("Node") from None                   raise unencodable("Node", error) from error
        if pos > end:
            raise truncated("Node")
        return make(Node, (data, make(Stat, stat))), pos
"""

from __future__ import annotations

import linecache
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
    "compile_function",
    "compile_reader",
    "struct",
]


class FieldType(Protocol):
    """The wire format of one type of value, as source that reads it and source that writes it."""

    @property
    def size_min(self) -> int:
        """The size of the shortest value: a reader refuses a count that the remaining bytes cannot hold."""

    def read(self, reader: ReaderSource, label: str) -> str:
        """Add the lines that read a value called `label`, and return the expression for the value."""

    def write(self, writer: WriterSource, value: str) -> None:
        """Add the lines that write the variable `value`; they may define names that begin with `value`."""


def compile_reader(cls: type, field_type: FieldType) -> Callable[[bytes, int, int], tuple[Any, int]]:
    """Return a function (buffer, start, end) that returns a `cls` and the position after it."""
    reader = ReaderSource("def read(buffer, pos, end):")
    with reader.block("try:"):
        value = field_type.read(reader, cls.__name__)
        reader.flush()
    with reader.block("except (StructError, IndexError):"):
        reader.add(f"raise truncated({cls.__name__!r}) from None")
    if not reader.end_is_checked:
        with reader.block("if pos > end:"):
            reader.add(f"raise truncated({cls.__name__!r})")
    reader.add(f"return {value}, pos")
    read: Callable[[bytes, int, int], tuple[Any, int]] = reader.compile("read", cls)
    return read


def compile_encoder(cls: type, field_type: FieldType) -> Callable[[Any], bytes]:
    """Return a function that returns the bytes of a `cls`."""
    return _compile_writer(cls, field_type, WriterSource("def encode(self):"), "encode")


def compile_frame_encoder(cls: type, field_type: FieldType, opcode: int) -> Callable[[Any, int], bytes]:
    """Return a function (request, xid) that returns the whole frame: length, request header, body."""
    writer = WriterSource("def encode_frame(self, xid):")
    writer.add_fixed("i", "size")
    writer.add_fixed("i", "xid")
    writer.add_fixed("i", str(int(opcode)))
    return _compile_writer(cls, field_type, writer, "encode_frame")


def _compile_writer(
    cls: type, field_type: FieldType, writer: WriterSource, name: str
) -> Callable[..., bytes]:
    with writer.block("try:"):
        field_type.write(writer, "self")
        result = writer.take_pieces()
        if name == "encode_frame":
            writer.add(f"size = {writer.size_after(4)}")
        writer.add(f"return {result}")
    with writer.block("except (StructError, AttributeError, TypeError, ValueError) as error:"):
        writer.add(f"raise unencodable({cls.__name__!r}, error) from error")
    encode: Callable[..., bytes] = writer.compile(name, cls)
    return encode


def compile_function(source: str, name: str, cls: type, scope: dict[str, Any]) -> Any:
    """Compile the function `name` of a class, and register its source with `linecache`.

    Args:
        source: the function's source.
        name: the function's name.
        cls: the class; its name is in the file name that a traceback shows.
        scope: the function's globals.
    """
    filename = f"<generated {cls.__module__}.{cls.__qualname__}.{name}>"
    # An entry without a modification time stays when `linecache.checkcache` drops outdated files.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), scope)  # noqa: S102 - the source is made of our declarations only
    return scope[name]


@cache
def struct(codes: str) -> Struct:
    """Return the big-endian `Struct` of these letters."""
    return Struct("!" + codes)


class _Source:
    """The source of one function under construction, and the objects that it uses."""

    def __init__(self, signature: str) -> None:
        self._lines = [signature]
        self._indent = "    "
        self._run: list[tuple[str, str]] = []  # letters and expression of each pending fixed-size field
        self._scope: dict[str, Any] = {
            "StructError": StructError,
            "join": b"".join,
            "make": tuple.__new__,
            "truncated": _truncated,
            "unencodable": _unencodable,
            "wrong_length": _wrong_length,
        }
        self._names = 0

    def add(self, *lines: str) -> None:
        """Add lines at the current depth."""
        self._lines += [self._indent + line for line in lines]

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Indent the lines that are added inside the context, under the line `opening`."""
        self.add(opening)
        outer, self._indent = self._indent, self._indent + "    "
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.add("pass")
        self._indent = outer

    def new_name(self, hint: str) -> str:
        """Return a name that is unique in the function, whatever the fields are called."""
        self._names += 1
        return f"{hint}_{self._names}"

    def bind(self, hint: str, value: object) -> str:
        """Return a new name under which the function finds `value`."""
        name = self.new_name(hint)
        self._scope[name] = value
        return name

    def add_fixed(self, codes: str, value: str) -> None:
        """Add fixed-size bytes of this layout, read into or written from `value`."""
        self._run.append((codes, value))

    def compile(self, name: str, cls: type) -> Any:
        """Return the function, compiled as the method `name` of `cls`."""
        return compile_function("\n".join([*self._lines, ""]), name, cls, self._scope)

    def _take_run(self) -> tuple[Struct, list[str]]:
        codes = "".join(letters for letters, _ in self._run)
        values = [value for _, value in self._run]
        self._run.clear()
        return struct(codes), values


class ReaderSource(_Source):
    """The source of a function that reads a record from `buffer`, from `pos` up to `end`."""

    end_is_checked: bool = False
    """Whether the function has already checked that all bytes read so far lie before `end`."""

    def flush(self, position: str = "pos") -> None:
        """Read the pending fixed-size fields; `position` is the variable for the position after them."""
        if self._run:
            layout, names = self._take_run()
            self.add(f"{', '.join(names)}, = {self.bind('unpack', layout.unpack_from)}(buffer, pos)")
            self.add(f"{position} = pos + {layout.size}")
            self.end_is_checked = False

    def add_numbers(self, codes: str, label: str) -> str:
        """Read numbers of this layout, and return the name of their tuple."""
        self.flush()
        layout, numbers = struct(codes), self.new_name(label)
        self.add(f"{numbers} = {self.bind('unpack', layout.unpack_from)}(buffer, pos)")
        self.add(f"pos += {layout.size}")
        self.end_is_checked = False
        return numbers

    def add_counted(self, label: str, *take: str, null: str) -> None:
        """Read a length and that many bytes.

        Args:
            label: the field's name in an error.
            take: the lines that take the bytes from `start` to `pos`.
            null: the line for length -1.
        """
        self.add_fixed("i", "length")
        self.flush("start")
        self.add("pos = start + length")
        with self.block("if start <= pos <= end:"):
            self.add(*take)
        with self.block("elif length == -1 and start <= end:"):
            self.add(null, "pos = start")
        with self.block("else:"):
            self.add(f"raise wrong_length({label!r}, length)")
        self.end_is_checked = True


class WriterSource(_Source):
    """The source of a function that returns bytes as a sum of pieces, each an expression."""

    def __init__(self, signature: str) -> None:
        super().__init__(signature)
        self._pieces: list[str] = []
        self._fixed_size = 0
        self._sizes: list[str] = []

    def size_after(self, head: int) -> str:
        """Return the expression for the number of bytes behind the first `head`."""
        return " + ".join([str(self._fixed_size - head), *self._sizes])

    def add_piece(self, name: str) -> None:
        """Append the bytes of the variable `name`."""
        self._flush()
        self._pieces.append(name)
        self._sizes.append(f"len({name})")

    def take_pieces(self) -> str:
        """Return the expression for all pieces so far, and forget them."""
        self._flush()
        pieces, self._pieces = self._pieces, []
        # Three or more pieces are joined: each `+` would copy the data, perhaps a megabyte, once more.
        return f"join(({', '.join(pieces)}))" if len(pieces) > 2 else " + ".join(pieces) or "b''"

    @contextmanager
    def collect(self, opening: str, into: str) -> Iterator[None]:
        """Append the pieces written inside the context to the list `into`, under the line `opening`."""
        self._flush()
        outer = self._pieces, self._sizes, self._fixed_size
        self._pieces, self._sizes = [], []
        with self.block(opening):
            yield
            self.add(f"{into}.append({self.take_pieces()})")
        self._pieces, self._sizes, self._fixed_size = outer

    def _flush(self) -> None:
        if self._run:
            layout, values = self._take_run()
            self._pieces.append(f"{self.bind('pack', layout.pack)}({', '.join(values)})")
            self._fixed_size += layout.size


def _truncated(name: str) -> ProtocolError:
    return ProtocolError(f"the bytes end before {name} does")


def _wrong_length(name: str, length: int) -> ProtocolError:
    if length < -1:
        return ProtocolError(f"{name} has the impossible length {length}")
    return _truncated(name)


def _unencodable(name: str, error: Exception) -> Exception:
    error_type = TypeError if isinstance(error, AttributeError | TypeError) else ValueError
    if isinstance(error, StructError) and "required argument is not an integer" in str(error):
        error_type = TypeError
    return error_type(f"{name} cannot be encoded: {error}")

"""Finds a secret in all that a report of an error may show: the error itself, its causes, and frames.

Frames count if they are the library's, or generated for it. The caller's frames have the secret anyway.
"""

from __future__ import annotations

import pickle
import traceback
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from rich.pretty import pretty_repr

import zkrecipes as zk

LIBRARY = str(Path(zk.__file__).parent)


def leaks(error: BaseException, secret: str) -> list[str]:
    """Every place in which the secret, or a plain encoding of it, can be seen."""
    return [where for where, text in _shown(error, set()) if _has(text, secret)]


def in_logs(lines: list[str], secret: str) -> list[str]:
    """The log lines that show it."""
    return [line for line in lines if _has(line, secret)]


def _has(text: str, secret: str) -> bool:
    data = secret.encode("utf-8", "surrogatepass")
    forms = (secret, data.hex(), b64encode(data).decode(), repr(secret)[1:-1], repr(data)[2:-1])
    return any(form in text for form in forms)


def _shown(error: BaseException, seen: set[int]) -> Iterator[tuple[str, str]]:
    if id(error) in seen:
        return
    seen.add(id(error))
    name = type(error).__name__
    yield f"{name}: str", str(error)
    yield f"{name}: repr", repr(error)
    yield f"{name}: args", repr(error.args)
    yield f"{name}: attributes", repr(vars(error))
    yield f"{name}: object", repr(getattr(error, "object", None))
    yield f"{name}: pickled", repr(pickle.dumps(_without_groups(error)))
    yield from _frames(name, error.__traceback__)
    yield f"{name}: traceback", "".join(traceback.format_exception_only(error))
    below = getattr(error, "exceptions", ())
    for other in (error.__cause__, error.__context__, *below):
        if other is not None:
            yield from _shown(other, seen)


def _without_groups(error: BaseException) -> object:
    return str(error) if isinstance(error, BaseExceptionGroup) else (error.args, vars(error))


def _frames(name: str, tb: TracebackType | None) -> Iterator[tuple[str, str]]:
    while tb is not None:
        code = tb.tb_frame.f_code
        if code.co_filename.startswith((LIBRARY, "<")):
            for local, value in tb.tb_frame.f_locals.items():
                where = f"{name}: {code.co_name} in {code.co_filename}, line {tb.tb_lineno}: {local}"
                yield where, repr(value)
                yield f"{where} (rich)", pretty_repr(value, max_string=8)
                yield f"{where} (rich, whole)", pretty_repr(value)
        tb = tb.tb_next

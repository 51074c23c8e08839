"""Properties are read as Java reads them, and as Java writes them.

The tests ask a small Java program (`java/PropertiesOracle.java`) that uses `java.util.Properties`.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.java_program import compile_java
from zkrecipes.settings.properties import read_properties

pytestmark = pytest.mark.apache

ALPHABET = [
    *"ab=:#!\\ \t\f\n\r\"'.é😀\x0b\x85\u2028",
    "\\\n", "\\\r\n", "\\u0041", "\\uD83D\\uDE00", "\\u12", "\\t", "\\ ",
    "C:\\zk\\ca.pem", "\nkey=", "\n# ",
]  # fmt: skip


def hex_of(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").hex()


def text_of(hexadecimal: str) -> str:
    return bytes.fromhex(hexadecimal).decode("utf-16-be", "surrogatepass")


def ours(text: str) -> dict[str, str]:
    return {entry.key: entry.value for entry in read_properties(text, "f") if entry.key}


def test_any_text_is_read_as_java_reads_it_and_writes_it(tmp_path: Path) -> None:
    source = Path(__file__).with_name("java") / "PropertiesOracle.java"
    program = compile_java("PropertiesOracle", [source], [], tmp_path)
    choose = random.Random(16)
    texts = ["".join(choose.choices(ALPHABET, k=choose.randrange(1, 30))) for _ in range(4000)]
    done = subprocess.run(
        program.command(),
        input="\n".join(map(hex_of, texts)),
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    answers = done.stdout.splitlines()
    assert len(answers) == len(texts)
    readable = 0
    for text, answer in zip(texts, answers, strict=True):
        if answer == "malformed":
            assert any(entry.mistake for entry in read_properties(text, "f")) or "\\u12" in text
            continue
        readable += 1
        written, *pairs = answer.split(" ")
        expected = {text_of(key): text_of(value) for key, value in (pair.split("=") for pair in pairs)}
        # Java adds an empty entry, depending on the line ends, if the last line is only a backslash.
        expected.pop("", None)
        assert ours(text) == expected, repr(text)
        assert ours(text_of(written)) == expected, repr(text)
    assert readable > 1000

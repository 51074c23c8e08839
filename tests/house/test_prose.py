"""Docstrings, comments, messages and pages use plain technical English, which a reader reads once.

Each rule is a pattern of words, with a remedy. `LIMITS` states how many marked sentences a package may have.
These numbers only become smaller. A sentence that is right although a rule marks it is in `RIGHT_AS_IT_IS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.house.source_tree import ROOT


@dataclass(frozen=True)
class Rule:
    """A pattern of words to avoid, and the remedy."""

    pattern: re.Pattern[str]
    remedy: str


def _rule(pattern: str, remedy: str) -> Rule:
    return Rule(re.compile(pattern), remedy)


RULES = [
    _rule(r"\b(some|any|no|every)body(?:'s)?\b|\b(?:Some|Any|No|Every)body\b", "name the actor"),
    _rule(r"\b[Ww]ho(?:m|so|se)?ever\b", "name the actor"),
    _rule(r"\b(of|to|for|from|by|than|and|not|tells?) who\b|(?:^|[.:;,] )[Ww]ho\b[^?]*$", "name the actor"),
    _rule(r"^(What|Which|Why|How)\b[^?]*$", "put the subject first"),
    _rule(r"\bso (many|much|long|few|large|often)\b(?! (that|as)\b)", "this many, at most N"),
    _rule(r"\b[Ss]hall\b", "must, will"),
    _rule(r"\bby (itself|themselves|himself)\b", "automatically, alone"),
    _rule(r"\b[Aa]s a rule\b", "usually"),
    _rule(r"\b[Tt](ells?|old|elling)\b", "report, notify, log, say"),
    _rule(r"\bany longer\b", "no longer, or leave it out"),
    _rule(r"(?<![Tt]here )\b(is|are|was|were) none\b", "is not one"),
    _rule(r", too(?=[.,;:)]|$)", "also, or leave it out"),
    _rule(r"\bin place of\b", "instead of"),
    _rule(r"\bof (its|our|their|his|one's|your) own\b", "its own …"),
    _rule(r"\b(has|have|had|is|are|was|were) gone\b", "does not exist, has ended, was deleted"),
    _rule(r"\bat (the|this|that|every|each|any) moment\b", "now, then, currently"),
    _rule(r"\b[Mm]eanwhile\b", "while …, in the interim"),
    _rule(
        r"(?<![Tt]here )\b(is|are|was|were) no (?!longer|more|less|such|later|earlier|greater)", "is not a …"
    ),
    _rule(r"\balso (if|when|where)\b", "even if"),
    _rule(r"\bnot (\w+ )?either\b", "nor"),
    _rule(r"\b(will|would|does|do) do\b|\bdoes? as\b", "name the verb"),
    _rule(r"\b(goes?|going|went) on\b", "continue"),
    _rule(r"\b[Ww]hat it is asked\b|\bnothing of it\b", "say it directly"),
    _rule(r"\bthe likes? of\b|\bfor good\b", "say it directly"),
    _rule(r"\b(strangers?|errands?|chores?|manners|onlooker|rascal)\b", "the field's word"),
]
_ANY_RULE = re.compile("|".join(f"(?:{rule.pattern.pattern})" for rule in RULES))
_COLON = re.compile(r": (?![`\"'])")
ONE_COLON = "at most one colon a sentence"
IMPERATIVE = "begin with an imperative that states the effect"

# The number of marked sentences that a package may have. Lower a number when you have rewritten some.
LIMITS: dict[str, int] = {
    "codec": 0,
    "protocol": 0,
    "net": 0,
    "client": 0,
    "recipes": 0,
    "settings": 0,
    "devserver": 0,
    "testing": 0,
    "ensemble": 0,
    "cli": 0,
    "floor 0": 0,
    "docs": 0,
    "tests": 0,
    "examples": 0,
    "benchmarks": 0,
}

# A part of a sentence that is right although a pattern marks it, and why.
RIGHT_AS_IT_IS: dict[str, str] = {
    "the transaction was rolled back:": "the second colon introduces the error of the operation",
}


@dataclass(frozen=True)
class Text:
    """A piece of prose: a docstring, a comment, a message, or a page."""

    file: str
    line: int
    words: str


@dataclass(frozen=True)
class Finding:
    """A sentence that a rule marks."""

    file: str
    line: int
    sentence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence}  [{self.remedy}]"


# --- packages ----------------------------------------------------------------------------------------------


def _files_of(package: str) -> list[Path]:
    match package:
        case "floor 0":
            return sorted((ROOT / "zkrecipes").glob("*.py"))
        case "docs":
            return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
        case "tests" | "examples" | "benchmarks":
            folder = ROOT / package
        case _:
            folder = ROOT / "zkrecipes" / package
    return [path for suffix in ("*.py", "*.md") for path in sorted(folder.rglob(suffix))]


@cache
def _findings_in(package: str) -> list[Finding]:
    # A string in a test is data, or quotes a message that stands elsewhere.
    with_messages = package not in ("tests", "benchmarks")
    found: list[Finding] = []
    for path in _files_of(package):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
        if path.suffix == ".md":
            found += _marked(_page(name, text))
        else:
            found += _marked(_python(name, text, with_messages=with_messages))
            found += _not_imperative(name, text)
    return found


# --- texts -------------------------------------------------------------------------------------------------


def _page(file: str, text: str) -> Iterator[Text]:
    """Return the paragraphs, titles and table cells of a page, without its code."""
    hidden = re.compile(r"^```.*?^```|^    .*?$|^:::.*?$|^-{3}.*?$|<!--.*?-->", re.DOTALL | re.MULTILINE)
    for line, paragraph in _paragraphs(hidden.sub(_blank, text)):
        if paragraph.lstrip().startswith("|"):
            for offset, row in enumerate(paragraph.split("\n")):
                yield from (Text(file, line + offset, cell) for cell in re.split(r"(?<!\\)\|", row))
        else:
            yield Text(file, line, paragraph)


def _python(file: str, text: str, *, with_messages: bool) -> Iterator[Text]:
    """Return the comments, the docstrings and, on request, the other strings of a module."""
    end, kind, line, words = 0, "", 0, ""
    for match in _COMMENT_OR_STRING.finditer(text):
        between, at = text[end : match.start()], 1 + text.count("\n", 0, match.start())
        end = match.end()
        if match["comment"] is not None:
            this, piece = "comment" if _begins_a_line(text, match) else "remark", match["comment"]
        else:
            this, piece = (
                "docstring" if match["triple"] and _begins_a_line(text, match) else "string",
                _literal(match),
            )
        # Comments on successive lines, and the pieces of one string, are one text.
        if kind == this and this in ("comment", "string") and not between.strip() and between.count("\n") < 2:
            words += "\n" * between.count("\n") + piece
            continue
        yield from _texts(file, line, words if kind != "string" or with_messages else "")
        kind, line, words = this, at, piece
    yield from _texts(file, line, words if kind != "string" or with_messages else "")


# This pattern finds the strings and comments of a module faster than a full parser: there are thousands.
_COMMENT_OR_STRING = re.compile(
    r"""\#[ ]*(?P<comment>[^\n]*)
    |(?P<prefix>(?:\b[rRbBfFuU]{1,2})?)
    (?:(?P<quotes>"{3}|'{3})(?P<triple>(?:\\.|.)*?)(?P=quotes)
    |"(?P<double>(?:\\.|[^"\\\n])*)"|'(?P<single>(?:\\.|[^'\\\n])*)')""",
    re.VERBOSE | re.DOTALL,
)


def _begins_a_line(text: str, match: re.Match[str]) -> bool:
    return not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()


def _literal(match: re.Match[str]) -> str:
    words = match["triple"] or match["double"] or match["single"] or ""
    return re.sub(r"\{[^{}]*\}", "…", words) if "f" in match["prefix"].lower() else words


def _texts(file: str, line: int, words: str) -> Iterator[Text]:
    if re.match(r"noqa|type:|ruff|pragma|fmt:|---|!", words):
        return
    for offset, paragraph in _paragraphs(_CODE.sub(_blank, words)):
        if not _COLUMNS.search(paragraph):
            yield Text(file, line + offset - 1, paragraph)


# The examples in docstrings, and tables and drawings.
_CODE = re.compile(
    r"^\s*```.*?^\s*```|^\s*(?:>>>|\.\.\.|print\(|[\w, ]+ = )[^\n]*"
    r"|^\s*(?:async with|async for|with|for|class|def|if) [^\n]*:[^\w\n]*$",
    re.DOTALL | re.MULTILINE,
)
_COLUMNS = re.compile(r"\S {3,}\S|[│├└]")


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Return the paragraphs, list items and titles of a text, each with the number of its first line."""
    end = 0
    for match in re.finditer(r"\n[ \t]*(?:\n|(?=(?:[-*+>#]+|\d+\.|[\w`*]+(?:, [\w`*]+)*:)[ \n]))|\Z", text):
        paragraph = text[end : match.start()]
        if paragraph.strip():
            yield 1 + text.count("\n", 0, end), re.sub(r"^\s*([-*+>#]+|\d+\.) ", "", paragraph)
        end = match.end()


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


# --- sentences ---------------------------------------------------------------------------------------------


def _marked(texts: Iterator[Text]) -> Iterator[Finding]:
    for text in texts:
        for line, sentence in _sentences(re.sub(r"`[^`]*`", "`…`", text.words)):
            if (remedy := _remedy(sentence)) is not None:
                yield Finding(text.file, text.line + line, sentence, remedy)


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    end = 0
    for match in re.finditer(r"(?<=[.!?])\s+(?=[A-Z`\"(\[*])|\Z", text):
        sentence = " ".join(text[end : match.start()].split())
        if len(re.findall(r"[a-z]{2,}", sentence)) > 2:
            yield text.count("\n", 0, end), sentence
        end = match.end()


def _remedy(sentence: str) -> str | None:
    """Return the remedy of the first rule that the sentence breaks, or None."""
    has_colons = len(_COLON.findall(re.sub(r"^[\w*`…%, ]{1,30}: ", "", sentence))) > 1
    if not (has_colons or _ANY_RULE.search(sentence)) or any(part in sentence for part in RIGHT_AS_IT_IS):
        return None
    return next((rule.remedy for rule in RULES if rule.pattern.search(sentence)), ONE_COLON)


def _not_imperative(file: str, text: str) -> Iterator[Finding]:
    """Return the functions of a module that return nothing and do not say what they do."""
    for match in _FUNCTION_THAT_RETURNS_NOTHING.finditer(text):
        before = text[: match.start()].rpartition("\n\n")[2]
        if not match["name"].startswith("test_") and "property" not in before and ".setter" not in before:
            yield Finding(file, 1 + text.count("\n", 0, match.start("name")), match["line"], IMPERATIVE)


# A function that returns nothing says what it does.
_FUNCTION_THAT_RETURNS_NOTHING = re.compile(
    r'^ *(?:async )?def (?P<name>\w+)\((?:(?!\bdef ).)*?\) -> None:\n\s+"""'
    r"(?P<line>(?:The|A|An|What|Who|There|It|This)\b[^\n\"]*)",
    re.DOTALL | re.MULTILINE,
)


# --- tests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", LIMITS)
def test_a_package_has_few_marked_sentences(package: str) -> None:
    found, limit = _findings_in(package), LIMITS[package]
    lines = "\n".join(map(str, found))
    assert len(found) <= limit, f"{len(found)} marked sentences, at most {limit} are allowed:\n{lines}"


def test_every_folder_of_the_package_has_a_limit() -> None:
    folders = {path.name for path in (ROOT / "zkrecipes").iterdir() if (path / "__init__.py").exists()}
    assert folders <= LIMITS.keys()


@pytest.mark.parametrize("part", RIGHT_AS_IT_IS)
def test_every_exception_is_needed(part: str) -> None:
    texts = [path.read_text("utf-8") for package in LIMITS for path in _files_of(package)]
    assert any(part in " ".join(text.split()) for text in texts)


def _check(text: str) -> list[str]:
    found = [*_marked(_python("a.py", text, with_messages=True)), *_not_imperative("a.py", text)]
    return [f"{each.line}: {each.sentence} [{each.remedy}]" for each in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"""Whoever waits here."""', "1: Whoever waits here. [name the actor]"),
        ('"""Fine.\n\nIt shall\nwait here."""', "3: It shall wait here. [must, will]"),
        ("x = 1  # the client is told", "1: the client is told [report, notify, log, say]"),
        (
            "# One that\n# has gone by then.",
            "1: One that has gone by then. [does not exist, has ended, was deleted]",
        ),
        ('raise E(f"{x} is no permit, {y}")', "1: … is no permit, … [is not a …]"),
        (
            'def f() -> None:\n    """The end of it."""',
            "1: The end of it. [begin with an imperative that states the effect]",
        ),
    ],
)
def test_a_marked_sentence_is_found_with_its_line(text: str, found: str) -> None:
    assert _check(text) == [found]


@pytest.mark.parametrize(
    "text",
    [
        '"""Wake the writer. There is no other way."""',
        '"""Return `what it is told` and nothing else."""',
        'class C:\n    @property\n    def f(self) -> None:\n        """The end of it."""',
        'def f() -> int:\n    """The number of znodes."""',
        'x = "# whoever"',
    ],
)
def test_plain_sentences_are_not_marked(text: str) -> None:
    assert _check(text) == []

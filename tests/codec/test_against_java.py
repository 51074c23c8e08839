"""We write every record byte for byte as ZooKeeper's own Java classes do, and they read what we write.

The tests ask a small Java program (`java/JuteOracle.java`), compiled against the installed release.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.codec.cases import CASES
from tests.codec.jute_file import DATA, PROTO
from tests.codec.test_multi import REPLY_CASES, REQUEST_CASES
from tests.java_program import compile_java
from zkrecipes.codec import field_types
from zkrecipes.codec.code_generation import FieldType
from zkrecipes.codec.jute import Record, record_type_of, values_of
from zkrecipes.codec.messages import ConnectReply, ConnectRequest, SyncRequest
from zkrecipes.codec.records import Id
from zkrecipes.ensemble import find_installation

pytestmark = pytest.mark.apache

Ask = Callable[[list[str]], list[str]]

JAVA_NAMES: dict[type[Record], list[str]] = {}
for _module, _declared in (("data", DATA), ("proto", PROTO)):
    for _name, (_, _classes) in _declared.items():
        for _class in _classes:
            JAVA_NAMES.setdefault(_class, []).append(f"{_module}.{_name}")


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Return a function that asks the Java program many questions at once."""
    source = Path(__file__).with_name("java") / "JuteOracle.java"
    folder = tmp_path_factory.mktemp("java")
    program = compile_java("JuteOracle", [source], find_installation().class_path, folder)

    def ask_java(questions: list[str]) -> list[str]:
        text = "\n".join(questions) + "\n"
        command = program.command()
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=50)
        return done.stdout.splitlines()

    return ask_java


def in_words(field_type: FieldType, value: object) -> list[str]:
    """Return a value in the words that the Java program takes."""
    match field_type, value:
        case field_types.RecordType(), tuple():
            pairs = zip(field_type.fields.values(), value, strict=True)
            return [word for field, each in pairs for word in in_words(field, each)]
        case _, None:
            return ["null"]
        case field_types.VectorType(element=element), list():
            return [str(len(value)), *(word for each in value for word in in_words(element, each))]
        case field_types.UStringType(), str():
            return ["x" + value.encode("utf-16-be").hex()]
        case field_types.BufferType(), bytes():
            return ["x" + value.hex()]
        case _:
            return [str(value).lower()]


def some_value(field_type: FieldType, choose: random.Random) -> object:
    match field_type:
        case field_types.IntegerType():
            half = 1 << (8 * field_type.size_min - 1)
            return choose.choice([0, 1, -1, half - 1, -half, choose.randrange(-half, half)])
        case field_types.BooleanType() | field_types.OptionalBooleanType():
            return choose.random() < 0.5
        case field_types.UStringType(null=null):
            if null is None and choose.random() < 0.3:
                return None
            return "".join(choose.choices("a/\0\x7f\x80ä߿ࠀ€\ufffd\uffff", k=choose.randrange(6)))
        case field_types.BufferType():
            return choose.choice([None, b"", choose.randbytes(choose.randrange(20))])
        case field_types.VectorType(element=element):
            many = [some_value(element, choose) for _ in range(choose.randrange(4))]
            return choose.choice([None, many, many, many])
        case field_types.RecordType(record=record):
            make: Callable[..., object] = record
            return make(*[some_value(each, choose) for each in field_type.fields.values()])
    raise AssertionError(field_type)


def some_records() -> list[Record]:
    """Return the cases and, for each class, some more records with values at the edges."""
    choose = random.Random(20)
    found = [record for record, _ in CASES]
    for cls in JAVA_NAMES:
        for _ in range(20):
            record = some_value(record_type_of(cls), choose)
            assert isinstance(record, cls)
            found.append(record)
    return found


def fits(record: Record, java_fields: int) -> bool:
    """Whether this release's class has the fields that this record has (3.9 added `readOnly`)."""
    has_read_only = isinstance(record, ConnectRequest | ConnectReply) and record.read_only is not None
    return (
        len(values_of(record)) - (isinstance(record, ConnectRequest | ConnectReply) and not has_read_only)
        == java_fields
    )


def test_the_fields_are_those_of_the_installed_release(ask: Ask) -> None:
    java_types = {
        "int": "int",
        "long": "long",
        "boolean": "boolean",
        "ustring": "java.lang.String",
        "buffer": "byte[]",
        "vector<ustring>": "java.util.List<java.lang.String>",
    }
    for name in DATA:
        java_types[name] = f"org.apache.zookeeper.data.{name}"
        java_types[f"vector<{name}>"] = f"java.util.List<org.apache.zookeeper.data.{name}>"
    declared = {f"data.{name}": fields for name, (fields, _) in DATA.items()}
    declared |= {f"proto.{name}": fields for name, (fields, _) in PROTO.items()}
    answers = ask([f"describe {name}" for name in declared])
    for (name, fields), answer in zip(declared.items(), answers, strict=True):
        pairs = [field.split() for field in fields.split(", ")]
        ours = " ".join(f"{java_types[field_type]}:{field}" for field_type, field in pairs)
        if name.startswith("proto.Connect"):
            assert answer in (ours, ours.removesuffix(" boolean:readOnly"))
        else:
            assert answer == ours


def test_we_write_what_java_writes_and_java_reads_what_we_write(ask: Ask) -> None:
    names = [name for names in JAVA_NAMES.values() for name in names]
    described = ask([f"describe {name}" for name in names])
    sizes = {name: len(answer.split()) for name, answer in zip(names, described, strict=True)}
    pairs = [
        (record, name)
        for record in some_records()
        for name in JAVA_NAMES.get(type(record), ())
        if fits(record, sizes[name])
    ]
    questions = []
    for record, name in pairs:
        questions.append(f"encode {name} {' '.join(in_words(record_type_of(type(record)), record))}")
        questions.append(f"decode {name} {record.encode().hex()}")
    answers = ask(questions)
    assert len(answers) == len(questions) > 1000
    for number, (record, name) in enumerate(pairs):
        data = record.encode()
        assert (name, record, answers[2 * number]) == (name, record, data.hex())
        assert (name, record, answers[2 * number + 1]) == (name, record, data.hex())
        assert type(record).decode(data) == record


def test_java_reads_and_writes_our_multis(ask: Ask) -> None:
    requests = [f"decode MultiOperationRecord {request.encode().hex()}" for request, _ in REQUEST_CASES]
    replies = [
        f"decode MultiResponse {reply.encode_results(opcodes).hex()}" for opcodes, reply, _ in REPLY_CASES
    ]
    answers = ask(requests + replies)
    for answer, text in zip(answers, [text for *_, text in REQUEST_CASES + REPLY_CASES], strict=True):
        # Older servers, including 3.8.0, treat a create2 in a multi as a create and answer without a stat.
        as_create = text.replace("0000000f 00 ffffffff", "00000001 00 ffffffff")
        assert answer in (bytes.fromhex(text).hex(), bytes.fromhex(as_create).hex())


def test_java_writes_a_character_beyond_two_bytes_as_surrogates_and_we_write_utf_8(ask: Ask) -> None:
    """Java cannot read its own surrogates, so we write UTF-8, and read both."""
    ours = Id("", "a😀")
    words = " ".join(in_words(record_type_of(Id), ours))
    from_java, from_us = ask([f"encode data.Id {words}", f"decode data.Id {ours.encode().hex()}"])
    assert from_java == from_us == "00000000" + "00000007" + "61" + "eda0bdedb880"
    assert Id.decode(bytes.fromhex(from_java)) == ours
    assert ours.encode().hex() == "00000000" + "00000005" + "61" + "f09f9880"


def test_a_null_string_from_java_reads_as_empty(ask: Ask) -> None:
    (answer,) = ask(["encode proto.SyncRequest null"])
    assert SyncRequest.decode(bytes.fromhex(answer)) == SyncRequest("")

# ruff: noqa: E501  one case a line, with its whole message
from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnx_pare.documents.yaml12 import MAX_BYTES, read, read_text
from onnx_pare.errors import RecipeError


def value(text: str) -> Any:
    return read_text(text, "x.yaml").data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-7", -7),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("2026-11-01", "2026-11-01"),
        ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"),
        ("<<", "<<"),
        ("=", "="),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ('"\\x41"', "A"),
        ("[1, [a, {b: }]]", [1, ["a", {"b": None}]]),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
    ],
)
def test_types_of_the_core_schema(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "x.yaml:3:1: key 'a' is given twice, first at x.yaml:1:1"),
        ("a: {b: 1, b: 2}", "x.yaml:1:11: a: key 'b' is given twice, first at x.yaml:1:5"),
        ("a: .inf", "x.yaml:1:4: a: '.inf' is not a finite number"),
        ("a: .NaN", "x.yaml:1:4: a: '.NaN' is not a finite number"),
        ("a: 1e999", "x.yaml:1:4: a: '1e999' is not a finite number"),
        ("a: " + "9" * 5000, "x.yaml:1:4: a: 99999999999999999999… is too large a number"),
        ("a: -9223372036854775809", "x.yaml:1:4: a: -9223372036854775809 is too large a number"),
        ("a: !thing b", "x.yaml:1:4: a: unknown tag '!thing'"),
        ("a: !!python/name:os.system", "x.yaml:1:4: a: unknown tag 'python/name:os.system'"),
        ("a: !!timestamp 2026-11-01", "x.yaml:1:4: a: unknown tag 'timestamp'"),
        ("a: !!int x", "x.yaml:1:4: a: 'x' does not fit the tag 'int'"),
        ("a: !!seq {b: 1}", "x.yaml:1:4: a: does not fit the tag 'seq'"),
        ("a: !!int [1]", "x.yaml:1:4: a: unknown tag 'int'"),
        ("1: a", "x.yaml:1:1: a key must be text"),
        ("? [a]\n: b", "x.yaml:1:3: a key must be text"),
        ('a: "\\0"', "x.yaml:1:4: a: character '\\x00' is not allowed"),
        ('a: "\\ud800"', "x.yaml:1:4: a: character '\\ud800' is not allowed"),
        ("a: 1\n--- \nb: 1", "x.yaml:2:1: not valid YAML: expected a single document in the stream, but found another document"),
        ("a: b\n\tc: d", "x.yaml:2:1: not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token"),
        ("a: \x07", "x.yaml:1: not valid YAML: character 7 is not allowed"),
        ("a: *b", "x.yaml:1:4: not valid YAML: found undefined alias 'b'"),
        ("[" * 10_000, "x.yaml:1:31: nests deeper than 30 levels"),
        ("- " * 10_000, "x.yaml:1:61: nests deeper than 30 levels"),
        ("[" + "a," * 10_000 + "]", "x.yaml:1:20000: holds more than 10000 values"),
        ("&a [*a]", "x.yaml:1:1: with its aliases it holds more than 10000 values or 30 levels"),
    ],
)  # fmt: skip
def test_what_no_recipe_holds(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_text(text, "x.yaml")
    assert str(caught.value) == message


def test_aliases_that_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 25)]
    with pytest.raises(RecipeError, match="with its aliases it holds more than 10000 values"):
        read_text("\n".join(lines), "x.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.yaml: is empty"),
        (b"# only a comment\n", "x.yaml: is empty"),
        (b"--- ~", "x.yaml: is empty"),
        (b"- a", "x.yaml:1:1: a recipe is a mapping (version: 1, passes: …), not a list"),
        (b"\n hello", "x.yaml:2:2: a recipe is a mapping (version: 1, passes: …), not text"),
        (b"a: 1\nb: \xff", "x.yaml:2: not UTF-8 text (byte 8)"),
        ("a: 1".encode("utf-16"), "x.yaml:1: not UTF-8 text (byte 0)"),
        (b"#" * (MAX_BYTES + 1), "x.yaml: is larger than 1 MiB; not a recipe"),
    ],
)
def test_files_that_are_no_recipe(content: bytes, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(content, "x.yaml")
    assert caught.value.message == message


def test_a_byte_order_mark_is_fine() -> None:
    assert read(b"\xef\xbb\xbfa: 1", "x.yaml").data == {"a": 1}


def test_places() -> None:
    document = read(b"a: 1\nb:\n  - c: [x]\n", "x.yaml")
    assert str(document.place(("b", 0, "c"))) == "x.yaml:3:8"
    assert str(document.place(("b", 0, "c"), of_key=True)) == "x.yaml:3:5"
    assert str(document.place(("b", 0, "c", 0))) == "x.yaml:3:9"
    assert str(document.place(("b", 0, "nothing"))) == "x.yaml:3:5"
    assert str(document.place(("nothing",))) == "x.yaml:1:1"


YAML_PIECES = st.lists(
    st.sampled_from(
        ["a", "a: ", "- ", "\n", "  ", "{", "}", "[", "]", ",", ": ", "? ", "&x ", "*x", "!t ", "!!int ", "!!map ",
         "|", ">", "'", '"', "#", "%YAML 1.1\n", "---", "...", "1e-3", ".nan", "<<: ", "\t", "\\", "0x", "~", "\x85"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), YAML_PIECES))
@example('"\\UFFFFFFFF"')
@example("%YAML 1." + "9" * 5000 + "\n--- a")
@example("%TAG ! %ff\n--- !a b")
@example("!<tag:%FF> a")
@example("\ud800")
@example("? " * 40)
@example("{" * 40)
@example("a: &a {b: *a}")
def test_any_text_is_json_or_a_recipe_error(text: str) -> None:
    try:
        data = value(text)
    except RecipeError as error:
        message = error.message
    else:
        message = "x.yaml: fine"
        assert_json(data)
    assert message.startswith("x.yaml")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_mapping_or_a_recipe_error(content: bytes) -> None:
    try:
        data = read(content, "x.yaml").data
    except RecipeError:
        return
    assert isinstance(data, dict)
    assert_json(data)


def assert_json(data: Any) -> None:
    if isinstance(data, dict):
        assert all(isinstance(key, str) for key in data)
        for item in data.values():
            assert_json(item)
    elif isinstance(data, list):
        for item in data:
            assert_json(item)
    elif isinstance(data, float):
        assert math.isfinite(data)
    else:
        assert data is None or isinstance(data, str | bool | int)

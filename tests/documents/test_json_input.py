from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_pare.documents.json_input import MAX_DEPTH, parse_json, read_json
from onnx_pare.errors import DataError, InputError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def parse(content: bytes, **limits: int) -> Any:
    return parse_json(content, "r.json", noun="report", **limits)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "r.json:1:1: not valid JSON: Expecting value; not a report, or cut short"),
        (b'{"a": 1,\n "b": ', "r.json:2:7: not valid JSON: Expecting value; not a report, or cut short"),
        (b"{} {}", "r.json:1:4: not valid JSON: Extra data; not a report, or cut short"),
        (b'{"a": "\x00"}', "r.json:1:8: not valid JSON: Invalid control character at; not a report, or cut"),
        (b"\xff\xfe", "r.json: not valid JSON: not UTF-8 text (byte 0); not a report"),
        (b"[NaN]", "r.json: not valid JSON: NaN is not a finite number; not a report"),
        (b"[-Infinity]", "r.json: not valid JSON: -Infinity is not a finite number; not a report"),
        (b"[1e999]", "r.json: not valid JSON: '1e999' is not a finite number; not a report"),
        (b'{"a": 1, "a": 2}', "r.json: not valid JSON: key 'a' is given twice; not a report"),
        (b'["\\ud800"]', "r.json: not valid JSON: it holds half of a surrogate pair; not a report"),
        (
            b"[" + b"9" * 9999 + b"]",
            "r.json: not valid JSON: Exceeds the limit (4300 digits) for",
        ),
        (nested(MAX_DEPTH + 1), f"r.json: nests deeper than {MAX_DEPTH} levels; not a report"),
        (nested(100_000), f"r.json: nests deeper than {MAX_DEPTH} levels; not a report"),
        (b'{"a":' * 9999, f"r.json: nests deeper than {MAX_DEPTH} levels; not a report"),
    ],
)
def test_what_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(content)
    assert caught.value.message.startswith(message)


def test_limits_can_be_set() -> None:
    assert parse(nested(MAX_DEPTH)) is not None
    assert parse(b"[1]", max_depth=1) == [1]
    with pytest.raises(InputError, match="nests deeper than 1 levels"):
        parse(b"[[]]", max_depth=1)
    with pytest.raises(InputError, match=r"^r.json: is larger than 3 bytes; not a report$"):
        parse(b"[  ]", max_bytes=3)


def test_surrogate_pairs_are_text() -> None:
    assert parse(b'["\\ud83d\\ude00"]') == ["\U0001f600"]
    assert parse(b'\xef\xbb\xbf["\\\\ud800"]') == ["\\ud800"]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"a": [1, 2.5, null]}')
    assert read_json(path, noun="report") == {"a": [1, 2.5, None]}
    with pytest.raises(DataError, match=r"larger than 4 bytes"):
        read_json(path, noun="report", max_bytes=4, error=DataError)
    with pytest.raises(InputError, match="is a folder, not a report"):
        read_json(tmp_path, noun="report")
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "none.json", noun="report")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(Path("a\0b"), noun="report")


def test_endless_files_are_read_up_to_the_limit() -> None:
    with pytest.raises(InputError, match=r"^/dev/zero: is larger than 1 MiB; not a journal$"):
        read_json(Path("/dev/zero"), noun="journal", max_bytes=1 << 20)


@given(JSON)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_what_json_writes_is_read(data: Any) -> None:
    assert parse(json.dumps(data).encode()) == data


@given(st.binary(max_size=40) | st.text('[]{}":,\\u0d8 1e9-.tN', max_size=40).map(str.encode))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_anything_else_is_read_or_refused_in_one_line(content: bytes) -> None:
    said = ""
    try:
        json.dumps(parse(content), allow_nan=False).encode()
    except InputError as error:
        said = error.message
    assert "\n" not in said

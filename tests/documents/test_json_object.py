from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.documents import json_object
from onnx_pare.documents.json_object import read_object
from onnx_pare.errors import ReportError


def read(path: Path) -> dict[str, object]:
    return read_object(path, "report", ReportError)


def test_an_object(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": [1, 2.5, null, "ü"]}', encoding="utf-8")
    assert read(tmp_path / "x.json") == {"a": [1, 2.5, None, "ü"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON: Expecting value"),
        (b"{", "not JSON: "),
        (b"\xff\xfe{\x00}", "not JSON: "),
        (b"[]", "not a report: it holds no JSON object"),
        (b'{"a": NaN}', "not JSON: NaN is no number of JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON: Exceeds the limit"),
        (b"[" * 200_000, "nests too deeply; not a report"),
        (b'{"a":' * 200_000, "nests too deeply; not a report"),
    ],
)
def test_what_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ReportError) as caught:
        read(tmp_path / "x.json")
    assert caught.value.message.startswith(f"{tmp_path / 'x.json'}: {said}")


def test_one_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_object, "MAX_BYTES", 1 << 20)
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(ReportError, match="is larger than 1 MiB; not a report"):
        read(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["missing.json", ".", "a\0b"])
def test_one_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReportError, match="cannot be read: "):
        read(tmp_path / name)

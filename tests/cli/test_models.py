from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnx_pare.cli.models import check_json_target, find_models
from onnx_pare.errors import OutputError, UsageError


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for name in ("b.onnx", "a.onnx", "deep/c.onnx", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(found: list[str], zoo: Path) -> list[str]:
    return [Path(path).relative_to(zoo).as_posix() for path in found]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a.onnx"], ["a.onnx"]),
        (["b.onnx", "a.onnx"], ["b.onnx", "a.onnx"]),
        ([""], ["a.onnx", "b.onnx", "deep/c.onnx"]),
        (["*.onnx"], ["a.onnx", "b.onnx"]),
        (["**/*.onnx"], ["a.onnx", "b.onnx", "deep/c.onnx"]),
        (["a.onnx", "*.onnx"], ["a.onnx", "b.onnx"]),
    ],
)
def test_files_folders_and_globs(zoo: Path, arguments: list[str], expected: list[str]) -> None:
    assert names(find_models([str(zoo / argument) for argument in arguments]), zoo) == expected


def test_relative_globs(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(zoo)
    assert find_models(["*.onnx"]) == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("none.onnx", "no such file or folder"),
        ("*.tflite", "no file matches"),
        ("empty", r"no \*\.onnx file in this folder"),
    ],
)
def test_what_names_nothing_is_an_error(zoo: Path, argument: str, message: str) -> None:
    (zoo / "empty").mkdir()
    with pytest.raises(UsageError, match=message):
        find_models([str(zoo / argument)])


def test_urls_among_them(zoo: Path, memory: Any, web: Any) -> None:
    memory.pipe("/zoo/x.onnx", b"")
    memory.pipe("/zoo/notes.txt", b"")
    (web.folder / "y").touch()
    found = find_models(["memory://zoo", f"file://{zoo}/a.onnx", web.url + "y", "memory://zoo/*"])
    assert found == ["memory://zoo/x.onnx", str(zoo / "a.onnx"), web.url + "y"]


@pytest.mark.parametrize("path", ["", "zoo/", "zoo/*.onnx"])
def test_web_servers_list_no_folders(web: Any, path: str) -> None:
    with pytest.raises(UsageError, match="a web server lists no folders"):
        find_models([web.url + path])


def test_json_is_never_written_over_a_model(zoo: Path) -> None:
    model = str(zoo / "a.onnx")
    with pytest.raises(UsageError, match="is the model itself"):
        check_json_target(str(zoo / "deep" / ".." / "a.onnx"), [model])
    check_json_target("-", [model])
    check_json_target("", [model])
    check_json_target(str(zoo / "out.json"), [model])


def test_json_that_cannot_be_written_is_found_out_first(zoo: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        check_json_target(str(zoo / "none" / "out.json"), [])

from __future__ import annotations

from pathlib import Path

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


def names(found: list[Path], zoo: Path) -> list[str]:
    return [path.relative_to(zoo).as_posix() for path in found]


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
    assert find_models(["*.onnx"]) == [Path("a.onnx"), Path("b.onnx")]


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


def test_json_is_never_written_over_a_model(zoo: Path) -> None:
    model = zoo / "a.onnx"
    with pytest.raises(UsageError, match="is the model itself"):
        check_json_target(str(zoo / "deep" / ".." / "a.onnx"), [model])
    check_json_target("-", [model])
    check_json_target("", [model])
    check_json_target(str(zoo / "out.json"), [model])


def test_json_that_cannot_be_written_is_found_out_first(zoo: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        check_json_target(str(zoo / "none" / "out.json"), [])

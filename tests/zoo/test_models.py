from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnx_pare.errors import UsageError
from onnx_pare.zoo.models import find_models, is_batch, mirrored


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


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([""], ["a.onnx", "b.onnx", "deep/c.onnx"]),
        (["deep"], ["c.onnx"]),
        (["deep/*.onnx"], ["c.onnx"]),
        (["*/*.onnx"], ["deep/c.onnx"]),
        (["a.onnx", "deep"], ["a.onnx", "deep/c.onnx"]),
        (["deep/c.onnx"], ["c.onnx"]),
        (["a.onnx", "b.onnx", "a.onnx"], ["a.onnx", "b.onnx"]),
    ],
)
def test_names_are_below_the_folder_that_all_share(
    zoo: Path, arguments: list[str], expected: list[str]
) -> None:
    models = mirrored([str(zoo / argument) for argument in arguments], str(zoo / "out"))
    found = {one.name: one.location for one in models}
    assert list(found) == expected
    assert all(Path(path).is_file() for path in found.values())


def test_results_are_no_inputs(zoo: Path) -> None:
    assert [one.name for one in mirrored([str(zoo)], str(zoo / "deep"))] == ["a.onnx", "b.onnx"]


def test_names_from_the_current_folder(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(zoo)
    assert [one.name for one in mirrored(["."], "out")] == ["a.onnx", "b.onnx", "deep/c.onnx"]


def test_what_is_a_batch(zoo: Path) -> None:
    model = str(zoo / "a.onnx")
    assert not is_batch([model])
    assert not is_batch([str(zoo / "none.onnx")])
    assert is_batch([model, model])
    assert is_batch([str(zoo)])
    assert is_batch([str(zoo / "*.onnx")])
    (zoo / "odd[1].onnx").touch()
    assert not is_batch([str(zoo / "odd[1].onnx")])


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

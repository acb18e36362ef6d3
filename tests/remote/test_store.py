from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import Any

import pytest

from onnx_pare.errors import DataError, ModelError, OutputError, UsageError
from onnx_pare.remote import store

NAMES = ("zoo/a.onnx", "zoo/deep/b.onnx", "zoo/notes.txt")


@pytest.fixture
def zoo(memory: Any) -> Any:
    for name in NAMES:
        memory.pipe(f"/{name}", name.encode())
    return memory


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory://zoo", ["a.onnx", "deep/b.onnx", "notes.txt"]),
        ("memory://zoo/", ["a.onnx", "deep/b.onnx", "notes.txt"]),
        ("memory://zoo/*.onnx", ["a.onnx"]),
        ("memory://zoo/**/*.onnx", ["a.onnx", "deep/b.onnx"]),
        ("memory://zoo/deep/b.onnx", ["b.onnx"]),
        ("memory://zoo/*.tflite", []),
    ],
)
def test_files_folders_and_patterns(zoo: Any, url: str, expected: list[str], tmp_path: Path) -> None:
    found = store.find(url, UsageError)
    assert [entry.name for entry in found] == expected
    for entry in found:
        store.fetch(entry.url, tmp_path / "copy", ModelError)
        assert (tmp_path / "copy").read_text().endswith(entry.name)


def test_versions_differ_when_files_do(zoo: Any) -> None:
    (before,) = store.find("memory://zoo/a.onnx", DataError)
    assert before == store.find("memory://zoo/a.onnx", DataError)[0]
    zoo.pipe("/zoo/a.onnx", b"zoo/x.onnx")
    (after,) = store.find("memory://zoo/a.onnx", DataError)
    assert (before.size_bytes, after.size_bytes) == (10, 10)
    assert before.version != after.version


def test_names_that_leave_the_folder(memory: Any) -> None:
    memory.store["/zoo/../evil.onnx"] = memory.open("/x", "wb")
    with pytest.raises(UsageError, match=r"leaves its folder: '\.\./evil\.onnx'"):
        store.find("memory://zoo", UsageError)


def test_missing_files(memory: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"memory://zoo/m.onnx: no such file"):
        store.fetch("memory://zoo/m.onnx", tmp_path / "m", ModelError)
    with pytest.raises(UsageError, match="memory://none: no such file or folder"):
        store.find("memory://none", UsageError)


def test_a_disk_without_room(zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OutputError, match=r"has 10 bytes, but only 3 are free in"):
        store.fetch("memory://zoo/a.onnx", tmp_path / "a", ModelError)
    assert list(tmp_path.iterdir()) == []


def test_web_addresses(web: Any, tmp_path: Path) -> None:
    (web.folder / "m.onnx").write_bytes(b"x" * 5000)
    store.fetch(web.url + "m.onnx?key=secret", tmp_path / "m", ModelError)
    assert (tmp_path / "m").read_bytes() == b"x" * 5000
    with pytest.raises(ModelError, match=r"none.onnx\?\*\*\*: no such file") as error:
        store.fetch(web.url + "none.onnx?key=secret", tmp_path / "m", ModelError)
    assert "secret" not in str(error.value)


def test_what_is_cut_short_is_no_file(web: Any, tmp_path: Path) -> None:
    (web.folder / "m.onnx").write_bytes(b"x" * 5000)
    web.cut.add("m.onnx")
    with pytest.raises(ModelError, match=r"m.onnx: cannot be read"):
        store.fetch(web.url + "m.onnx", tmp_path / "m", ModelError)


def test_short_files_of_stores_that_do_not_notice(zoo: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(type(zoo), "get_file", lambda system, path, target: Path(target).write_bytes(b"zoo"))
    with pytest.raises(ModelError, match="cut short: 3 of 10 bytes arrived"):
        store.fetch("memory://zoo/a.onnx", tmp_path / "a", ModelError)


def test_web_servers_list_nothing_and_take_nothing(web: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a web server lists no folders"):
        store.find(web.url, UsageError)
    with pytest.raises(OutputError, match="a web server takes no files"):
        store.check_target(web.url + "m.onnx", overwrite=True)


def test_what_exists_is_kept(zoo: Any) -> None:
    with pytest.raises(OutputError, match=r"memory://zoo/a.onnx: exists already"):
        store.check_target("memory://zoo/a.onnx", overwrite=False)
    store.check_target("memory://zoo/a.onnx", overwrite=True)
    store.check_target("memory://zoo/new.onnx", overwrite=False)
    with pytest.raises(OutputError, match="is a folder"):
        store.check_target("memory://zoo/", overwrite=True)


@pytest.mark.parametrize("whole", [True, False])
def test_put(zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    monkeypatch.setattr(store, "_WHOLE_FILES", {"memory"} if whole else set())
    (tmp_path / "m").write_bytes(b"new")
    for name in ("a.onnx", "new/deep.onnx"):
        store.put(tmp_path / "m", f"memory://zoo/{name}")
        assert zoo.cat(f"/zoo/{name}") == b"new"
    assert len(zoo.find("/")) == len(NAMES) + 1


def test_a_failed_put_leaves_what_was_there(zoo: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(store, "_WHOLE_FILES", set())
    (tmp_path / "m").write_bytes(b"new")

    def fail(*arguments: object) -> None:
        raise OSError("quota of user:secret@host exceeded, see sftp://me:secret@host/")

    monkeypatch.setattr(type(zoo), "mv", fail)
    with pytest.raises(OutputError, match=r"cannot be written: OSError: .*sftp://\*\*\*@host/"):
        store.put(tmp_path / "m", "memory://zoo/a.onnx")
    assert zoo.cat("/zoo/a.onnx") == b"zoo/a.onnx"
    assert len(zoo.find("/")) == len(NAMES)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nope://b/m.onnx", "Protocol not known: nope"),
        ("zip://m.onnx::s3://b/z.zip", "chained URLs are not read"),
    ],
)
def test_schemes_nobody_reads(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        store.fetch(url, tmp_path / "m", ModelError)


@pytest.mark.parametrize(
    ("url", "missing", "message"),
    [
        ("s3://b/m.onnx", "fsspec", r"URLs need the package fsspec\n.*'onnx-pare\[cluster\]'"),
        ("gs://b/m.onnx", "gcsfs", r"gs:// needs the package gcsfs\npip install gcsfs"),
    ],
)
def test_packages_that_are_missing(
    url: str, missing: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ImportError(f"No module named '{name}'", name=name)
        return found(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=message):
        store.fetch(url, tmp_path / "m", ModelError)

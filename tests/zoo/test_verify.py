from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from onnx_pare.errors import InputError
from onnx_pare.zoo.journal import Journal, Output, Record
from onnx_pare.zoo.task import Kind, Status
from onnx_pare.zoo.verify import Finding, verify


def done(folder: Path, name: str, path: str) -> None:
    """Record a model whose output lies at `path`."""
    digest = hashlib.sha256(b"model").hexdigest()
    with Journal(folder) as journal:
        output = Output(path=path, sha256=digest, size_bytes=5)
        journal.append(Record(model=name, status=Status.OK, output=output, report=f"{name}.json"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    done(tmp_path, "a.onnx", "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"model")
    (tmp_path / "a.onnx.json").touch()
    with Journal(tmp_path) as journal:
        journal.append(Record(model="b.onnx", status=Status.FAILED, kind=Kind.PASS))
    return tmp_path


def test_what_is_as_written(folder: Path) -> None:
    assert list(verify(folder)) == []


def test_what_is_missing_or_other(folder: Path) -> None:
    (folder / "a.onnx.json").unlink()
    (folder / "a.onnx").write_bytes(b"mode1")
    assert [finding.problem for finding in verify(folder)] == [
        "a.onnx.json: is missing",
        "a.onnx: is another file than the one that was written (SHA-256)",
    ]
    (folder / "a.onnx").unlink()
    assert Finding("a.onnx", "a.onnx: is missing") in list(verify(folder))


def test_weights_beside_the_model_are_held_against_theirs(folder: Path) -> None:
    digest = hashlib.sha256(b"model").hexdigest()
    output = Output(path="deep/c.onnx", sha256=digest, size_bytes=10, data_sha256=digest)
    with Journal(folder) as journal:
        journal.append(Record(model="c.onnx", status=Status.OK, output=output))
    (folder / "deep").mkdir()
    (folder / "deep" / "c.onnx").write_bytes(b"model")
    assert list(verify(folder)) == [Finding("c.onnx", "deep/c.onnx.data: is missing")]
    (folder / "deep" / "c.onnx.data").write_bytes(b"mode1")
    assert [finding.problem for finding in verify(folder)] == [
        "deep/c.onnx.data: is another file than the one that was written (SHA-256)"
    ]
    (folder / "deep" / "c.onnx.data").write_bytes(b"model")
    assert list(verify(folder)) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "deep/../../secret"])
def test_what_leaves_the_folder_is_not_read(folder: Path, path: str) -> None:
    done(folder, "c.onnx", path)
    assert list(verify(folder)) == [Finding("c.onnx", f"{path}: leaves the folder; it is not read")]


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no journal\.jsonl"):
        list(verify(tmp_path))

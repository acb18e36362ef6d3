from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from onnx_pare.errors import InputError, OutputError
from onnx_pare.zoo.journal import NAME, Journal, Output, Record, read_journal
from onnx_pare.zoo.task import Kind, Limits, Status

OUTPUT = Output(path="a.onnx", sha256="00", size_bytes=1)


def record(model: str = "a.onnx", status: Status = Status.OK, **more: object) -> Record:
    return Record.model_validate({"model": model, "status": status, **more})


def test_what_is_written_is_found_again(tmp_path: Path) -> None:
    done = record(key="k", output=OUTPUT, speedup={"local": 1.5}, limits=Limits(1.0, 2))
    with Journal(tmp_path) as journal:
        journal.append(record("b.onnx", Status.FAILED, kind=Kind.PASS, reason="β\nγ"))
        journal.append(done)
        assert journal.find("a.onnx") == done
    with Journal(tmp_path) as journal:
        assert journal.find("a.onnx") == done
        assert journal.find("none.onnx") is None
        assert "b.onnx" in journal
    assert [one.model for one in read_journal(tmp_path)] == ["b.onnx", "a.onnx"]


def test_one_line_for_each_record(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for model in ("a", "b", "a"):
            journal.append(record(model, reason="line\nline"))
    assert (tmp_path / NAME).read_bytes().count(b"\n") == 3


def test_a_later_line_replaces_an_earlier_one(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record(key="old"))
        journal.append(record("b.onnx"))
        journal.append(record(key="new"))
        assert journal.find("a.onnx") == record(key="new")
    assert [(one.model, one.key) for one in read_journal(tmp_path)] == [("b.onnx", ""), ("a.onnx", "new")]


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_cut_short_is_dropped(tmp_path: Path, cut: int) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record("a.onnx"))
        journal.append(record("b.onnx"))
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-cut])
    assert [one.model for one in read_journal(tmp_path)] == ["a.onnx"]
    with Journal(tmp_path) as journal:
        assert journal.find("b.onnx") is None
        journal.append(record("c.onnx"))
    assert [one.model for one in read_journal(tmp_path)] == ["a.onnx", "c.onnx"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"no json\n", "not a line of a journal"),
        (b"[]\n", "not a line of a journal"),
        (b'{"status": "ok"}\n', "model: Field required"),
        (b'{"model": "x", "status": "fine"}\n', "status"),
        (b'{"model": 1, "status": "ok"}\n', "model"),
        (b"[" * 100_000 + b"\n", "not a line of a journal"),
        (b'"' + b"x" * (1 << 20) + b'"\n', "longer than"),
    ],
)
def test_a_line_that_is_none_is_an_error(tmp_path: Path, line: bytes, message: str) -> None:
    with Journal(tmp_path) as journal:
        journal.append(record())
    path = tmp_path / NAME
    before = path.read_bytes() + line + record("b.onnx").model_dump_json().encode() + b"\n"
    path.write_bytes(before)
    for read in (Journal, lambda folder: list(read_journal(folder))):
        with pytest.raises(InputError, match=f"{NAME}:2: .*{message}"):
            read(tmp_path)
    assert path.read_bytes() == before


def test_a_full_disk_leaves_it_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) - 10])

    with Journal(tmp_path) as journal:
        journal.append(record("a.onnx"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(OutputError, match="No space left") as caught:
                journal.append(record("b.onnx"))
        assert caught.value.full
        assert journal.find("b.onnx") is None
        journal.append(record("c.onnx"))
    assert [one.model for one in read_journal(tmp_path)] == ["a.onnx", "c.onnx"]


def test_no_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no journal\.jsonl"):
        list(read_journal(tmp_path))


@pytest.mark.parametrize(
    ("kind", "then", "now", "lasts"),
    [
        (Kind.INPUT, Limits(), Limits(), True),
        (Kind.PASS, Limits(), Limits(), True),
        (Kind.CRASH, Limits(), Limits(), True),
        (Kind.KILLED, Limits(), Limits(), False),
        (Kind.OUTPUT, Limits(), Limits(), False),
        (Kind.READ, Limits(), Limits(), False),
        (Kind.TIMEOUT, Limits(10), Limits(10), True),
        (Kind.TIMEOUT, Limits(10), Limits(20), False),
        (Kind.TIMEOUT, Limits(10), Limits(None), False),
        (Kind.MEMORY, Limits(None, 100), Limits(None, 50), True),
        (Kind.MEMORY, Limits(None, 100), Limits(None, 200), False),
        (Kind.MEMORY, Limits(None, None), Limits(None, 200), True),
    ],
)
def test_what_would_fail_again_lasts(kind: Kind, then: Limits, now: Limits, lasts: bool) -> None:
    assert record(status=Status.FAILED, kind=kind, limits=then).lasts(now) is lasts


def test_what_is_done_lasts() -> None:
    assert record().lasts(Limits())
    assert record(status=Status.SKIPPED).lasts(Limits())

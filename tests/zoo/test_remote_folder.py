from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from onnx_pare.errors import OutputError
from onnx_pare.remote import store
from onnx_pare.zoo.folder import SUMMARY
from onnx_pare.zoo.journal import NAME
from onnx_pare.zoo.remote_folder import journal_folder, open_output, state_folder

URL = "memory://out/int8"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_path_is_opened_as_it_is(tmp_path: Path) -> None:
    for name in (str(tmp_path / "out"), f"file://{tmp_path}/out"):
        with open_output(name) as folder:
            assert folder.path == tmp_path / "out"
            assert folder.target("deep/a.onnx") == f"{tmp_path}/out/deep/a.onnx"
            assert not folder.has("a.onnx")


def test_results_go_to_the_url_and_the_journal_too_in_the_end(memory: Any) -> None:
    memory.pipe("/out/int8/deep/a.onnx", b"")
    with open_output(URL + "/") as folder:
        assert folder.target("deep/a.onnx") == f"{URL}/deep/a.onnx"
        assert [folder.has(name) for name in ("deep/a.onnx", "b.onnx")] == [True, False]
        for name in (NAME, SUMMARY):
            (folder.path / name).write_text(name)
    assert [memory.cat(f"/out/int8/{name}").decode() for name in (NAME, SUMMARY)] == [NAME, SUMMARY]


def test_however_it_ends(memory: Any) -> None:
    opened = open_output(URL)
    (opened.__enter__().path / NAME).write_text("line\n")
    opened.__exit__(SystemExit, SystemExit(143), None)
    assert memory.cat(f"/out/int8/{NAME}") == b"line\n"


@pytest.mark.parametrize(
    ("here", "there"), [("", "1\n2\n"), ("1\n", "1\n2\n"), ("1\n2\n", "1\n"), ("1\n", None)]
)
def test_the_longer_journal_is_gone_on_with(memory: Any, here: str, there: str | None) -> None:
    if here:
        state_folder(URL).mkdir(parents=True)
        (state_folder(URL) / NAME).write_text(here)
    if there is not None:
        memory.pipe(f"/out/int8/{NAME}", there.encode())
    with open_output(URL) as folder:
        assert (folder.path / NAME).read_text() == max(here, there or "", key=len)


def test_two_runs_of_this_machine_are_refused(memory: Any) -> None:
    with open_output(URL), pytest.raises(OutputError, match="is in use by"):
        open_output(URL).__enter__()
    with open_output(URL), open_output("memory://out/fp16"):
        pass


def test_a_journal_that_cannot_be_put_stays_here(
    memory: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(source: Path, url: str) -> None:
        raise OutputError(f"{url}: permission denied")

    monkeypatch.setattr(store, "put", fail)
    with caplog.at_level(logging.WARNING), open_output(URL) as folder:
        (folder.path / NAME).write_text("line\n")
    assert f"{URL}/{NAME}: permission denied; it is at {folder.path / NAME}" in caplog.text


def test_web_servers_take_no_results() -> None:
    with pytest.raises(OutputError, match="a web server takes no files"):
        open_output("https://host/out").__enter__()


def test_where_the_journal_lies(memory: Any, tmp_path: Path) -> None:
    assert journal_folder(str(tmp_path)) == tmp_path
    memory.pipe(f"/out/int8/{NAME}", b"line\n")
    assert (journal_folder(URL) / NAME).read_text() == "line\n"

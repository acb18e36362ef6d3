from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from onnx_pare.cli import console
from onnx_pare.errors import OutputError
from onnx_pare.progress import Silent


def test_json_to_stdout_is_all_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.write_json({"top1": 0.5, "name": "Δ"}, "-")
    said = capsys.readouterr()
    assert json.loads(said.out) == {"top1": 0.5, "name": "Δ"}
    assert said.err == ""


def test_json_to_a_file(tmp_path: Path) -> None:
    console.write_json({"a": [1]}, str(tmp_path / "x.json"))
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1]}


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        console.write_json({}, str(tmp_path / "missing" / "x.json"))


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        console.write_json({"sqnr_db": float("inf")}, "-")


@pytest.mark.parametrize("enabled", [True, False])
def test_no_bars_without_a_terminal(enabled: bool) -> None:
    with console.progress(enabled) as progress:
        assert isinstance(progress, Silent)


@pytest.mark.parametrize(
    ("verbose", "quiet", "level"),
    [(True, False, logging.DEBUG), (False, False, logging.WARNING), (False, True, logging.ERROR)],
)
def test_how_much_is_logged(verbose: bool, quiet: bool, level: int) -> None:
    logger = logging.getLogger("onnx_pare")
    before = (logger.level, list(logger.handlers))
    try:
        console.log_to_stderr(verbose=verbose, quiet=quiet)
        console.log_to_stderr(verbose=verbose, quiet=quiet)
        assert logger.level == level
        assert len(logger.handlers) == 1
    finally:
        logger.setLevel(before[0])
        logger.handlers[:] = before[1]

"""What a CI job gets from every command: no colour, no bars, no moving cursors, the same each time."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from onnx_pare.cli import console

BENCH = ("--set", "benchmark.profiles=[local]", "--set", "benchmark.runs=3")
COMMANDS = [
    ("optimize", "net.onnx", "-c", "r.yaml", "--overwrite", *BENCH),
    ("optimize", "net.onnx", "-c", "r.yaml", "--dry-run"),
    ("optimize", "-c", "int8", "--print-recipe"),
    ("pare", "inspect", "net.onnx"),
    ("pare", "bench", "net.onnx", "-p", "local", "-p", "raspberry-pi-4", "--runs", "3", "--ops"),
    ("pare", "compare", "net.onnx", "net.onnx", "--runs", "3"),
    ("pare", "doctor"),
    ("pare", "passes", "list"),
    ("pare", "passes", "show", "quantize_int8"),
    ("pare", "recipes", "list"),
    ("pare", "recipes", "show", "int8"),
    ("pare", "profiles", "list"),
    ("pare", "profiles", "show", "raspberry-pi-4"),
]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# numbers, the blanks that align them, and what is said of the times they give
TIMES = re.compile(r"[0-9][0-9.,]*|[≈ ]+|no clear change|× (faster|slower)")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_writes_control_characters_to_a_pipe(
    command: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "CI": "true", "GITHUB_ACTIONS": "true", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    first, second = command(*arguments), command(*arguments)
    assert (first.code, first.err) == (0, "")
    assert CONTROL.findall(first.out) == []
    assert TIMES.sub("", first.out) == TIMES.sub("", second.out)


def test_the_same_report_but_for_the_times(command: Any, folder: Path) -> None:
    def untimed(value: Any) -> Any:
        if isinstance(value, dict):
            times = ("seconds", "peak_rss_bytes", "latency")
            return {key: untimed(part) for key, part in value.items() if not key.endswith(times)}
        return [untimed(part) for part in value] if isinstance(value, list) else value

    run = (*COMMANDS[0], "--report-json", "-")
    first, second = (json.loads(command(*run).out) for _ in range(2))
    assert untimed(first) == untimed(second)


def test_text_of_others_is_escaped_on_both_consoles(capsys: pytest.CaptureFixture[str]) -> None:
    console.out.cache_clear()
    console.err.cache_clear()
    console.out().print("a \x1b[31mname", markup=False)
    console.err().print("[bold]a[/] \x9b2Jname")
    said = capsys.readouterr()
    assert said.out == "a \\x1b[31mname\n"
    assert said.err == "a \\x9b2Jname\n"


def test_text_of_others_is_escaped_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("onnx_pare")
    before = (logger.level, list(logger.handlers))
    try:
        console.log_to_stderr(verbose=False, quiet=False)
        logger.warning("node '%s'", "\x1b[2J")
    finally:
        logger.setLevel(before[0])
        logger.handlers[:] = before[1]
    assert capsys.readouterr().err == "WARNING onnx_pare: node '\\x1b[2J'\n"

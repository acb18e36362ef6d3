"""How a run ends: exit codes, messages, signals, and readers that leave."""

from __future__ import annotations

import errno
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import typer.main

from onnx_pare.cli import main
from onnx_pare.errors import ModelError, PassError
from onnx_pare.passes import base
from onnx_pare.pipeline import run as pipeline

RUN = ("optimize", "net.onnx", "-c", "r.yaml")
# far longer than any test waits
ENDLESS = ("--set", "calibration.samples=1000000")
SGR = re.compile(r"\x1b\[[0-9;]*m")


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a command in a process of its own, in the current folder."""
    name, *rest = map(str, arguments)
    code = f"from onnx_pare.cli.main import {name}; {name}()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return subprocess.Popen([sys.executable, "-c", code, *rest], **(pipes | options))


def test_the_process_works_as_the_command_in_process(folder: Path) -> None:
    process = start(*RUN, "-q")
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert Path("net.r.onnx").is_file()


# --- errors -------------------------------------------------------------------------------------------------


def test_a_pass_that_fails(command: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self: object, model: ir.Model, context: object) -> base.Outcome:
        raise PassError("quantize_int8", "no", hint="Try another.")

    monkeypatch.setattr(base.registry()["quantize_int8"], "apply", apply)
    ran = command(*RUN)
    assert ran == type(ran)(3, "", "error: pass quantize_int8: no\n  Try another.\n")
    assert sorted(path.name for path in folder.iterdir()) == ["net.onnx", "r.yaml"]


def test_a_bug_in_a_pass(command: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self: object, model: ir.Model, context: object) -> base.Outcome:
        raise KeyError("oops")

    monkeypatch.setattr(base.registry()["quantize_int8"], "apply", apply)
    ran = command(*RUN)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: pass quantize_int8: KeyError: 'oops'\n")
    assert "--debug" in ran.err
    assert not Path("net.r.onnx").exists()


def test_a_pass_that_breaks_the_model(command: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self: object, model: ir.Model, context: object) -> base.Outcome:
        model.graph.outputs[0].name = "renamed"
        return base.Outcome(model, 1)

    monkeypatch.setattr(base.registry()["quantize_int8"], "apply", apply)
    ran = command(*RUN)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: pass quantize_int8: ")
    assert not Path("net.r.onnx").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 3, ["error: out of memory", "fewer calibration samples"]),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), 2, ["No space left", "TMPDIR"]),
        (RuntimeError("a\nb"), 3, ["error: internal error: RuntimeError: a b", "bug in onnx-pare"]),
    ],
)
def test_errors_that_are_not_ours(
    command: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, said: list[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "plan", fail)
    ran = command(*RUN)
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err
    assert [text for text in said if text not in ran.err] == []
    with pytest.raises(type(error)):
        command(*RUN, "--debug")


@pytest.mark.parametrize("position", [0, 1, 3])
def test_debug_anywhere_gives_the_traceback(command: Any, folder: Path, position: int) -> None:
    arguments = ["none.onnx", "-c", "r.yaml"]
    arguments.insert(position, "--debug")
    with pytest.raises(ModelError):
        command("optimize", *arguments)


def test_debug_in_a_process(folder: Path) -> None:
    _, said = start("pare", "inspect", "none.onnx", "--debug").communicate(timeout=60)
    assert said.startswith("Traceback")
    assert "none.onnx: no such file" in said


@pytest.mark.parametrize(
    "arguments",
    [("optimize", "--nope"), ("pare", "nope"), ("pare",), ("pare", "inspect"), (*RUN, "--seed", "-1")],
)
def test_wrong_usage(command: Any, folder: Path, arguments: tuple[str, ...]) -> None:
    ran = command(*arguments)
    assert ran.code == 2
    assert "Usage: " in ran.out + ran.err
    assert "Traceback" not in ran.err


# --- full disks ---------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up(folder: Path) -> None:
    """A limit on the size of files is what a full disk is like, for root too."""
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from onnx_pare.cli.main import optimize; optimize()"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", limited, *RUN[1:]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written: File too large" in done.stderr
    assert "Free some space" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["net.onnx", "r.yaml"]


def test_a_disk_that_fills_up_at_the_very_end(
    command: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    Path("net.r.onnx").write_text("mine")
    ran = command(*RUN, "--overwrite")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: net.r.onnx: cannot be written: No space left on device\n")
    assert Path("net.r.onnx").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["net.onnx", "net.r.onnx", "r.yaml"]


# --- signals ------------------------------------------------------------------------------------------------


@pytest.fixture
def at_work(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a run that has started its passes and does not end."""
    process = start(*RUN, *ENDLESS)
    deadline = time.monotonic() + 60
    while not any((folder.parent / "temporary").glob("onnx-pare-*/*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "error: interrupted\n"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_interrupted(at_work: subprocess.Popen[str], folder: Path, number: int, code: int, said: str) -> None:
    at_work.send_signal(number)
    assert at_work.communicate(timeout=60) == ("", said)
    assert at_work.returncode == code
    assert sorted(path.name for path in folder.iterdir()) == ["net.onnx", "r.yaml"]


def test_signals_that_the_caller_ignores_stay_ignored(monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command("pare", "--version")
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# --- streams ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("pare", "inspect", "net.onnx"),
        ("pare", "inspect", "net.onnx", "--json", "-"),
        ("pare", "recipes", "schema"),
        (*RUN, "--overwrite"),
        (*RUN, "--print-recipe"),
    ],
    ids=" ".join,
)
def test_a_reader_that_leaves_is_no_failure(folder: Path, arguments: tuple[str, ...]) -> None:
    process = start(*arguments)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert (process.wait(60), said) == (0, "")


def test_gates_count_even_if_nobody_reads(folder: Path) -> None:
    process = start(*RUN, "--gate", "size_bytes<=1")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [("inspect", "net.onnx"), ("inspect", "net.onnx", "--json", "-")])
def test_stdout_on_a_full_disk(folder: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("pare", *arguments, stdout=full)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (3, "error: stdout: cannot be written: No space left on device\n")


def test_stdout_that_is_closed(folder: Path) -> None:
    process = start(*RUN, stdout=None, preexec_fn=lambda: os.close(1))
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_an_encoding_that_lacks_our_signs(folder: Path) -> None:
    Path("net.onnx").rename("模型.onnx")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    process = start("optimize", "模型.onnx", *RUN[2:], env=environment)
    shown, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert r"\u6a21\u578b.onnx" in shown


def on_a_terminal(*arguments: str, columns: int, **environment: str) -> str:
    """Return what a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    size = {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    process = start(*arguments, stdout=theirs, stderr=theirs, env=os.environ | size | environment)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_of_any_width(folder: Path, columns: int) -> None:
    shown = SGR.sub("", on_a_terminal(*RUN, "--no-progress", columns=columns))
    lines = [line for line in shown.splitlines() if "written" not in line]
    assert max(map(len, lines)) <= columns
    assert "smaller" in shown


def test_colour_only_where_it_is_wanted(folder: Path) -> None:
    colours = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-9]|9[0-7])m")
    assert colours.search(on_a_terminal(*RUN, "--no-progress", columns=80))
    assert not colours.search(on_a_terminal(*RUN, "--no-progress", "--overwrite", columns=80, NO_COLOR="1"))
    shown, said = start(*RUN, "--overwrite").communicate(timeout=60)
    assert "\x1b" not in shown + said


# --- help ---------------------------------------------------------------------------------------------------


def commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command below `group`, with its names."""
    for name, found in getattr(group, "commands", {}).items():
        yield from commands(found, *names, name)
    if not hasattr(group, "commands"):
        yield names, group


@pytest.mark.parametrize(
    ("names", "made"),
    list(commands(typer.main.get_command(main._pare_app()))),
    ids=lambda value: str(value)[:40],
)
def test_help_of_every_command(command: Any, names: tuple[str, ...], made: Any) -> None:
    ran = command("pare", *names, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Usage: ")
    assert made.help
    for parameter in made.params:
        assert parameter.help, f"{parameter.name} is not explained"
        for option in parameter.opts if parameter.opts[0].startswith("-") else ():
            assert option in ran.out


def test_help_of_optimize_has_the_documented_flags(command: Any) -> None:
    shown = command("optimize", "--help").out
    flags = """-c --config -o --output -p --profile --threads --batch --calibration --eval --preprocess
        --shape --set --gate --report-json --seed --overwrite --dry-run --print-recipe -q --quiet -v --verbose
        --no-progress"""
    for flag in flags.split():
        assert re.search(rf"(?<![\w-]){flag}\b", shown), flag
    assert "[default: 1]" in shown
    assert "<stem>.<recipe>.onnx" in " ".join(shown.split())


def test_making_the_commands_loads_nothing_heavy() -> None:
    code = "import sys; from onnx_pare.cli import main; main._pare_app(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "onnx", "onnxruntime", "onnx_ir", "onnxsim", "PIL", "pydantic", "yaml"}
    assert set(done.stdout.split()) & heavy == set()


def test_no_telemetry() -> None:
    code = "import os, onnx_pare; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, kept in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        rest = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=rest | given)
        assert done.stdout.strip() == kept

"""Running the real commands in this process, on a classifier small enough to take no time."""

from __future__ import annotations

import io
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from onnx_pare.cli import console, main

RECIPE = """version: 1
calibration: {samples: 4}
passes: [{quantize_int8: {select: all}}]
benchmark: {profiles: []}
"""


@dataclass(frozen=True)
class Ran:
    """What a command left behind: exit code, stdout and stderr."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command() -> Iterator[Command]:
    """Return what runs `optimize …` or `pare …` as the shell would, with no terminal on either stream."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
    forget_consoles()


def run(name: str, *arguments: object) -> Ran:
    """Run a command; an exception that is no exit is a bug, and comes through."""
    streams = {stream: io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for stream in ("stdout", "stderr")}
    forget_consoles()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        for stream, text in streams.items():
            patch.setattr(sys, stream, text)
        try:
            {"optimize": main.optimize, "pare": main.pare}[name]()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ran(code, *map(written, streams.values()))


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def forget_consoles() -> None:
    for made in (console.out, console.err):
        made.cache_clear()


def classifier() -> onnx.ModelProto:
    """Return a classifier of vectors of 16 numbers into 5 classes, its batch free."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> net (float[N, 16] x) => (float[N, 5] y)
        { h = MatMul(x, a) r = Relu(h) y = MatMul(r, b) }"""
    )
    rng = np.random.default_rng(0)
    for name, shape in (("a", (16, 32)), ("b", (32, 5))):
        weights = rng.normal(size=shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weights, name))
    return proto


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the current folder, holding net.onnx and r.yaml; in the end no temporary file may be left."""
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    (work / "net.onnx").write_bytes(classifier().SerializeToString())
    (work / "r.yaml").write_text(RECIPE)
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.delenv("COLUMNS", raising=False)
    yield work
    assert [path.name for path in temporary.iterdir()] == []
    assert [path.name for path in work.rglob("*.part")] == []

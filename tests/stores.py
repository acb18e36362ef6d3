"""Stores that live in this process: fsspec's memory, and a web server of a folder."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper


@pytest.fixture
def memory() -> Iterator[Any]:
    """Return the file system behind `memory://`, empty."""
    from fsspec.implementations.memory import MemoryFileSystem

    def empty() -> None:
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]

    empty()
    yield MemoryFileSystem()
    empty()


@dataclass
class Web:
    """A web server: where it is, what it serves, and what it was asked for.

    Attributes:
        url: Its address, ending in `/`.
        folder: What it serves.
        cut: Names of files of which it sends only half.
        asked: What was asked for, as `GET /net.onnx`.
    """

    url: str
    folder: Path
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Return a web server of this computer."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            served.asked.append(f"{self.command} {self.path}")

        def log_error(self, *arguments: Any) -> None:
            return

        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            whole = self.path.strip("/") not in served.cut
            outputfile.write(content if whole else content[: len(content) // 2])

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    served = Web(f"http://127.0.0.1:{server.server_port}/", folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()


def net(external: str = "") -> tuple[bytes, bytes]:
    """Return a small model, and what belongs into the file `external`, if its weights lie there."""
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> net (float[1, 4] x) => (float[1, 3] y)
        { y = MatMul(x, w) }"""
    )
    array = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    tensor = numpy_helper.from_array(array, "w")
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=external)
    proto.graph.initializer.append(tensor)
    return proto.SerializeToString(), array.tobytes()

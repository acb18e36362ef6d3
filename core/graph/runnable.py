"""Files of large models that onnxruntime loads without copying their weights.

What lies inside a file is parsed, copied into each tensor, and copied again into the form that kernels read:
the peak is twice the weights, or more. What lies beside it is mapped, and let go tensor by tensor: once.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnx_pare.graph import lean
from onnx_pare.graph.load import size_bytes
from onnx_pare.graph.mapped import located
from onnx_pare.graph.save import data_file, output_errors
from onnx_pare.graph.session import HUNGRY, Session
from onnx_pare.graph.weights import external_file

if TYPE_CHECKING:
    import onnx

# weights begin at pages, as if they had been allocated
_ALIGNMENT = 4096


def open_session(path: Path) -> Session:
    """Load a model in onnxruntime, a large one in little memory.

    Raises:
        SessionError: onnxruntime does not load it.
    """
    return Session(path, without=HUNGRY if is_large(path) else ())


def is_large(*paths: Path) -> bool:
    """Return whether models, taken together, have too many weights to be held at one time."""
    return sum(map(size_bytes, paths)) >= lean.LARGE_BYTES


def runnable(path: Path, folder: Path) -> Path:
    """Return a file of the model at `path` to load in onnxruntime: itself, or of a large one a copy.

    The copy is in a new folder in `folder`, its large weights beside it. A model that has weights beside it
    already is itself.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    if path.stat().st_size < lean.LARGE_BYTES:
        return path
    proto = lean.parse(path)
    places = {external_file(tensor) for tensor in proto.graph.initializer}
    if places - {""} != {path.name}:
        return path
    with output_errors(folder / path.name):
        copy = Path(tempfile.mkdtemp(prefix="apart-", dir=folder)) / path.name
        with data_file(copy).open("wb") as file:
            for tensor in proto.graph.initializer:
                if external_file(tensor):
                    _move(tensor, path, file)
        copy.write_bytes(proto.SerializeToString(deterministic=True))
    return copy


def _move(tensor: onnx.TensorProto, source: Path, file: BinaryIO) -> None:
    """Append the content of a tensor that lies in `source` to a file, and let it lie there."""
    content = located(tensor, source)
    start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
    file.seek(start)
    content.tofile(file)
    entries = {"location": Path(file.name).name, "offset": str(start), "length": str(content.nbytes)}
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)

"""Files of large models that onnxruntime loads without copying their weights.

What lies inside a file is parsed, copied into each tensor, and copied again into the form that kernels read:
the peak is twice the weights, or more. What lies beside it is mapped, and let go tensor by tensor: once.
"""

from __future__ import annotations

import math
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
_FLOAT_BYTES = 4


def open_session(path: Path) -> Session:
    """Load a model in onnxruntime, a large one in little memory.

    Raises:
        SessionError: onnxruntime does not load it.
    """
    return Session(path, without=HUNGRY if is_large(path) else ())


def is_large(*paths: Path) -> bool:
    """Return whether models, taken together, have too many weights to be held at one time."""
    return sum(map(_loaded_bytes, paths)) >= lean.LARGE_BYTES


def _loaded_bytes(path: Path) -> int:
    """Return the size of a model as onnxruntime holds it: what a Cast restores of small numbers is floats."""
    stored_bytes = size_bytes(path)
    if not lean.stays_in_file(path):
        return stored_bytes
    graph = lean.parse_lean(path).graph
    cast = {name for node in graph.node if node.op_type == "Cast" for name in node.input}
    restored = (math.prod(tensor.dims) for tensor in graph.initializer if tensor.name in cast)
    return max(stored_bytes, _FLOAT_BYTES * sum(restored))


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

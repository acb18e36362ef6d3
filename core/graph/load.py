"""Loading an ONNX file: everything that can be wrong with it is found here, and said."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError
from onnx_pare.graph import lean, normalize, protos, weights
from onnx_pare.graph.mapped import map_weights
from onnx_pare.graph.sparse import densify
from onnx_pare.graph.structure import check_structure
from onnx_pare.graph.unweighted import unweighted

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

log = logging.getLogger(__name__)


def load_model(path: Path) -> ir.Model:
    """Load the ONNX model at `path`; weights in external files, and large ones in large files, stay there.

    Normalizes what carries no meaning: the domain `ai.onnx` becomes the empty one, nodes whose name is
    missing or taken get a unique one, nodes out of order are sorted, sparse tensors become dense, and weights
    that an old exporter listed as inputs too become plain weights, and recorded shapes that contradict what
    onnx infers are dropped. Names of values, inputs and outputs stay.

    Raises:
        ModelError: The file is missing, empty, cut short or not ONNX; external data is missing, short or
            outside the model's folder; the opset, a domain or an operator is unknown; the graph is
            inconsistent, cyclic or too large; or a sparse tensor is too large to be made dense.
    """
    import onnx_ir as ir

    proto = _read(path)
    check_structure(proto, path)
    weights.check_tensors(proto, path)
    densify(proto, path)
    normalize.use_empty_domain(proto)
    normalize.forget_negative_dims(proto)
    if proto.training_info:
        log.warning("%s: its training graphs are left out; only the model itself is kept", path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown keys of external data
            model = ir.from_proto(proto)
    except Exception as error:  # onnx-ir raises many kinds for the many ways a graph can be inconsistent
        raise ModelError(f"{path}: the graph is inconsistent: {first_line(_root(error))}") from error
    _set_folder(model, path.parent)
    map_weights(model, path)
    normalize.hold_constants_in_memory(model)
    normalize.sort_nodes(model, path)
    normalize.fix_weights(model)
    normalize.name_nodes(model)
    normalize.forget_wrong_shapes(model, _checked(model, path))
    return model


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file at `path`, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def model_files(path: Path) -> list[Path]:
    """Return the model file and the external data files it refers to, each once."""
    return [path, *(path.parent / location for location in external_locations(path))]


def external_locations(path: Path) -> list[str]:
    """Return the external data files that a model refers to, relative to its folder; they need not be there.

    Raises:
        ModelError: It is no ONNX file, or one of them lies outside its folder.
    """
    import onnx

    if path.is_file() and path.stat().st_size and not lean.refers_to_files(path):
        return []
    found: dict[str, None] = {}
    for tensor in protos.tensors(_read(path, lean.parse_lean)):
        location = weights.external_file(tensor)
        inside = 0 in tensor.dims or location == path.name
        if tensor.data_location == onnx.TensorProto.EXTERNAL and not inside:
            weights.check_location(location, f"{path}: tensor '{tensor.name}'")
            found[location] = None
    return list(found)


def size_bytes(path: Path) -> int:
    """Return the size of the model file and of the external data files it refers to, in bytes."""
    return sum(file.stat().st_size for file in model_files(path))


def first_line(error: BaseException) -> str:
    """Return what an exception says, in one line of at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _read(path: Path, parse: Callable[[Path], onnx.ModelProto] = lean.parse) -> onnx.ModelProto:
    from google.protobuf.message import DecodeError

    try:
        if not path.exists():
            raise ModelError(f"{path}: no such file", hint="Check the spelling, and the folder you are in.")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no regular file"
            raise ModelError(f"{path}: is {kind}, not an ONNX file")
        size = path.stat().st_size
        if size == 0:
            raise ModelError(f"{path}: the file is empty", hint="Copy, download or export it again.")
        proto = parse(path)
    except DecodeError as error:
        raise ModelError(
            f"{path}: not an ONNX file, or cut short after {size} bytes",
            hint="Check that the download or copy is complete (Git LFS pointers are small text files).",
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null character
        raise ModelError(f"{str(path)!r}: cannot be read: {error}") from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{path}: holds no graph; not an ONNX model, or cut short")
    if not proto.opset_import:
        raise ModelError(f"{path}: names no opset (opset_import is empty); not an ONNX model, or cut short")
    return proto


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _set_folder(model: ir.Model, folder: Path) -> None:
    """Tell every external tensor where the model lies."""
    import onnx_ir as ir

    ir.external_data.set_base_dir(model.graph, folder)
    for function in model.functions.values():
        ir.external_data.set_base_dir(function.graph, folder)


def _checked(model: ir.Model, path: Path) -> onnx.ModelProto:
    """Let onnx check attributes, types and scopes, and return what it saw; weights were checked before."""
    import onnx.checker

    try:
        proto = unweighted(model)
        onnx.checker.check_model(proto)
    except Exception as error:  # ValidationError, and others from the C++ side
        raise ModelError(
            f"{path}: not a valid model: {first_line(error)}",
            hint="Python's onnx.checker.check_model says the same of the file; export it again.",
        ) from error
    return proto

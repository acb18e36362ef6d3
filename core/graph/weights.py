"""Checking what the tensors of a model file hold, before anything is allocated or read."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError
from onnx_pare.graph import protos

if TYPE_CHECKING:
    import onnx

MAX_ELEMENTS = 1 << 40
# field of TensorProto -> bits of one entry; the types of each are those of onnx.proto
_FIELD_BITS = {"float_data": 32, "int32_data": 32, "int64_data": 64, "double_data": 64, "uint64_data": 64}
_FIELDS = {
    "float_data": {"FLOAT", "COMPLEX64"},
    "double_data": {"DOUBLE", "COMPLEX128"},
    "int64_data": {"INT64"},
    "uint64_data": {"UINT32", "UINT64"},
    "string_data": {"STRING"},
}


def check_tensors(proto: onnx.ModelProto, path: Path) -> None:
    """Hold every tensor's content against its type and shape, without reading or allocating any.

    Raises:
        ModelError: A type is unknown, a dimension negative or absurd, the content shorter or longer than the
            shape says; or external data is missing, short, or outside the folder of `path`.
    """
    for tensor in protos.tensors(proto):
        check_tensor(tensor, path)


def check_tensor(tensor: onnx.TensorProto, path: Path) -> None:
    """Check one tensor as `check_tensors` does."""
    import onnx
    import onnx_ir as ir

    where = f"{path}: tensor '{tensor.name}'"
    if tensor.data_type not in set(ir.DataType) or tensor.data_type == onnx.TensorProto.UNDEFINED:
        raise ModelError(f"{where}: unknown element type {tensor.data_type}")
    if element_count(tensor.dims, where) == 0:
        return
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external(tensor, path, where)
        return
    held, needed = _held(tensor), _needed(tensor)
    if held != needed:
        unit = "strings" if tensor.data_type == onnx.TensorProto.STRING else "bytes"
        raise ModelError(
            f"{where}: holds {held} {unit}, its type and shape {list(tensor.dims)} need {needed}",
            hint="The file is damaged; copy or export it again.",
        )


def element_count(dims: Iterable[int], where: str) -> int:
    """Return the product of dimensions that a file gives.

    Raises:
        ModelError: A dimension is negative, or the product (zeros aside) is beyond 2^40.
    """
    sizes = list(dims)
    if any(size < 0 for size in sizes) or math.prod(size or 1 for size in sizes) > MAX_ELEMENTS:
        raise ModelError(f"{where}: impossible shape {sizes}")
    return math.prod(sizes)


def external_file(tensor: onnx.TensorProto) -> str:
    """Return the file that an external tensor's content lies in, relative to the model's folder."""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def check_location(location: str, where: str) -> None:
    """Find out whether the name of an external data file stays in the model's folder, wherever that is.

    Raises:
        ModelError: It is empty, absolute, climbs out (`../`), or names a folder.
    """
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    if (
        not location
        or "\0" in location
        or posix.is_absolute()
        or windows.anchor
        or ".." in posix.parts
        or ".." in windows.parts
    ):
        raise ModelError(
            f"{where}: external data path {location!r} leaves the model's folder",
            hint="Only files beside the model, or below it, are read.",
        )
    if location.split("/")[-1] in ("", "."):  # a Path forgets these, the system does not
        raise ModelError(f"{where}: external data path {location!r} names a folder, not a file")


def _type_name(tensor: onnx.TensorProto) -> str:
    import onnx_ir as ir

    return ir.DataType(tensor.data_type).name


def _needed(tensor: onnx.TensorProto) -> int:
    """Return the bytes (or strings) a tensor's shape asks for, in the form in which it is stored."""
    import onnx_ir as ir

    count: int = math.prod(tensor.dims)
    dtype = ir.DataType(tensor.data_type)
    if dtype == ir.DataType.STRING:
        return count
    if tensor.HasField("raw_data") or tensor.data_location:
        return math.ceil(count * dtype.itemsize)
    # typed fields spend a whole entry on each element, or on each byte of elements below 8 bits
    bits = max(
        next((_FIELD_BITS[f] for f, types in _FIELDS.items() if dtype.name in types), 32), dtype.bitwidth
    )
    if dtype.bitwidth in (2, 4):
        return math.ceil(count * dtype.itemsize) * 4
    return count * bits // 8


def _held(tensor: onnx.TensorProto) -> int:
    """Return the bytes (or strings) that a tensor holds in the field of its type."""
    name = _type_name(tensor)
    if name == "STRING":
        return len(tensor.string_data)
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    field = next((f for f, types in _FIELDS.items() if name in types), "int32_data")
    return len(getattr(tensor, field)) * _FIELD_BITS[field] // 8


def _check_external(tensor: onnx.TensorProto, path: Path, where: str) -> None:
    location = external_file(tensor)
    check_location(location, where)
    # weights of a large file stay in it (see `lean`); it may be a link, as any model file
    status = path.stat() if location == path.name else _status(path, location, where)
    offset, length = _number(tensor, "offset", where), _number(tensor, "length", where)
    if _type_name(tensor) == "STRING":
        raise ModelError(f"{where}: strings cannot lie in external data")
    needed = _needed(tensor)
    if length is not None and length != needed:
        raise ModelError(f"{where}: external data gives {length} bytes, its type and shape need {needed}")
    if (offset or 0) + needed > status.st_size:
        raise ModelError(
            f"{where}: external data file '{location}' is too short: needs {(offset or 0) + needed} bytes, "
            f"has {status.st_size}",
            hint="Check that the download or copy is complete.",
        )


def _status(path: Path, location: str, where: str) -> os.stat_result:
    """Return the status of an external data file that is regular, readable and inside the model's folder."""
    file = path.parent / location
    try:
        status = file.stat()
        inside = file.resolve(strict=True).is_relative_to(path.parent.resolve())
        readable = os.access(file, os.R_OK)
    except FileNotFoundError as error:
        raise ModelError(
            f"{where}: external data file '{location}' is missing",
            hint=f"It belongs beside the model, at {path.absolute().parent / location}.",
        ) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{where}: external data file '{location}' cannot be read: {reason}") from error
    if not inside:
        raise ModelError(
            f"{where}: external data path '{location}' is a link that leaves the model's folder",
            hint="Copy the file it points to into the model's folder.",
        )
    if not stat.S_ISREG(status.st_mode) or not readable:
        what = (
            "cannot be read: permission denied" if stat.S_ISREG(status.st_mode) else "is not a regular file"
        )
        raise ModelError(f"{where}: external data file '{location}' {what}")
    if status.st_nlink > 1:
        raise ModelError(
            f"{where}: external data file '{location}' is a hard link to a file that lies elsewhere too",
            hint="Replace it by a copy.",
        )
    return status


def _number(tensor: onnx.TensorProto, key: str, where: str) -> int | None:
    text = next((entry.value for entry in tensor.external_data if entry.key == key), None)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise ModelError(f"{where}: external data {key} '{text}' is not a possible number of bytes")
    return int(text)

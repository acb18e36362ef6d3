"""Arrays in files: `.npz`, `.npy` and ONNX `TensorProto`s, read a row at a time."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any, Protocol

from onnx_pare.errors import DataError
from onnx_pare.graph.limits import memory_bytes
from onnx_pare.graph.load import first_line

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# what zipfile, zlib, and numpy's and onnx's parsers raise for damaged files
DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, SyntaxError, TokenError),
    *(zipfile.BadZipFile, zlib.error),
    RuntimeError,  # encrypted zip members, or compressed in a way that is not built in
)


class StoredArray(Protocol):
    """An array in a file.

    Attributes:
        label: File and member, for messages.
        shape: Its shape.
        dtype: Its element type.
    """

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102

    def whole(self) -> Array:
        """Read all of it."""
        ...

    def rows(self, axis: int, indices: Sequence[int]) -> Iterator[Array]:
        """Yield the entries of `axis` at ascending `indices`, each with that axis kept (length 1)."""
        ...


@dataclass(frozen=True)
class NumpyArray:
    """An array in the `.npy` format, in a file or in a member of an `.npz`; read row by row if C-ordered.

    Attributes:
        label: File and member, for messages.
        shape: Its shape.
        dtype: Its element type.
        fortran: Whether it is stored column by column.
        start: Where the data begins, in bytes.
        open: Opens it for reading.
    """

    label: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    def whole(self) -> Array:
        """Read all of it.

        Raises:
            DataError: The file is damaged, or larger than the memory there is.
        """
        import numpy as np

        size_bytes, limit = _nbytes(self.shape, self.dtype), memory_bytes()
        if limit is not None and size_bytes > limit:
            said = f"has {size_bytes / 1e9:,.1f} GB, there are {limit / 1e9:,.1f} GB of memory"
            raise DataError(
                f"{self.label}: {said}", hint="Store fewer samples, the first axis counting them."
            )
        with reading(self.label), self.open() as file:
            file.seek(self.start)
            flat = np.frombuffer(_read(file, size_bytes), self.dtype)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")

    def rows(self, axis: int, indices: Sequence[int]) -> Iterator[Array]:
        """Yield the entries of `axis` at ascending `indices`, each with that axis kept (length 1).

        Raises:
            DataError: The file is damaged.
        """
        import numpy as np

        if axis != 0 or self.fortran:
            yield from _slices(self.whole(), axis, indices)
            return
        shape = (1, *self.shape[1:])
        size = _nbytes(shape, self.dtype)
        with reading(self.label), self.open() as file:
            for index in indices:
                file.seek(self.start + index * size)
                yield np.frombuffer(_read(file, size), self.dtype).reshape(shape)


@dataclass(frozen=True)
class ProtoArray:
    """A serialized ONNX `TensorProto`; small, so it is read whole.

    Attributes:
        path: The file.
        shape: Its shape.
        dtype: Its element type.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def label(self) -> str:
        """Return the file's name."""
        return str(self.path)

    def whole(self) -> Array:
        """Read all of it."""
        return _proto_array(self.path)

    def rows(self, axis: int, indices: Sequence[int]) -> Iterator[Array]:
        """Yield the entries of `axis` at `indices`, each with that axis kept (length 1)."""
        yield from _slices(self.whole(), axis, indices)


def open_npz(path: Path) -> dict[str, NumpyArray]:
    """Return the arrays of an `.npz` file by key; only their headers are read.

    Raises:
        DataError: The file is damaged or holds something else than arrays of numbers.
    """
    with reading(path, ".npz file"), zipfile.ZipFile(path) as archive:
        members = {entry.filename: entry.file_size for entry in _entries(archive)}
    arrays = {}
    for member, size in members.items():
        key = member.removesuffix(".npy")
        arrays[key] = _numpy_array(f"{path}: '{key}'", partial(_open_member, path, member), size)
    return arrays


def open_npy(path: Path) -> NumpyArray:
    """Return the array of an `.npy` file; only its header is read.

    Raises:
        DataError: The file is damaged or holds something else than numbers.
    """
    return _numpy_array(str(path), lambda: path.open("rb"), path.stat().st_size)


def open_proto(path: Path) -> ProtoArray:
    """Return the array of a serialized `TensorProto`.

    Raises:
        DataError: The file is damaged or holds something else than numbers.
    """
    array = _proto_array(path)
    _check_dtype(str(path), array.dtype)
    return ProtoArray(path, array.shape, array.dtype)


@contextmanager
def reading(label: object, kind: str = "array") -> Iterator[None]:
    """Turn what damaged files raise into a DataError that names `label`."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(
            f"{label}: not a readable {kind}, or cut short: {first_line(error)}",
            hint="Check that the copy is complete, or write the file again with numpy.savez.",
        ) from error


def _entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files in an archive.

    Deflated data grows by 1032 at most, so what is read stays in proportion to the file; others know no
    limit.

    Raises:
        ValueError: One is packed as numpy packs none.
    """
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    odd = [e.filename for e in entries if e.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    if odd:
        raise ValueError(f"'{odd[0][:60]}' is compressed in a way that numpy does not use")
    return entries


@contextmanager
def _open_member(path: Path, member: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        yield file


def _numpy_array(
    label: str, opener: Callable[[], AbstractContextManager[IO[bytes]]], size_bytes: int
) -> NumpyArray:
    from numpy.lib import format as npy

    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with reading(label), opener() as file:
        version = npy.read_magic(file)
        if version not in headers:
            raise ValueError(f".npy format {version[0]}.{version[1]}")
        try:
            shape, fortran, dtype = headers[version](file)
        except MemoryError as error:  # what Python's parser says of text that nests without end
            raise ValueError("its header nests too deep") from error
        start = file.tell()
    _check_dtype(label, dtype)
    with reading(label):
        if min(shape, default=0) < 0 or start + _nbytes(shape, dtype) > size_bytes:
            raise EOFError(f"shape {shape} needs more than its {size_bytes} bytes")
    return NumpyArray(label, shape, dtype, fortran, start, opener)


def _check_dtype(label: str, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise DataError(
            f"{label}: holds pickled Python objects, which are not loaded",
            hint="Save a plain array: numpy.savez(path, x=numpy.stack(samples)).",
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{label}: holds {dtype}, not numbers", hint="Save it as float32 or as integers.")


def _nbytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    from math import prod

    return prod(shape) * dtype.itemsize


def _read(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"{size} bytes expected, {len(data)} found")
    return data


def _slices(array: Array, axis: int, indices: Sequence[int]) -> Iterator[Array]:
    for index in indices:
        yield array.take([index], axis=axis)


def _proto_array(path: Path) -> Array:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.TensorProto.FromString(path.read_bytes())
        if not proto.data_type or proto.external_data:
            raise ValueError("empty, or its data lies in another file")
        return onnx.numpy_helper.to_array(proto)
    except (*DAMAGE, DecodeError) as error:
        raise DataError(
            f"{path}: not a readable TensorProto: {first_line(error)}",
            hint="Sequences and optional values are not supported as calibration data.",
        ) from error

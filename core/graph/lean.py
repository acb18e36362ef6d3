"""Reading the message of a model file without its large weights."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from onnx_pare.graph.extent import check_messages
from onnx_pare.graph.wire import without_weights

if TYPE_CHECKING:
    import onnx

# from this size of weights on, memory counts more than a second of time: weights stay in files, and one
# model at a time is loaded in onnxruntime
LARGE_BYTES = 1 << 29
# 4 bits may become floats of so many times their size, and what is parsed is held several times
_STAYS = 8


def stays_in_file(path: Path) -> bool:
    """Return whether a model file is large enough for its large weights to stay there when it is read."""
    return path.stat().st_size >= LARGE_BYTES // _STAYS


def parse(path: Path) -> onnx.ModelProto:
    """Parse a model file; large initializers of a large one stay where they are (`stays_in_file`).

    Raises:
        DecodeError: It holds no ONNX message, or is cut short.
        ModelError: It holds more messages than can be parsed.
        OSError: It cannot be read.
    """
    import onnx

    if stays_in_file(path):
        return parse_lean(path)
    proto = onnx.ModelProto()
    with _mapped(path) as mapped, memoryview(mapped) as content:
        # a mapped file is not held beside what is parsed; the stubs know only bytes
        proto.ParseFromString(cast(bytes, content))
    return proto


def refers_to_files(path: Path) -> bool:
    """Return whether a model may have external data: a quick look, without parsing the file.

    Raises:
        OSError: It cannot be read.
    """
    if stays_in_file(path):
        return True  # looking at all of it would take longer, and much memory
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(b"location") >= 0  # the key of every reference to a file


def parse_lean(path: Path) -> onnx.ModelProto:
    """Parse a model file of any size, its large initializers as external data that lie in the file itself.

    Raises:
        DecodeError: It holds no ONNX message, or is cut short.
        ModelError: It holds more messages than can be parsed.
        OSError: It cannot be read.
    """
    import onnx
    from google.protobuf.message import DecodeError

    with _mapped(path) as mapped:
        try:
            lean = without_weights(mapped, path.name)
        except ValueError as error:
            raise DecodeError(str(error)) from error
    proto = onnx.ModelProto()
    proto.ParseFromString(lean)
    return proto


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """Yield a file's content, checked to hold no more than can be parsed.

    Raises:
        ModelError: It holds more.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        with memoryview(mapped) as content:
            check_messages(content, path)
        yield mapped

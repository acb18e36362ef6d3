"""Saving a model: to a temporary name in the target folder, checked, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import OutputError

if TYPE_CHECKING:
    import onnx_ir as ir

# protobuf refuses messages of 2 GiB; the margin holds the graph itself
INLINE_LIMIT_BYTES = (1 << 31) - (64 << 20)


def serialize(model: ir.Model) -> bytes:
    """Return the model as ONNX bytes; equal models give equal bytes. Weights in external files stay there."""
    import onnx_ir as ir

    return ir.to_proto(model).SerializeToString(deterministic=True)


def weight_bytes(model: ir.Model) -> int:
    """Return the size of all initializers and constants, in bytes."""
    return sum(tensor.nbytes for tensor in tensors(model))


def tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Yield every weight: initializers of all graphs, and tensors in node attributes (Constant nodes)."""
    import onnx_ir as ir

    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield attribute.as_tensor()


def write_model(model: ir.Model, path: Path) -> None:
    """Write the model to `path`, weights inside; from 2 GiB on they go to `<name>.data` beside it.

    The file is not renamed into place: use `publish` for a path that others read.
    """
    import onnx_ir as ir

    if weight_bytes(model) > INLINE_LIMIT_BYTES:
        ir.save(model, path, format="protobuf", external_data=f"{path.name}.data", size_threshold_bytes=1024)
        return
    if any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors(model)):
        model = ir.external_data.load_to_model(model.clone())
    path.write_bytes(serialize(model))


def publish(source: Path, target: Path, *, overwrite: bool) -> None:
    """Copy the checked model file `source` (and its external data) to `target`, by renaming in its folder.

    Either the complete new file stands at `target` afterwards, or what was there before.

    Raises:
        OutputError: `target` exists and `overwrite` is not set, or its folder cannot be written.
    """
    check_writable(target, overwrite=overwrite)
    data = source.with_name(source.name + ".data")
    with _temporary(target) as temporary:
        if data.exists():
            _publish_with_data(source, data, target, temporary)
        else:
            shutil.copyfile(source, temporary)
            _sync(temporary)
        temporary.replace(target)


def check_writable(target: Path, *, overwrite: bool) -> None:
    """Find out before any work whether `target` can be written.

    Raises:
        OutputError: It exists (and `overwrite` is not set), is a folder, or its folder is missing or read-only.
    """
    if target.is_dir():
        raise OutputError(f"{target}: is a folder", hint="Give the name of the file to write.")
    if target.exists() and not overwrite:
        raise OutputError(
            f"{target}: exists already", hint="Add --overwrite, or choose another name with -o."
        )
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder", hint=f"Create it: mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: cannot be written (permission denied)")


def publish_text(text: str, target: Path) -> None:
    """Write `text` to `target` by way of a temporary file in its folder.

    Raises:
        OutputError: The folder cannot be written.
    """
    check_writable(target, overwrite=True)
    with _temporary(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
        _sync(temporary)
        temporary.replace(target)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise OutputError(f"{target.parent}: cannot be written: {error.strerror or error}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _publish_with_data(source: Path, data: Path, target: Path, temporary: Path) -> None:
    import onnx

    proto = onnx.load(str(source), load_external_data=False)
    target_data = target.with_name(target.name + ".data")
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = target_data.name
    with _temporary(target_data) as temporary_data:
        shutil.copyfile(data, temporary_data)
        _sync(temporary_data)
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
        _sync(temporary)
        temporary_data.replace(target_data)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

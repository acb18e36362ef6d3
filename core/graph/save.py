"""Saving a model: to a temporary name in the target folder, checked, then renamed."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import OutputError
from onnx_pare.graph import protos
from onnx_pare.graph.stream import write_inline

if TYPE_CHECKING:
    import onnx_ir as ir

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# how file systems say that they know no synchronizing of folders
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_ELSEWHERE = "Choose another name or folder."
_TEMPORARY_SUFFIX = ".part"
# protobuf refuses messages of 2 GiB; the margin holds the graph itself
INLINE_LIMIT_BYTES = (1 << 31) - (64 << 20)


def serialize(model: ir.Model) -> bytes:
    """Return the model as ONNX bytes; equal models give equal bytes. Weights in external files stay there."""
    content: bytes = protos.from_model(model).SerializeToString(deterministic=True)
    return content


def weight_bytes(model: ir.Model) -> int:
    """Return the size of all initializers and constants, in bytes."""
    return sum(tensor.nbytes for tensor in tensors(model))


def tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Yield every weight: initializers of all graphs, and tensors in node attributes (Constant nodes)."""
    import onnx_ir as ir

    for value in _initializers(model):
        if value.const_value is not None:
            yield value.const_value
    for graph in model.graphs():
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield attribute.as_tensor()


def write_model(model: ir.Model, path: Path) -> None:
    """Write the model to `path`, weights inside; from 2 GiB on they go to `<name>.data` beside it.

    The file is not renamed into place: use `publish` for a path that others read.

    Raises:
        OutputError: The disk is full, the folder cannot be written, or Constant nodes hold 2 GiB or more.
    """
    if weight_bytes(model) > INLINE_LIMIT_BYTES:
        write_apart(model, path)
        return
    with output_errors(path):
        write_inline(model, path)


def write_apart(model: ir.Model, path: Path) -> None:
    """Write the model to `path`, its weights to `<name>.data` beside it, whatever their size.

    Raises:
        OutputError: The disk is full, the folder cannot be written, or Constant nodes hold 2 GiB or more.
    """
    import onnx_ir as ir

    _refuse_large_constants(model, path)
    with output_errors(path):
        # the threshold keeps shapes and axes, which onnx must see, in the graph
        ir.save(model, path, format="protobuf", external_data=data_file(path).name, size_threshold_bytes=1024)


def publish(source: Path, target: Path, *, overwrite: bool) -> None:
    """Copy the checked model file `source` (and its external data) to `target`, by renaming in its folder.

    Either the complete new file stands at `target` afterwards, or what was there before.

    Raises:
        OutputError: `target` exists and `overwrite` is not set, or its folder cannot be written.
    """
    check_writable(target, overwrite=overwrite)
    data, target_data = data_file(source), data_file(target)
    with _temporary(target) as temporary:
        if data.exists():
            check_writable(target_data, overwrite=overwrite)
            _publish_with_data(source, data, target, temporary)
        else:
            shutil.copyfile(source, temporary)
        _rename(temporary, target)


def data_file(path: Path) -> Path:
    """Return where the weights of a model at `path` lie if they do not fit into it."""
    return path.with_name(path.name + ".data")


def remove_model(path: Path) -> None:
    """Remove the model at `path` and its weights' file, as far as they are there."""
    path.unlink(missing_ok=True)
    data_file(path).unlink(missing_ok=True)


def same_file(a: Path, b: Path) -> bool:
    """Return whether two paths name one file, links followed; it need not exist yet."""
    if a.exists() and b.exists():
        return a.samefile(b)
    return os.path.realpath(a) == os.path.realpath(b)  # Path.resolve() fails on links in a circle


def check_writable(target: Path, *, overwrite: bool) -> None:
    """Find out before any work whether `target` can be written.

    A file is created there for a moment: permissions alone do not tell (root, read-only disks, full ones).

    Raises:
        OutputError: It exists (and `overwrite` is not set), is no regular file, or its folder is missing or
            cannot be written.
    """
    with output_errors(target):
        _check_target(target, overwrite=overwrite)
    with _temporary(target):
        pass


def _check_target(target: Path, *, overwrite: bool) -> None:
    folder = target.parent
    if not folder.is_dir():
        if folder.exists():
            raise OutputError(f"{folder}: is a file, not a folder", hint="Choose another folder.")
        raise OutputError(f"{folder}: no such folder", hint=f"Create it: mkdir -p {shlex.quote(str(folder))}")
    if target.is_dir():
        raise OutputError(f"{target}: is a folder", hint="Give the name of the file to write.")
    if target.exists() and not target.is_file():
        raise OutputError(f"{target}: is not a regular file", hint="Give the name of the file to write.")
    if target.exists() and not overwrite:
        raise OutputError(
            f"{target}: exists already", hint="Add --overwrite, or choose another name with -o."
        )


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is missing.

    Raises:
        OutputError: It cannot be made.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def remove_leftovers(target: Path) -> None:
    """Remove the temporary files that a killed process left while it wrote `target` or its weights' file."""
    for path in (target, data_file(target)):
        for left in target.parent.glob(f"{glob.escape(_temporary_prefix(path))}*{_TEMPORARY_SUFFIX}"):
            left.unlink(missing_ok=True)


def publish_text(text: str, target: Path) -> None:
    """Write `text` in UTF-8, as `publish_bytes` does."""
    publish_bytes(text.encode(), target)


def publish_bytes(data: bytes, target: Path) -> None:
    """Write a file, as `publishing` does."""
    with publishing(target) as temporary:
        temporary.write_bytes(data)


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """Yield a temporary file beside `target` to write to; it becomes `target` if the block ends well.

    Raises:
        OutputError: The folder cannot be written.
    """
    check_writable(target, overwrite=True)
    with _temporary(target) as temporary:
        yield temporary
        _rename(temporary, target)


def _temporary_prefix(target: Path) -> str:
    return f".{target.name[:40]}."


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Yield a new empty private file in the folder of `target`, gone afterwards unless it was renamed."""
    with output_errors(target):
        # known before the file is there: a signal may come in between
        name = f"{_temporary_prefix(target)}{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}"
        temporary = target.with_name(name)
        try:
            temporary.touch(0o600, exist_ok=False)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turn what the system says while `target` is written into an OutputError."""
    try:
        yield
    except OSError as error:
        full = error.errno in _NO_SPACE
        hint = "Free some space, or choose another folder." if full else _ELSEWHERE
        said = f"{target}: cannot be written: {error.strerror or error}"
        raise OutputError(said, hint=hint, full=full) from error


def _refuse_large_constants(model: ir.Model, path: Path) -> None:
    inside = sum(value.const_value.nbytes for value in _initializers(model) if value.const_value is not None)
    if weight_bytes(model) - inside > INLINE_LIMIT_BYTES:
        raise OutputError(
            f"{path}: Constant nodes hold more than a file of 2 GiB can",
            hint="Export the model with its weights as initializers.",
        )


def _initializers(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.initializers.values()


def _publish_with_data(source: Path, data: Path, target: Path, temporary: Path) -> None:
    import onnx

    proto = onnx.load(str(source), load_external_data=False)
    target_data = data_file(target)
    for tensor in protos.tensors(proto):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = target_data.name
    with _temporary(target_data) as temporary_data:
        shutil.copyfile(data, temporary_data)
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
        _sync(temporary)
        _rename(temporary_data, target_data)


def _rename(temporary: Path, target: Path) -> None:
    """Give a complete temporary file its final name and permissions, so that a power loss finds it complete.

    Its content reaches the disk before the new name does, and the name before this returns.
    """
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    _sync(temporary)
    temporary.replace(target)
    sync_folder(target.parent)


def sync_folder(path: Path) -> None:
    """Bring what a folder lists to the disk, where the system can: new names outlast a loss of power then."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        return
    try:
        _sync(path)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

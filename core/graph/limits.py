"""What a model may ask for: sizes are checked before anything of that size is made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError
from onnx_pare.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    import onnx_ir as ir

# where Linux tells what a container may use, in cgroups of version 2 and 1
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_bytes() -> int | None:
    """Return how much memory this process could have at most, None where the system does not tell.

    That is the least of the machine's memory, the container's, and the process's own limits.
    """
    return min(_memory_limits(), default=None)


def check_fits(what: str, shape: Sequence[int], size_bytes: int) -> None:
    """Refuse a tensor that no run on this machine could hold.

    Args:
        what: The tensor, for the message.
        shape: Its shape, for the message.
        size_bytes: Its size.

    Raises:
        ModelError: It is larger than all memory.
    """
    limit = memory_bytes()
    if limit is not None and size_bytes > limit:
        raise ModelError(
            f"{what} ({'×'.join(map(str, shape))}) needs {size_bytes / 1e9:,.1f} GB;"
            f" there are {limit / 1e9:,.1f} GB",
            hint="Give smaller shapes or a smaller batch, or use a machine with more memory.",
        )


def check_tensors(infos: Mapping[str, TensorInfo]) -> None:
    """Refuse the largest of these tensors, by name, if it is larger than all memory.

    Raises:
        ModelError: It is.
    """
    name = max(infos, key=lambda name: infos[name].size_bytes, default=None)
    if name is not None:
        check_fits(f"tensor '{name}'", infos[name].shape, infos[name].size_bytes)


def check_activations(model: ir.Model, inputs: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a model that makes a tensor larger than all memory, as far as shapes tell without a run.

    Args:
        model: The model.
        inputs: The shape of every input that is fed.

    Raises:
        ModelError: A tensor is too large; the message names it.
    """
    from onnx_pare.graph.flat import flattened
    from onnx_pare.graph.propagate import Walk
    from onnx_pare.graph.skeleton import skeleton

    infos, _ = Walk(skeleton(flattened(model), inputs)).result()
    check_tensors(infos)


def _memory_limits() -> Iterator[int]:
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in _CGROUPS:
        text = file.read_text().strip() if file.is_file() else ""
        if text.isdecimal():
            yield int(text)
    yield from _process_limits()


def _process_limits() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield limit

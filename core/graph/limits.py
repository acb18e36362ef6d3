"""What a model may ask for: sizes are checked before anything of that size is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError
from onnx_pare.graph.edit import static_shape
from onnx_pare.graph.tensor_info import TensorInfo, dtype_name
from onnx_pare.processes import machine_memory_bytes

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.propagate import Walk

# onnxruntime needs some microseconds for the shortest trip of a loop: this is half an hour
MAX_TRIPS = 1 << 30


def memory_bytes() -> int | None:
    """Return how much memory this process could have at most, None where the system does not tell.

    That is the least of the machine's memory, the container's, and the process's own limits.
    """
    limits = (machine_memory_bytes(), *_process_limits())
    return min((limit for limit in limits if limit is not None), default=None)


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


def check_walk(walk: Walk) -> None:
    """Refuse a model of which a walk knows that no run on this machine could hold or end it.

    Raises:
        ModelError: A tensor is larger than all memory, or a loop runs more than `MAX_TRIPS` times.
    """
    infos, _ = walk.result()
    check_tensors(infos)
    for name, trips in walk.trips.items():
        if trips > MAX_TRIPS:
            raise ModelError(
                f"the loop that makes '{name}' runs {trips:,} times: longer than any timeout",
                hint="Check where its trip count comes from; the file may be damaged.",
            )


def check_activations(model: ir.Model, inputs: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a model as `check_walk` does, by the shapes it declares and those that follow without a run.

    Args:
        model: The model.
        inputs: The shape of every input that is fed.

    Raises:
        ModelError: A tensor is too large, or a loop too long; the message names it.
    """
    from onnx_pare.graph.flat import flattened
    from onnx_pare.graph.propagate import Walk
    from onnx_pare.graph.skeleton import skeleton

    check_tensors(dict(_declared(model)))
    check_walk(Walk(skeleton(flattened(model), inputs)))


def _declared(model: ir.Model) -> Iterator[tuple[str, TensorInfo]]:
    import onnx_ir as ir

    for value in (value for graph in model.graphs() for node in graph for value in node.outputs):
        shape = static_shape(value)
        if shape is not None and value.dtype not in (None, ir.DataType.UNDEFINED):
            yield value.name or "", TensorInfo(dtype_name(value.dtype), shape)


def _process_limits() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield limit

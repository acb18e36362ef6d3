"""Asking onnxruntime for shapes that inference alone does not give."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import ModelError
from onnx_pare.graph.runnable import runnable
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Feeds, Session, SessionError
from onnx_pare.graph.signature import Port
from onnx_pare.graph.tensor_info import TensorInfo, dtype_name

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

Shape = tuple[int, ...]


def shapes(model: ir.Model, inputs: Mapping[str, Shape], wanted: Collection[str]) -> dict[str, TensorInfo]:
    """Return type and shape of the `wanted` tensors of the main graph.

    The part of the model that makes them is loaded in onnxruntime, whose inference covers its own operators.
    Tensors that even then have free dimensions are computed: the model RUNS once on zeros, and only those
    are fetched. Shapes that depend on the data are the ones zeros give. What is no tensor is left out.

    Raises:
        ModelError: onnxruntime does not load it, or fails on zeros.
    """
    part = _cut(model, inputs, wanted)
    with tempfile.TemporaryDirectory(prefix="onnx-pare-") as folder:
        path = Path(folder) / "part.onnx"
        write_model(part, path)
        try:
            session = Session(runnable(path, Path(folder)), optimize=False)
            found = _fixed(session.output_ports)
            missing = [name for name in session.outputs if name not in found]
            results = session.run(_zeros(part), missing) if missing else []
        except SessionError as error:
            raise ModelError(
                f"the shapes of {_listed(wanted)} cannot be found: {error}",
                hint="Check the input shapes (--shape input=1x3x224x224).",
            ) from error
    computed = zip(missing, results, strict=True)
    return found | {name: _measured(value) for name, value in computed if hasattr(value, "dtype")}


def _fixed(ports: Iterable[Port]) -> dict[str, TensorInfo]:
    infos = {}
    for port in ports:
        dims = tuple(dim for dim in port.shape or () if isinstance(dim, int))
        # onnxruntime reports scalars and unknown ranks alike
        if port.shape and len(dims) == len(port.shape):
            infos[port.name] = TensorInfo(port.dtype, dims)
    return infos


def _cut(model: ir.Model, inputs: Mapping[str, Shape], wanted: Collection[str]) -> ir.Model:
    """Return a clone with the wanted tensors as outputs, and only the nodes that they need."""
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    part = model.clone()
    graph = part.graph
    for value in list(graph.inputs):
        if value.name is not None and value.name in inputs:
            value.shape = ir.Shape(inputs[value.name])
        elif value.name in graph.initializers:
            graph.inputs.remove(value)
    made = [value for node in graph for value in node.outputs]
    for value in made:
        value.shape = None
    graph.outputs.clear()
    graph.outputs.extend(value for value in made if value.name in wanted)
    return RemoveUnusedNodesPass()(part).model


def _zeros(model: ir.Model) -> Feeds:
    import numpy as np
    import onnx_ir as ir

    feeds = {}
    for value in model.graph.inputs:
        dtype: Any = (
            object if value.dtype == ir.DataType.STRING else (value.dtype or ir.DataType.FLOAT).numpy()
        )
        shape = value.shape.numpy() if value.shape is not None else ()
        feeds[value.name or ""] = np.full(shape, "", object) if dtype is object else np.zeros(shape, dtype)
    return feeds


def _measured(array: np.ndarray[Any, Any]) -> TensorInfo:
    import onnx_ir as ir

    kind = ir.DataType.STRING if array.dtype == object else ir.DataType.from_numpy(array.dtype)
    return TensorInfo(dtype_name(kind), array.shape)


def _listed(names: Collection[str]) -> str:
    first = [f"'{name}'" for name in list(names)[:3]]
    return ", ".join(first) + (f" and {len(names) - 3} more tensors" if len(names) > 3 else "")

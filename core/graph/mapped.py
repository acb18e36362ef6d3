"""Weights that lie in a file and take memory only while somebody looks at them.

`onnx_ir.ExternalTensor` maps its file at the first look and keeps it mapped: after a walk over all weights
all of them are resident. Here every look maps the file anew, and the mapping goes with the array.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.graph.lean import parse_lean
from onnx_pare.processes import give_back

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def map_weights(model: ir.Model, path: Path) -> None:
    """Replace the external initializers of the main graph of the model at `path`, in place."""
    import onnx_ir as ir

    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            value.const_value = _mapped(value.const_value, path)


def hold_at(model: ir.Model, path: Path) -> None:
    """Let the large initializers of a model lie in the file at `path`, to which it was written.

    What holds them in memory is let go, unless others hold it too, and given back to the system. Small ones
    that lie in another file are then in memory.
    """
    import onnx
    import onnx_ir as ir

    for proto in parse_lean(path).graph.initializer:
        value = model.graph.initializers[proto.name]
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            value.const_value = located(proto, path)
        elif isinstance(value.const_value, ir.LazyTensor):
            value.const_value = ir.from_proto(proto)
    give_back()


def lies_in_files(model: ir.Model) -> bool:
    """Return whether some weights of a model lie in files, or are made of such when they are looked at."""
    import onnx_ir as ir

    values = model.graph.initializers.values()
    return any(isinstance(value.const_value, ir.LazyTensor) for value in values)


def located(proto: onnx.TensorProto, path: Path) -> ir.LazyTensor:
    """Return a tensor with external data, of the model at `path`."""
    import onnx_ir as ir

    tensor = ir.from_proto(proto)
    assert isinstance(tensor, ir.ExternalTensor)
    tensor.base_dir = path.parent
    return _mapped(tensor, path)


def _mapped(tensor: ir.ExternalTensor, path: Path) -> ir.LazyTensor:
    import onnx_ir as ir

    location, folder = tensor.location, tensor.base_dir
    if location == path.name:
        # the model file itself, which may be a link: it was opened already, by this path
        location, folder = str(path.absolute()), ""

    def look() -> ir.ExternalTensor:
        return ir.ExternalTensor(
            location,
            tensor.offset,
            tensor.length,
            tensor.dtype,
            shape=tensor.shape,
            name=tensor.name,
            base_dir=folder,
        )

    return ir.LazyTensor(
        look,
        tensor.dtype,
        tensor.shape,
        name=tensor.name,
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
    )

"""Raising a model's opset, for passes whose operators came later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.errors import ModelError
from onnx_pare.graph.load import first_line
from onnx_pare.graph.metadata import carry_metadata
from onnx_pare.graph.normalize import name_nodes
from onnx_pare.graph.unweighted import unweighted

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

# operators the converter passes over although a version changed their inputs: name -> that version
_MISCONVERTED = {"Scan": 9}


def raise_opset(model: ir.Model, minimum: int) -> ir.Model:
    """Return the model with the default opset raised to `minimum`; the same object if it is already there.

    `onnx.version_converter` rewrites the nodes; large weights never pass through it and are not copied.
    Names of inputs, outputs, initializers and nodes are kept, and so is all metadata. The model given stays
    as it is.

    Raises:
        ModelError: The converter refuses an operator, or what it made does not check.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import InlinePass

    version = model.graph.opset_imports.get("", model.opset_imports.get("", 0))
    if not version or version >= minimum:
        return model
    _refuse_misconverted(model, version, minimum)
    source = model.clone()
    if source.functions:
        InlinePass()(source)
    result = ir.from_proto(_convert(unweighted(source), version, minimum))
    _restore_inputs_and_weights(result, source)
    carry_metadata(source, result)
    name_nodes(result)
    return result


def _refuse_misconverted(model: ir.Model, version: int, minimum: int) -> None:
    for graph in model.graphs():
        for node in graph:
            changed = _MISCONVERTED.get(node.op_type, 0) if node.domain == "" else 0
            if version < changed <= minimum:
                raise _refusal(version, minimum, f"{node.op_type} (node '{node.name}')")


def _refusal(version: int, minimum: int, reason: str) -> ModelError:
    return ModelError(
        f"opset {version} must be raised to {minimum}, and the converter refuses: {reason}",
        hint=f"Export the model again with opset {minimum} or newer.",
    )


def _convert(proto: onnx.ModelProto, version: int, minimum: int) -> onnx.ModelProto:
    import onnx.checker
    import onnx.version_converter

    proto.ir_version = max(proto.ir_version, _ir_version(minimum))
    try:
        result = onnx.version_converter.convert_version(proto, minimum)
        onnx.checker.check_model(result)
    except Exception as error:  # ConvertError, RuntimeError and ValidationError, without a common base
        raise _refusal(version, minimum, first_line(error)) from error
    return result


def _ir_version(opset: int) -> int:
    """Return the oldest IR version that may carry the opset."""
    from onnx import helper

    import_ = helper.make_opsetid("", opset)
    return int(helper.find_min_ir_version_for([import_]))


def _restore_inputs_and_weights(result: ir.Model, source: ir.Model) -> None:
    """Take the initializers out of the inputs again and give the large ones back their content."""
    graph = result.graph
    inputs = {value.name for value in source.graph.inputs}
    weights = {name: value.const_value for name, value in source.graph.initializers.items()}
    for value in list(graph.inputs):
        if value.name in weights:
            value.const_value = weights[value.name]
            graph.register_initializer(value)
        if value.name not in inputs:
            graph.inputs.remove(value)

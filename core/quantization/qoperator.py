"""From Q/DQ pairs to operators that take integers: the QOperator form of a statically quantized model.

    DequantizeLinear → Conv → Relu → QuantizeLinear      becomes      QLinearConv

and likewise for every operator of `qoperator_forms`. Integers, scales and zero points stay what they were;
pairs remain only where floats begin and end. onnxruntime does the same when it loads pairs, so that results
agree; the file has far fewer nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_pare.errors import UsageError
from onnx_pare.graph.edit import take_over
from onnx_pare.quantization import kernels
from onnx_pare.quantization.qoperator_forms import CONTRIB, FORMS, Made, Site, dequantized, same_parameters

if TYPE_CHECKING:
    import onnx_ir as ir

# left between pairs: onnxruntime 1.20 has no integer kernel for it, and newer ones drop the pairs themselves
PAIRED = frozenset({"DepthToSpace"})


@dataclass
class Converted:
    """What became of the quantized operators.

    Attributes:
        kernels: How many of each integer operator were made; carriers count under their own name.
        left: How many of each operator stay between pairs, having no integer form.
    """

    kernels: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


def to_qoperator(model: ir.Model) -> Converted:
    """Replace operators between Q/DQ pairs of the main graph by integer operators, in place.

    Raises:
        UsageError: Activations have 16 bits, for which onnxruntime has no integer operators.
    """
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    _refuse_16_bits(model.graph)
    converted, ranks = Converted(), _ranks(model)
    for node in list(model.graph):
        if node.graph is None or node.domain != "":  # gone into a kernel before it, or not ours
            continue
        if node.op_type in kernels.CARRIERS:
            _carry(node, converted)
        elif node.op_type in FORMS:
            _convert(_site(node, ranks), converted)
    if any(node.domain == CONTRIB for node in model.graph):
        model.graph.opset_imports.setdefault(CONTRIB, 1)
    RemoveUnusedNodesPass()(model)
    return converted


def _refuse_16_bits(graph: ir.Graph) -> None:
    import onnx_ir as ir

    for node in graph:
        zero = node.inputs[2] if node.op_type == "QuantizeLinear" and len(node.inputs) > 2 else None
        if zero is not None and zero.dtype in (ir.DataType.UINT16, ir.DataType.INT16):
            name = node.inputs[0].name if node.inputs[0] is not None else ""
            raise UsageError(
                f"format: qoperator: activation '{name}' has 16 bits; integer operators take 8 only",
                hint="Use format: qdq, or 8-bit activations.",
            )


def _ranks(model: ir.Model) -> dict[str, int]:
    """Return how many dimensions tensors have, where shape inference tells; the model stays as it is.

    Only the forms of MatMul ask.
    """
    from onnx_ir.passes.common import ShapeInferencePass

    if not any(node.op_type == "MatMul" for node in model.graph):
        return {}
    inferred = ShapeInferencePass(data_prop=False)(model.clone()).model
    made = (value for node in inferred.graph for value in node.outputs)
    return {value.name or "": len(value.shape) for value in made if value.shape is not None}


def _convert(site: Site, converted: Converted) -> None:
    """Replace an anchor or follower with all that its integer form takes in."""
    node = site.node
    data = site.sources()[: kernels.FOLLOWERS.get(node.op_type, 2)]
    if not data or any(source is None for source in data):
        return
    made = FORMS[node.op_type](site)
    if made is not None:
        _replace(site, made)
        converted.kernels[made.op_type] += 1
    elif site.quantize is not None or node.op_type in kernels.ANCHORS:
        converted.left[node.op_type] += 1


def _site(node: ir.Node, ranks: Mapping[str, int]) -> Site:
    """Follow what a node makes through a bias and a Relu or Clip to its QuantizeLinear."""
    bias = kernels.only_reader(node.outputs[0]) if node.op_type == "MatMul" else None
    if bias is not None and (bias.op_type != "Add" or not _adds_integers(bias)):
        bias = None
    last = bias or node
    activation = kernels.absorbed_activation(last)
    quantize = kernels.only_reader((activation or last).outputs[0])
    if quantize is not None and quantize.op_type != "QuantizeLinear":
        quantize = None
    rank = None if node.inputs[0] is None else ranks.get(node.inputs[0].name or "")
    return Site(node, rank, bias, activation, quantize)


def _adds_integers(add: ir.Node) -> bool:
    import onnx_ir as ir

    sources = [dequantized(value) for value in add.inputs]
    return any(source is not None and source.integers.dtype == ir.DataType.INT32 for source in sources)


def _replace(site: Site, made: Made) -> None:
    """Put what was made in the place of the nodes it does the work of."""
    import onnx_ir as ir

    graph = site.node.graph
    assert isinstance(graph, ir.Graph)
    gone = [node for node in made.replaces if node is not None]
    old = gone[-1].outputs[0]
    new = ir.node(
        made.op_type, made.inputs, attributes=made.attributes, domain=made.domain, name=site.node.name
    )
    graph.insert_before(gone[-1], new)
    take_over(old, new.outputs[0])
    for node in reversed(gone):
        graph.remove(node, safe=True)


def _carry(node: ir.Node, converted: Converted) -> None:
    """Let an operator that only moves values move the integers."""
    source = dequantized(node.inputs[0]) if node.inputs else None
    readers = [kernels.only_reader(value) for value in node.outputs]
    if source is None or any(reader is None or reader.op_type != "QuantizeLinear" for reader in readers):
        return
    quantizes = [reader for reader in readers if reader is not None]
    same = all(same_parameters(source, quantize) for quantize in quantizes)
    if node.op_type in PAIRED or not same:
        converted.left[node.op_type] += 1
        return
    node.replace_input_with(0, source.integers)
    for value, quantize in zip(node.outputs, quantizes, strict=True):
        take_over(quantize.outputs[0], value)
        assert quantize.graph is not None
        quantize.graph.remove(quantize, safe=True)
    converted.kernels[node.op_type] += 1

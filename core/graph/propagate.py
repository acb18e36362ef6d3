"""Shape inference that also computes the contents of small tensors, and follows branches and loops."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from onnx_pare.graph import control_flow
from onnx_pare.graph.skeleton import graphs, outputs, subgraphs
from onnx_pare.graph.tensor_info import TensorInfo, from_type, is_concrete, tensor_type, to_type

if TYPE_CHECKING:
    import numpy as np
    import onnx

logger = logging.getLogger(__name__)

# tensors up to this many elements are computed: shapes, axes, conditions, index ranges
VALUE_LIMIT_ELEMENTS = 4096
RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


class Walk:
    """Shapes, types and small contents of a skeleton's tensors.

    onnx's inference comes first; what it leaves open is walked node by node, in topological order, with the
    contents known so far handed to the inference of each node.

    Attributes:
        types: Value name -> its type, concrete or not.
        contents: Value name -> content, of the small tensors that were computed.
        trips: First output of a Loop or Scan -> how often its body runs, where that is known.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._proto = _inferred(proto)
        self.opsets: dict[str, int] = {opset.domain: opset.version for opset in proto.opset_import}
        self.types: dict[str, onnx.TypeProto] = {}
        self.contents: dict[str, np.ndarray[Any, Any]] = {}
        self.trips: dict[str, int] = {}
        for graph in graphs(self._proto.graph):
            self.types.update(_declared(graph))
        if self.unresolved() or any(subgraphs(node) for node in self._proto.graph.node):
            self.walk(self._proto.graph)

    def unresolved(self) -> list[str]:
        """Return the tensors of the main graph whose shape is open."""
        return [name for name in outputs(self._proto.graph) if not self.known(name)]

    def learn(self, found: Mapping[str, TensorInfo]) -> None:
        """Take over shapes found elsewhere, and walk on from there."""
        self.types.update((name, to_type(info)) for name, info in found.items())
        self.walk(self._proto.graph)

    def result(self) -> tuple[dict[str, TensorInfo], tuple[str, ...]]:
        """Return what is known of all tensors, and the names of those whose shape is not."""
        infos = {name: from_type(kind) for name, kind in self.types.items() if is_concrete(kind)}
        made = (name for graph in graphs(self._proto.graph) for name in outputs(graph))
        return infos, tuple(name for name in made if not self.known(name))

    def known(self, name: str) -> bool:
        """Return whether the tensor's shape is known, or it is no tensor."""
        kind = self.types.get(name)
        return kind is not None and (kind.WhichOneof("value") != "tensor_type" or is_concrete(kind))

    def walk(self, graph: onnx.GraphProto) -> None:
        """Infer and compute what can be, from the graph's first node to its last."""
        from onnx import numpy_helper

        for tensor in graph.initializer:
            if tensor.name not in self.contents and _is_small(tensor.dims) and not tensor.external_data:
                self.contents[tensor.name] = numpy_helper.to_array(tensor)
        for node in graph.node:
            follow = None if node.domain else control_flow.FOLLOW.get(node.op_type)
            if follow is not None:
                if control_flow.fits(node):
                    follow(self, node)
                continue
            if not all(self.known(name) for name in node.output if name):
                self._infer(node)
            self._evaluate(node)

    def _infer(self, node: onnx.NodeProto) -> None:
        """Infer one node's outputs, with the contents of its small inputs."""
        from onnx import defs, numpy_helper, shape_inference

        inputs = [name for name in node.input if name]
        if not all(name in self.types for name in inputs):
            return
        try:
            schema = defs.get_schema(node.op_type, self.opsets.get(node.domain, 1), node.domain)
        except defs.SchemaError:
            return  # an operator of onnxruntime's own: probe asks it
        data = {
            name: numpy_helper.from_array(self.contents[name]) for name in inputs if name in self.contents
        }
        types = {name: self.types[name] for name in inputs}
        opsets = list(self._proto.opset_import)
        try:
            found = shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=opsets, ir_version=self._proto.ir_version
            )
        except Exception as error:  # onnx's C++ side raises InferenceError, ValidationError and ValueError
            logger.debug("node '%s' (%s): %s", node.name, node.op_type, error)
            return
        self.types.update((name, kind) for name, kind in found.items() if not self.known(name))

    def _evaluate(self, node: onnx.NodeProto) -> None:
        """Compute a node's outputs if they are small and depend on shapes and constants alone."""
        made = [name for name in node.output if name]
        if all(name in self.contents for name in made) or node.op_type in RANDOM_OPS:
            return
        if node.op_type in _MEASURES and not node.domain:
            self._measure(node)
        elif all(name in self.contents for name in node.input if name) and all(map(self._fits, made)):
            self._compute(node)

    def _fits(self, name: str) -> bool:
        kind = self.types.get(name)
        return kind is not None and (not is_concrete(kind) or _is_small(from_type(kind).shape))

    def _measure(self, node: onnx.NodeProto) -> None:
        import numpy as np

        kind = self.types.get(node.input[0])
        if kind is None or not is_concrete(kind):
            return
        shape = from_type(kind).shape
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        part = shape[bounds.get("start", 0) : bounds.get("end", len(shape))]
        content: Any = part if node.op_type == "Shape" else math.prod(shape)
        self._set(node.output[0], np.asarray(content, np.int64))

    def _compute(self, node: onnx.NodeProto) -> None:
        from onnx import ValueInfoProto, helper
        from onnx.reference import ReferenceEvaluator

        feeds = {name: self.contents[name] for name in node.input if name}
        made = [name for name in node.output if name]
        fed, fetched = ([ValueInfoProto(name=name) for name in names] for names in (feeds, made))
        graph = helper.make_graph([node], "node", fed, fetched)
        try:
            results = ReferenceEvaluator(graph, opsets=self.opsets).run(None, feeds)
        except Exception as error:  # the reference implementation raises whatever numpy does
            logger.debug("node '%s' (%s) is not computed: %s", node.name, node.op_type, error)
            return
        for name, result in zip(made, results, strict=True):
            if hasattr(result, "dtype") and _is_small(result.shape):
                self._set(name, result)

    def _set(self, name: str, content: np.ndarray[Any, Any]) -> None:
        from onnx import helper

        self.contents[name] = content
        if not self.known(name):
            self.types[name] = tensor_type(helper.np_dtype_to_tensor_dtype(content.dtype), content.shape)


_MEASURES = frozenset({"Shape", "Size"})


def _inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with what onnx infers; as it is if it declares shapes that contradict each other."""
    from onnx.shape_inference import InferenceError, infer_shapes

    try:
        # no data_prop: it would make a dimension of every element of any tensor of one dimension
        return infer_shapes(proto)
    except InferenceError as error:
        logger.debug("left to the walk: %s", error)
        return proto


def _declared(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    values = (*graph.value_info, *graph.output, *graph.input)
    types = {v.name: v.type for v in values if v.type.WhichOneof("value")}
    return types | {t.name: tensor_type(t.data_type, t.dims) for t in graph.initializer}


def _is_small(shape: Iterable[int]) -> bool:
    return math.prod(shape) <= VALUE_LIMIT_ELEMENTS

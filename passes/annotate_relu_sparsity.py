"""Measuring how many activations are zero, and writing it into the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from onnx_pare import __version__
from onnx_pare.passes.base import Context, Outcome, Pass, register
from onnx_pare.sparsity.metadata import Measurement, Zeros, write_measurement, write_zeros

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class _Measured:
    node: ir.Node
    zeros: Zeros
    elements: int

    def note(self) -> dict[str, Any]:
        return {
            "node": self.node.name,
            "op": self.node.op_type,
            "zero_fraction": round(self.zeros.fraction, 6),
            "channels": len(self.zeros.per_channel),
            "dead_channels": list(self.zeros.dead_channels),
        }


@register
class AnnotateReluSparsity(Pass):
    """Measure the fraction of zeros after every Relu and write it into the file as metadata.

    Measured are Relu, Clip from 0, ThresholdedRelu and Max with 0 of the main graph, in total and per channel
    (axis 1; the last axis behind a MatMul or Gemm), and which channels never fire on the samples. The keys
    are described in docs/passes.md. Keeps the graph: names, nodes, weights and IR version stay as they are.
    """

    lossless = True
    calibrates = True

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Annotate in place; `changed` counts nodes whose annotation is new, or 1 if only the model's is.

        Raises:
            DataError: The model does not run on the samples.
        """
        from onnx_pare.sparsity.activations import makes_zeros

        nodes = [node for node in model.graph if makes_zeros(node)]
        inner = chain(model.graph.subgraphs(), (function.graph for function in model.functions.values()))
        left = sum(makes_zeros(node) for graph in inner for node in graph)
        if not nodes:
            return Outcome(model, 0, {"activations": [], "left_alone": left}, (_nothing(left),))
        measured = list(_measure(model, nodes, context))
        overall = _overall(measured)
        changed = sum(write_zeros(entry.node, entry.zeros) for entry in measured)
        samples = context.samples
        record = Measurement(
            len(samples), samples.source, samples.random, overall, f"onnx-pare {__version__}"
        )
        changed = max(changed, int(write_measurement(model, record)))
        notes = {
            "activations": [entry.note() for entry in measured],
            "zero_fraction": round(overall, 6),
            "channels": sum(len(entry.zeros.per_channel) for entry in measured),
            "dead_channels": sum(len(entry.zeros.dead_channels) for entry in measured),
            "samples": len(samples),
            "left_alone": left,
        }
        return Outcome(model, changed, notes, tuple(_warnings(left)))


def _measure(model: ir.Model, nodes: Sequence[ir.Node], context: Context) -> Iterator[_Measured]:
    from onnx_pare.sparsity.activations import ZeroCounter, channels_last

    counters = {node.outputs[0].name or "": ZeroCounter(channels_last(node)) for node in nodes}
    context.observe(model, counters, label="measuring zeros")
    for node in nodes:
        counter = counters[node.outputs[0].name or ""]
        yield _Measured(node, counter.result(), counter.elements)


def _overall(measured: Sequence[_Measured]) -> float:
    elements = sum(entry.elements for entry in measured)
    return sum(entry.zeros.fraction * entry.elements for entry in measured) / elements if elements else 0.0


def _nothing(left: int) -> str:
    inside = f"; {left} inside of subgraphs or functions are left alone" if left else ""
    return f"no Relu (nor Clip from 0, ThresholdedRelu, Max with 0) to measure{inside}"


def _warnings(left: int) -> Iterator[str]:
    if left:
        yield f"{left} activations inside of subgraphs or functions were not measured"

"""Measuring how many activations are zero, and writing it into the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from onnx_pare import __version__
from onnx_pare.passes.base import Context, Outcome, Pass, register
from onnx_pare.sparsity import metadata
from onnx_pare.sparsity.measured import Activation, Bend, Entry, Layer
from onnx_pare.sparsity.share import Measurement

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.cost.effective import Macs
    from onnx_pare.sparsity.counting import Counters


@register
class AnnotateReluSparsity(Pass):
    """Measure the zeros after every Relu and its like and in what layers read; write them into the file.

    Measured are all activations of the main graph that make exact zeros (Relu, Clip from 0, HardSwish, …; in
    a quantized model also what ends at the zero point), the negative share of LeakyRelu and PRelu, and the
    inputs of convolutions and matrix products; over samples and over channels. The keys are described in
    docs/passes.md. Keeps the graph: names, nodes, weights and IR version stay as they are.
    """

    lossless = True
    calibrates = True

    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Annotate in place; `changed` counts annotations that are new, or 1 if only the model's is.

        Raises:
            DataError: The model does not run on the samples.
        """
        from onnx_pare.sparsity.counting import Counters

        left = _left_alone(model)
        counters = Counters()
        activations = list(_activations(model, counters))
        if not activations:
            return Outcome(model, 0, {"activations": [], "left_alone": left}, (_nothing(left),))
        entries: list[Entry] = [*activations, *_layers(model, counters)]
        _observe(model, counters, context)
        samples = context.samples
        changed = sum(entry.write(len(samples)) for entry in entries)
        overall = _overall(activations)
        tool = f"onnx-pare {__version__}"
        record = Measurement(len(samples), samples.source, samples.random, overall, tool)
        changed = max(changed, int(metadata.write_measurement(model, record)))
        notes = _notes(entries, len(samples)) | {
            "zero_fraction": round(overall, 6),
            "samples": len(samples),
            "left_alone": left,
            **_saving(_work(model, context)),
        }
        return Outcome(model, changed, notes, tuple(_warnings(left)))


def _left_alone(model: ir.Model) -> int:
    from onnx_pare.sparsity.activations import bends, makes_zeros

    inner = chain(model.graph.subgraphs(), (function.graph for function in model.functions.values()))
    return sum(makes_zeros(node) or bends(node) for graph in inner for node in graph)


def _activations(model: ir.Model, counters: Counters) -> Iterator[Activation | Bend]:
    from onnx_pare.sparsity.activations import bends, channels_last, makes_zeros
    from onnx_pare.sparsity.integers import read, stored

    for node in model.graph:
        axis = -1 if channels_last(node) else 1
        if makes_zeros(node):
            yield Activation(node, counters.of(stored(node), axis))
        elif bends(node) and (source := read(node, 0)) is not None:
            yield Bend(node, counters.of(source, axis, below=True))


def _layers(model: ir.Model, counters: Counters) -> Iterator[Layer]:
    """Yield every activation that a layer multiplies, once for each operand."""
    from onnx_pare.cost.call import operator
    from onnx_pare.cost.constants import constant_values
    from onnx_pare.cost.contraction import summed_axis
    from onnx_pare.cost.macs import MACS
    from onnx_pare.sparsity.integers import read

    constants = constant_values(model)
    for node in model.graph:
        rule = MACS.get(operator(node))
        for operand, slot in enumerate(rule.operands if rule else ()):
            source = read(node, slot)
            if source is not None and source.value.name not in constants:
                yield Layer(node, counters.of(source, summed_axis(node, operand)), slot)


def _observe(model: ir.Model, counters: Counters, context: Context) -> None:
    from onnx_pare.calibration.observers import Several

    observers = {name: Several(found) for name, found in counters.by_tensor().items()}
    context.observe(model, observers, label="measuring zeros")


def _overall(measured: Sequence[Activation | Bend]) -> float:
    counters = [entry.counter for entry in measured if isinstance(entry, Activation)]
    elements = sum(counter.elements for counter in counters)
    zeros = sum(counter.share().fraction * counter.elements for counter in counters)
    return zeros / elements if elements else 0.0


def _notes(entries: Sequence[Entry], samples: int) -> dict[str, Any]:
    """Return the entries, grouped by kind, and totals of their channels."""
    notes: dict[str, Any] = {kind.key: [] for kind in (Activation, Bend, Layer)}
    for entry in entries:
        notes[entry.key].append({"node": entry.node.name, "op": entry.node.op_type, **entry.facts(samples)})
    found = notes[Activation.key]
    notes["channels"] = sum(each["channels"] for each in found)
    notes["dead_channels"] = sum(len(each["dead_channels"]) for each in found)
    return notes


def _work(model: ir.Model, context: Context) -> Macs:
    from onnx_pare.cost.count import count
    from onnx_pare.graph.shapes import infer

    feeds, _ = next(context.samples.batches(1))
    return count(model, infer(model, {name: feed.shape for name, feed in feeds.items()})).work


def _saving(work: Macs) -> dict[str, Any]:
    """Return the MACs, and what part of them hardware can skip that skips zeros of one kind or both."""
    left = {
        "zero_weights": work.nonzero_weight,
        "zero_activations": work.nonzero_activation,
        "both": work.effective,
    }
    saved = {kind: round(1 - macs / work.total, 6) for kind, macs in left.items()} if work.total else {}
    return {**work.facts(), "saved_by_skipping": saved}


def _nothing(left: int) -> str:
    inside = f"; {left} inside of subgraphs or functions are left alone" if left else ""
    return f"no Relu (nor another activation that makes exact zeros) to measure{inside}"


def _warnings(left: int) -> Iterator[str]:
    if left:
        yield f"{left} activations inside of subgraphs or functions were not measured"

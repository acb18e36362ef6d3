"""What layers cost in time: each alone, as it is and replaced, timed in turn in onnxruntime on this machine.

Multiply-accumulates mislead: at 16 channels a separable convolution of rank 3 has half of them and no gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.bench.race import race, stopwatch, written
from onnx_pare.graph.edit import Names
from onnx_pare.graph.session import Feeds
from onnx_pare.progress import Progress
from onnx_pare.sparsity.choosing import Candidate, Choice
from onnx_pare.sparsity.layers import Layer, layer_of
from onnx_pare.sparsity.substitution import Kind, bias_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes

# seconds for one layer in all its forms, and for one model against another
LAYER_S, MODEL_S = 1.0, 5.0
# one inference at a time is timed on one thread, as `benchmark` does by default
THREADS = 1


@dataclass
class Prices:
    """Measured times of layers.

    Attributes:
        scratch: Folder for temporary files.
        seed: Seed of inputs and intervals.
        table: Milliseconds by node name and rank, rank 0 being the layer as it is.
    """

    scratch: Path
    seed: int = 0
    table: dict[tuple[str, int], float] = field(default_factory=dict)

    def __call__(self, candidate: Candidate, choice: Choice | None) -> float:
        """Return what a layer takes with a choice, or as it is, in ms."""
        return self.table[candidate.name, choice.rank if choice else 0]

    def measure(
        self, kind: Kind, layers: Mapping[Layer, Sequence[int]], shapes: Shapes, progress: Progress
    ) -> None:
        """Time layers as they are and with each of their ranks; those of one geometry are timed once."""
        known: dict[Any, dict[int, float]] = {}
        with progress.task("timing layers", len(layers)) as advance:
            for layer, ranks in layers.items():
                shape = shapes[layer.source.name or ""].shape
                key = (_geometry(layer, shape), tuple(ranks))
                if key not in known:
                    known[key] = self._timed(kind, layer, ranks, shape)
                self.table |= {(layer.node.name or "", rank): ms for rank, ms in known[key].items()}
                advance(1)

    def is_faster(self, name: str, rank: int) -> bool:
        """Tell whether a layer is faster with a rank."""
        return self.table[name, rank] < self.table[name, 0]

    def without_slower(self, candidate: Candidate) -> Candidate:
        """Return a candidate without the choices that are no faster than the layer."""
        faster = tuple(choice for choice in candidate.choices if self.is_faster(candidate.name, choice.rank))
        return replace(candidate, choices=faster)

    def compare(self, before: ir.Model, after: ir.Model, feeds: Feeds) -> tuple[float, float]:
        """Return the latency of `before` in ms, and that of `after` divided by it."""
        with written([before, after], self.scratch) as (one, other):
            measure = stopwatch(feeds, threads=THREADS, seed=self.seed)
            (timing,) = race(one, [other], measure, MODEL_S)
        return timing.latency_ms * timing.speedup, 1 / timing.speedup

    def _timed(
        self, kind: Kind, layer: Layer, ranks: Sequence[int], shape: tuple[int, ...]
    ) -> dict[int, float]:
        """Return the times by rank."""
        forms = [_alone(layer, shape), *(_replaced(kind, layer, shape, rank) for rank in ranks)]
        x = np.random.default_rng(self.seed).normal(size=shape).astype(np.float32)
        with written(forms, self.scratch) as paths:
            measure = stopwatch({layer.source.name or "": x}, threads=THREADS, seed=self.seed)
            timings = race(paths[0], paths[1:], measure, LAYER_S)
        as_it_is = float(np.median([timing.latency_ms * timing.speedup for timing in timings]))
        return {0: as_it_is} | {
            rank: as_it_is / timing.speedup for rank, timing in zip(ranks, timings, strict=True)
        }


def _geometry(layer: Layer, shape: tuple[int, ...]) -> Any:
    attributes = sorted(f"{name}={value.value}" for name, value in layer.node.attributes.items())
    return layer.node.op_type, shape, layer.weight().shape, bias_of(layer) is None, tuple(attributes)


def _alone(layer: Layer, shape: tuple[int, ...]) -> ir.Model:
    """Return a model of nothing but the layer."""
    import onnx_ir as ir

    graph = layer.node.graph
    assert graph is not None
    part = ir.convenience.extract(graph, [layer.source], [layer.result])
    part.inputs[0].shape = ir.Shape(shape)
    part.inputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    part.outputs[0].shape = None
    return ir.Model(part, ir_version=8)


def _replaced(kind: Kind, layer: Layer, shape: tuple[int, ...], rank: int) -> ir.Model:
    model = _alone(layer, shape)
    own = layer_of(next(node for node in model.graph if node.name == layer.node.name))
    assert own is not None
    kind.emit(own, kind.decompose(own, rank), bias_of(own), Names(model))
    return model

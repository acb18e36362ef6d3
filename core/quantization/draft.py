"""A float model made ready, what calibration saw of it, and int8 models built from both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onnx_pare.calibration.moments import Moments
from onnx_pare.calibration.observers import Histogram, Observer, Several
from onnx_pare.calibration.ranges import Method, Range, choose_range
from onnx_pare.calibration.window import Window
from onnx_pare.graph.edit import constant
from onnx_pare.quantization.affine import Affine, Integers, activation_affine
from onnx_pare.quantization.layers import Layers
from onnx_pare.quantization.placement import Placement, place
from onnx_pare.quantization.qdq import insert

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples

#: shows the activations of a model over samples to observers, by tensor name
Observe = Callable[["ir.Model", Mapping[str, Observer], "Samples"], object]
Names = frozenset[str]


@dataclass(frozen=True)
class Manner:
    """How activations and weights become integers.

    Attributes:
        ranges: How the range of an activation is chosen from its histogram.
        percentile: For `ranges="percentile"`, in %.
        integers: What activations are held in.
        layers: How weights are rounded; what is known of their inputs comes from the draft.
    """

    ranges: Method = "auto"
    percentile: float = 99.99
    integers: Integers = "uint8"
    layers: Layers = field(default_factory=Layers)


@dataclass
class Draft:
    """A float model, and what was seen of its activations and of its layers' inputs.

    Attributes:
        model: Its opset is 13 or newer, its BatchNormalizations are folded; it is never changed.
        samples: What calibration runs over.
        observe: How it does.
        skipped: Names of nodes that stay float whatever is built.
        histograms: By tensor name.
        sources: For tensors that only hold values of another one, the name of that one.
        moments: By node name.
    """

    model: ir.Model
    samples: Samples
    observe: Observe
    skipped: Names = frozenset()
    histograms: dict[str, Histogram] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    _ranges: dict[tuple[object, ...], Range] = field(default_factory=dict)

    def place(self, model: ir.Model, float_nodes: Names = frozenset()) -> Placement:
        """Return what of a clone of the model runs in integers."""
        left_out = self.skipped | float_nodes
        return place(model.graph, [node for node in model.graph if node.name in left_out])

    def calibrate(self, *, moments: bool) -> None:
        """Run over the samples once, with every tensor in view that may be quantized.

        Args:
            moments: Whether layers' inputs are looked at as well (`calibration.moments`).

        Raises:
            DataError: The model does not run on them.
        """
        placement = self.place(self.model)
        self.sources = {value.name or "": owner.name or "" for value, owner in placement.owner.items()}
        self._see((value.name or "" for value in _owners(placement)), placement if moments else None)

    def build(self, manner: Manner, float_nodes: Names = frozenset()) -> ir.Model:
        """Return an int8 copy of the model.

        Args:
            manner: How.
            float_nodes: Names of nodes that stay float beside those skipped.
        """
        copy = self.model.clone()
        placement = self.place(copy, float_nodes)
        owners = _owners(placement)
        # fewer integers may have other borders
        self._see(name for value in owners if self._seen_as(name := value.name or "") is None)
        affines = {value: self._affine(value.name or "", manner) for value in owners}
        insert(copy, placement, affines, replace(manner.layers, moments=self.moments))
        return copy

    def extend(self, samples: Samples) -> None:
        """Let the ranges take in further samples; the moments stay.

        Raises:
            DataError: The model does not run on them.
        """
        self.observe(self.model, self.histograms, samples)
        self._ranges.clear()

    def ranges(self, manner: Manner, names: Iterable[str]) -> dict[str, Range]:
        """Return the ranges of these tensors, which must be in view."""
        return {name: self._range(name, manner) for name in names}

    def _seen_as(self, name: str) -> str | None:
        """Return the tensor whose histogram stands for this one, None if none does."""
        return next((each for each in (name, self.sources.get(name)) if each in self.histograms), None)

    def _range(self, name: str, manner: Manner) -> Range:
        levels = 65536 if manner.integers.endswith("16") else 256
        key = name, manner.ranges, manner.percentile, levels
        if key not in self._ranges:
            self._ranges[key] = choose_range(
                self.histograms[self._seen_as(name) or name],
                manner.ranges,
                percentile=manner.percentile,
                levels=levels,
            )
        return self._ranges[key]

    def _affine(self, name: str, manner: Manner) -> Affine:
        chosen = self._range(name, manner)
        return activation_affine(chosen.low, chosen.high, manner.integers)

    def _see(self, names: Iterable[str], placement: Placement | None = None) -> None:
        new = {name: Histogram() for name in names}
        observers: dict[str, list[Observer]] = {name: [histogram] for name, histogram in new.items()}
        for node in placement.axes if placement else ():
            source, weight = node.inputs[0], constant(node.inputs[1])
            if source is not None and weight is not None:
                moments = Moments(Window.of(node, weight.shape), len(self.samples))
                self.moments[node.name or ""] = moments
                observers.setdefault(source.name or "", []).append(moments)
        if observers:
            self.observe(self.model, {name: Several(each) for name, each in observers.items()}, self.samples)
        self.histograms.update(new)


def _owners(placement: Placement) -> list[ir.Value]:
    return list(dict.fromkeys(placement.owner.values()))

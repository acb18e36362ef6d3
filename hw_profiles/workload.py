"""A model, counted, and its latency on any profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from onnx_pare.cost.count import count
from onnx_pare.cost.kernels import Kernel, kernels
from onnx_pare.graph.shapes import infer
from onnx_pare.hw_profiles.dtypes import SIZE_BYTES, as_dtype, computing
from onnx_pare.hw_profiles.memory_fit import MemoryNeed, memory_needs
from onnx_pare.hw_profiles.prediction import TOP, Prediction, predict

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.cost.count import Cost
    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.hw_profiles.profiles import Profile


@dataclass(frozen=True)
class Workload:
    """A model at certain shapes.

    Attributes:
        model: The model.
        shapes: Of its tensors.
        cost: What it costs at these shapes.
        batch: Samples of one run, `times` included; 1 if that is not known.
        times: How many times the batch of `shapes` is meant: a fixed batch can be predicted for more.
        dtype: What its MACs are computed in instead of what they are; None leaves them.
    """

    model: ir.Model
    shapes: Shapes
    cost: Cost
    batch: int = 1
    times: int = 1
    dtype: str | None = None
    _made: dict[str, Sequence[Kernel]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, model: ir.Model, inputs: Mapping[str, tuple[int, ...]], **changes: Any) -> Workload:
        """Count a model at these input shapes.

        Raises:
            ModelError: The shapes contradict each other, or onnxruntime cannot load or run the model.
        """
        shapes = infer(model, inputs)
        return cls(model, shapes, count(model, shapes), **changes)

    @property
    def macs(self) -> int:
        """MACs of one run."""
        return self.cost.macs * self.times

    def kernels(self, rules: str) -> Sequence[Kernel]:
        """Return what a runtime with these fusion rules runs."""
        if rules not in self._made:
            found = kernels(self.model, self.shapes, self.cost, rules)
            self._made[rules] = [self._as_asked(kernel) for kernel in found]
        return self._made[rules]

    def _as_asked(self, kernel: Kernel) -> Kernel:
        if self.times != 1:
            kernel = kernel.batched(self.times)
        return as_dtype(kernel, self.dtype) if self.dtype and self._converts(kernel) else kernel

    def _converts(self, kernel: Kernel) -> bool:
        return bool(kernel.macs) and SIZE_BYTES[computing(kernel)] > SIZE_BYTES[self.dtype or "float64"]

    def memory(self, profile: Profile) -> Sequence[MemoryNeed]:
        """Return what it needs of the device's memories, as far as these are known."""
        cost, smaller = self.cost, 1.0
        if self.dtype:
            smaller = min(1.0, SIZE_BYTES[self.dtype] / SIZE_BYTES["float32"]) if self._is_float32() else 1.0
        return memory_needs(
            profile.known,
            activation_bytes=round(cost.peak_activation_bytes * self.times * smaller),
            weight_bytes=round(cost.weight_bytes * smaller),
        )

    def _is_float32(self) -> bool:
        with_macs = [row.dtype for row in self.cost.rows if row.macs]
        return all(dtype == "float32" for dtype in with_macs)


@dataclass(frozen=True)
class Forecast:
    """What is predicted of a model on a profile: its latency, and whether it fits."""

    profile: Profile
    threads: int
    prediction: Prediction
    memory: Sequence[MemoryNeed]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before relying on it, in sentences."""
        said = [str(need) for need in self.memory if not need.fits]
        unseen = self.prediction.unseen_ops
        if unseen:
            said.append(f"never seen by the fit: {', '.join(unseen)}; the interval is wider for it")
        return (*said, *self.prediction.notes)

    def to_json(self) -> dict[str, Any]:
        """Return what every entry of a predicted latency ends with."""
        found = self.prediction
        return {
            "threads": self.threads,
            "runs": 0,
            "unseen_ops": list(found.unseen_ops),
            "runtime": self.profile.runtime,
            "held_out_error_percent": found.error_percent,
            "bounds": dict(found.bounds),
            "ops": [op.to_json() for op in found.ops[:TOP]],
            "fits": {need.memory.lower(): need.to_json() for need in self.memory},
            "warnings": list(self.warnings),
        }


def forecast(work: Workload, profile: Profile, *, threads: int = 1) -> Forecast:
    """Predict a model on a profile.

    Raises:
        ProfileError: The profile says nothing about its speed.
    """
    found = predict(work.kernels(profile.costs.fusion), profile, threads=threads, batch=work.batch)
    uncounted = tuple(sorted({*found.unseen_ops, *work.cost.uncounted_ops}))
    notes = found.notes
    if work.dtype:
        notes = (*notes, f"what if: MACs computed in {work.dtype}, conversions between types not counted")
    if work.times != 1:
        notes = (*notes, f"the model's batch is fixed; predicted for {work.times} times that")
    found = replace(found, unseen_ops=uncounted, notes=notes)
    return Forecast(profile, threads, found, work.memory(profile))

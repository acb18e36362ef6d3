"""What a run found, as one value; `to_json` gives the documented report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from onnx_pare import __version__

if TYPE_CHECKING:
    from onnx_pare.bench.accuracy import AccuracyPair
    from onnx_pare.bench.fidelity import Fidelity
    from onnx_pare.graph.signature import Port, Signature
    from onnx_pare.pipeline.baseline import Compared
    from onnx_pare.pipeline.gates import GateResult
    from onnx_pare.pipeline.machine import Machine
    from onnx_pare.remote.names import Names

SCHEMA = "onnx-pare/report/1"
TOOL = "onnx-pare"


@dataclass(frozen=True)
class ModelFile:
    """A model: what it is called (a path or URL), its SHA-256, its size with external data."""

    path: str
    sha256: str
    size_bytes: int

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePath(self.path).name

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"path": self.path, "sha256": self.sha256, "size_bytes": self.size_bytes}


@dataclass(frozen=True)
class PassRecord:
    """What one pass did.

    Attributes:
        name: The pass.
        options: Its options, defaults filled in.
        seconds: Wall time of the pass, without its verification.
        changed: See `Outcome.changed`.
        notes: See `Outcome.notes`.
        sqnr_db: SQNR of the model after this pass against the original; None where it has no float outputs.
        top1_agreement: Likewise; None where the model is no classifier.
    """

    name: str
    options: Mapping[str, Any]
    seconds: float
    changed: int
    notes: Mapping[str, Any]
    sqnr_db: float | None
    top1_agreement: float | None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        from onnx_pare.bench.tally import json_db

        return {
            "name": self.name,
            "options": dict(self.options),
            "seconds": round(self.seconds, 3),
            "changed": self.changed,
            "notes": dict(self.notes),
            "sqnr_db": json_db(self.sqnr_db),
            "top1_agreement": self.top1_agreement,
        }


@dataclass(frozen=True)
class Report:
    """Everything a run found. Field by field the JSON report of `docs/report.md`."""

    command: str
    seed: int
    model: ModelFile
    signature: Signature
    opset: int | None
    recipe: Mapping[str, Any]
    recipe_origin: str
    calibration_source: str
    calibration_samples: int
    calibration_random: bool
    passes: Sequence[PassRecord]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    fidelity: Fidelity
    accuracy: AccuracyPair | None
    latency: Sequence[Mapping[str, Any]]
    gates: Sequence[GateResult]
    warnings: Sequence[str]
    output: ModelFile | None
    machine: Machine
    seconds: float
    peak_rss_bytes: int
    baseline: Compared | None = None

    @property
    def passed(self) -> bool:
        """Whether all gates were met."""
        return all(gate.passed for gate in self.gates)

    def called(self, names: Names) -> Report:
        """Return the report with the URLs that files were given by, in place of their local copies."""
        return replace(
            self,
            command=names.text(self.command),
            model=replace(self.model, path=names.text(self.model.path)),
            recipe=names.json(self.recipe),
            recipe_origin=names.text(self.recipe_origin),
            calibration_source=names.text(self.calibration_source),
            warnings=names.json(self.warnings),
            output=self.output and replace(self.output, path=names.text(self.output.path)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, without infinities and NaN."""
        return {
            "schema": SCHEMA,
            "tool": {"name": TOOL, "version": __version__},
            "seed": self.seed,
            "command": self.command,
            "model": {
                **self.model.to_json(),
                "opset": self.opset,
                "inputs": [_port(port) for port in self.signature.inputs],
                "outputs": [_port(port) for port in self.signature.outputs],
            },
            "recipe": {**self.recipe, "origin": self.recipe_origin},
            "calibration": {
                "source": self.calibration_source,
                "samples": self.calibration_samples,
                "random": self.calibration_random,
            },
            "passes": [record.to_json() for record in self.passes],
            "before": dict(self.before),
            "after": dict(self.after),
            "fidelity": self.fidelity.to_json(),
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
            "latency": [dict(entry) for entry in self.latency],
            "gates": [_gate(gate) for gate in self.gates],
            "baseline": None if self.baseline is None else self.baseline.to_json(),
            "warnings": list(self.warnings),
            "output": None if self.output is None else self.output.to_json(),
            "machine": self.machine.to_json(),
            "seconds": round(self.seconds, 3),
            "peak_rss_bytes": self.peak_rss_bytes,
        }


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": port.dtype,
        "shape": None if port.shape is None else list(port.shape),
    }


def _gate(gate: GateResult) -> dict[str, Any]:
    return {
        "expr": gate.expr,
        "value": _finite(gate.value),
        "bound": _finite(gate.bound),
        "passed": gate.passed,
        "reason": gate.reason,
    }


def _finite(value: float | None) -> float | None:
    """Return a number for JSON: an SQNR is the only metric that may be infinite."""
    from onnx_pare.bench.tally import json_db

    return value if value is None or math.isfinite(value) else json_db(value)

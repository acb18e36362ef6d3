"""The models of `quantization.py`, their samples, and how results are held against them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import untrained
from real_models import CASES, SHARED, Case

from onnx_pare.errors import ModelError
from onnx_pare.graph.load import load_model, size_bytes

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples
    from onnx_pare.calibration.labelled import Labelled

# the command's own seed, and another: synthetic samples of two seeds have none in common
CALIBRATION_SEED, EVALUATION_SEED = 0, 1
REAL_SAMPLES, SYNTHETIC_SAMPLES = 1000, 64
# a speed-up that is further from that of the fastest timings, as a factor, was disturbed by other programs
STEADY = 1.25


@dataclass(frozen=True)
class Subject:
    """A float model to quantize.

    Attributes:
        name: What it is called.
        model: Its file.
        case: Its data.
        samples: The folder of calibration samples for the peers, made by `save_samples`.
    """

    name: str
    model: Path
    case: Case
    samples: Path

    @property
    def data(self) -> str:
        """Say what it is calibrated and evaluated on."""
        if self.case.data is None:
            return f"synthetic samples, seed {CALIBRATION_SEED} to calibrate, {EVALUATION_SEED} to evaluate"
        return self.case.data + ("" if self.case.labelled else " samples fitted to its input, without labels")

    def save_samples(self, count: int) -> None:
        """Write the calibration samples that the command uses, one run's inputs a file."""
        self.samples.mkdir()
        for index, feeds in enumerate(self._samples("calibration", count, CALIBRATION_SEED)):
            np.savez(self.samples / f"{index:06}.npz", allow_pickle=False, **feeds)

    def evaluation(self, count: int | None) -> tuple[Samples, Labelled | None]:
        """Return samples that are none of the calibration's, and their labels if the model knows these."""
        from onnx_pare.calibration.labelled import open_labelled

        if self.case.data is None:
            return self._samples("", count or SYNTHETIC_SAMPLES, EVALUATION_SEED), None
        count = count or REAL_SAMPLES
        if not self.case.labelled:
            return self._samples("validation", count, EVALUATION_SEED), None
        labelled = open_labelled(
            self._file("validation"),
            self._model(),
            preprocess=self._preprocessing(),
            limit=count,
            seed=EVALUATION_SEED,
        )
        return labelled.samples, labelled

    def _samples(self, part: str, count: int, seed: int) -> Samples:
        from onnx_pare.calibration.data import open_samples
        from onnx_pare.calibration.synthetic import synthetic_samples

        model, shapes = self._model(), self.case.shapes
        if self.case.data is None:
            return synthetic_samples(model, count=count, seed=seed, shapes=shapes)
        preprocess = self._preprocessing()
        return open_samples(
            self._file(part), model, preprocess=preprocess, limit=count, seed=seed, shapes=shapes
        )

    def _model(self) -> ir.Model:
        return load_model(self.model)

    def _file(self, part: str) -> Path:
        return SHARED / "data" / f"{self.case.data}_{part}.npz"

    def _preprocessing(self) -> Any:
        from onnx_pare.calibration.preprocess import PRESETS

        return PRESETS[self.case.preprocess] if self.case.preprocess else None


def subjects(arguments: argparse.Namespace, scratch: Path) -> Iterator[Subject]:
    """Yield the models asked for; graphs get their weights here.

    Raises:
        SystemExit: A name is that of no model.
    """
    if arguments.archs:
        sources = [SHARED / "archs" / "torchvision" / f"{name}.onnx" for name in untrained.ARCHS]
    else:
        sources = [path for folder in arguments.folders for path in sorted(folder.glob("*.onnx"))]
    wanted = arguments.models or [path.stem for path in sources]
    unknown = sorted(set(wanted) - {path.stem for path in sources})
    if unknown or not sources:
        raise SystemExit(f"no such model: {', '.join(unknown)}" if unknown else "no models found")
    for index, path in enumerate(path for path in sources if path.stem in wanted):
        model = path
        if arguments.archs:
            model = scratch / path.name
            untrained.write(path, model)
        yield Subject(path.stem, model, CASES.get(path.stem, Case()), scratch / f"samples-{index}")


def compare(subject: Subject, rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Add what was measured to the rows that have no failure; a result that does not run is one."""
    from onnx_pare.bench.accuracy import top1
    from onnx_pare.bench.fidelity import Reference

    samples, labelled = subject.evaluation(arguments.eval_samples)
    reference = Reference(subject.model, samples)
    before = top1(subject.model, labelled).value if labelled else None
    for row in rows:
        if row["failure"]:
            continue
        try:
            found = reference.compare(row["path"]).to_json()
            after = top1(row["path"], labelled).value if labelled else None
        except ModelError as error:
            row["failure"] = str(error).removeprefix(f"{row['path']}: ")
            continue
        row |= {"sqnr_db": found["sqnr_db"], "top1_agreement": found["top1_agreement"]}
        row |= {"top1_float": before, "top1": after, "samples": found["samples"]}
        row["size_bytes"] = size_bytes(row["path"])
    _time(subject, [row for row in rows if not row["failure"]], next(iter(samples)), arguments)


def _time(subject: Subject, rows: list[dict[str, Any]], feeds: Any, arguments: argparse.Namespace) -> None:
    """Time the rows' models and the float one in turn; `rounds_ms` keeps the timings for the summary."""
    from onnx_pare.bench.latency import NARROW, time_in_turn
    from onnx_pare.bench.runner import Runner
    from onnx_pare.bench.statistics import half_width, median, median_interval

    runners = [Runner(path) for path in (subject.model, *(row["path"] for row in rows))]
    times_ms = time_in_turn(
        [lambda runner=runner: runner.run(feeds) for runner in runners],  # type: ignore[misc]
        enough=lambda ms: all(half_width(ms[:, 0] / other) <= NARROW for other in ms[:, 1:].T),
        runs=arguments.rounds,
        budget_s=arguments.budget,
    )
    for row, column in zip(rows, times_ms[:, 1:].T, strict=True):
        ratios, fastest = times_ms[:, 0] / column, float(times_ms[:, 0].min() / column.min())
        row |= {"speedup": median(ratios), "interval": median_interval(ratios), "fastest_speedup": fastest}
        row |= {"float_ms": median(times_ms[:, 0]), "rounds_ms": column.tolist()}
        if not 1 / STEADY < fastest / row["speedup"] < STEADY:
            row["note"] = f"UNSTEADY: {fastest:.2f}× by the fastest timings; {row['note']}".rstrip("; ")

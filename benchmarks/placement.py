"""How fast int8 placements of a model are: measured, predicted, and those of onnxruntime's own quantizer.

    python benchmarks/placement.py MODEL... [--budget 30]

Models must have weights and fixed shapes, but for the batch. Prints the speed-up over float of each, timed in
turn on one thread with two synthetic samples, after the choice and apart from it; and all candidates.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnx_pare.bench.race import race, stopwatch
from onnx_pare.calibration.observers import MinMax
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import ModelError
from onnx_pare.graph.batchnorm import fold_batch_norms
from onnx_pare.graph.load import load_model
from onnx_pare.graph.opset import raise_opset
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session, SessionError
from onnx_pare.graph.shapes import infer
from onnx_pare.passes.base import Context
from onnx_pare.passes.simplify import Simplify
from onnx_pare.quantization.affine import activation_affine
from onnx_pare.quantization.contest import select_measured
from onnx_pare.quantization.placement import Placement, place
from onnx_pare.quantization.preactivation import norms_as_convolutions
from onnx_pare.quantization.qdq import insert
from onnx_pare.quantization.selection import select_predicted


class Net:
    """A model, ready to be quantized, and the ranges of its tensors."""

    def __init__(self, path: Path, folder: Path) -> None:
        source = load_model(path)
        self.samples = synthetic_samples(source, count=2)
        self.context = Context(samples=self.samples, scratch=folder)
        self.float = raise_opset(Simplify().apply(source, self.context).model, 13)
        fold_batch_norms(self.float)
        self.model = self.float.clone()
        norms_as_convolutions(self.model)
        self.ranges: dict[str, tuple[float, float]] = {}

    def build(self, float_nodes: frozenset[str]) -> Any:
        """Quantize with these nodes left float."""
        copy = self.model.clone()
        placement = place(copy.graph, [node for node in copy.graph if node.name in float_nodes])
        self._observe(placement)
        owners = dict.fromkeys(placement.owner.values())
        insert(
            copy,
            placement,
            {v: activation_affine(*self.ranges[v.name or ""]) for v in owners},
        )
        return copy

    def _observe(self, placement: Placement) -> None:
        missing = {value.name or "" for value in placement.owner.values()} - self.ranges.keys()
        observers = {name: MinMax() for name in sorted(missing)}
        if observers:
            self.context.observe(self.model, dict(observers))
            self.ranges.update({name: observer.range() for name, observer in observers.items()})


def peer(path: Path, net: Net, target: Path) -> None:
    """Quantize with onnxruntime's own tool, weights per channel, as its documentation advises."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest: Iterator[Any] = iter(net.samples)

        def get_next(self) -> Any:
            return next(self.rest, None)

    prepared = str(target.with_suffix(".prepared.onnx"))
    quant_pre_process(str(path), prepared, skip_symbolic_shape=True)
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(prepared, str(target), Reader(), per_channel=True, **kinds)


def report(path: Path, budget_s: float, folder: Path) -> None:
    net = Net(path, folder)
    feeds = next(iter(net.samples))
    chosen = select_measured(
        net.model, net.build, feeds, baseline=net.float, scratch=folder, budget_s=budget_s
    )
    predicted = select_predicted(
        net.model, infer(net.model, {name: feed.shape for name, feed in feeds.items()})
    )
    files = {name: folder / f"{name}.onnx" for name in ("float", "onnxruntime", "measured", "predicted")}
    write_model(net.float, files["float"])
    write_model(net.build(chosen.float_nodes), files["measured"])
    write_model(net.build(predicted.float_nodes), files["predicted"])
    try:
        peer(files["float"], net, files["onnxruntime"])
        Session(files["onnxruntime"])
    except SessionError as error:
        print(f"  onnxruntime's own does not load: {error}")
        del files["onnxruntime"]
    original, *forms = files.values()
    timings = race(original, forms, stopwatch(feeds, threads=1, seed=0), budget_s)
    found = {name: f"{timing.speedup:.2f}x" for name, timing in zip(list(files)[1:], timings, strict=True)}
    name = chosen.chosen.candidate.name if chosen.chosen is not None else "nothing to quantize"
    print(f"{path.stem}: {found} ({name}{'' if chosen.wins else ', int8 cannot win'})")
    for entry in chosen.entries:
        print(f"    {entry.candidate.name:45s} {entry.speedup:.2f}x {entry.latency_ms:9.3f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of timing for the choice")
    given = parser.parse_args()
    for path in given.models:
        with tempfile.TemporaryDirectory() as folder:
            try:
                report(path, given.budget, Path(folder))
            except ModelError as error:
                print(f"{path.stem}: {error}")


if __name__ == "__main__":
    main()

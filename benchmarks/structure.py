"""What `substitute_dsc`, `factorize` and `prune_channels` gain and cost: speed, accuracy, time and memory.

    python benchmarks/structure.py layers [--sizes CHANNELSxSIDE...]
    python benchmarks/structure.py nets [NAME...]
    python benchmarks/structure.py accuracy [NAME...] [--pass prune_channels] [--ratios 0.9 ...]
    python benchmarks/structure.py cost [NAME...] [--pass factorize]

`layers`: speed-up of ranks 1 to 4 over the 3×3 convolution they replace, in each form, in onnxruntime, float,
one thread, timed in turn. `nets`: graphs of $PARE_SHARED/archs/torchvision with seeded weights, rank 2
wherever it is measured to pay. `accuracy`: top-1 points lost by the CIFAR-10 nets of $PARE_SHARED/models at
some share of their MACs, by the plain way (SVD; L1 norms) and fitted, and the speed-up. `cost`: time and peak
memory of a pass, in a process of its own, with 64 synthetic samples.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import untrained
from real_models import SHARED

from onnx_pare.bench.accuracy import top1
from onnx_pare.bench.race import race, stopwatch, written
from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.labelled import open_labelled
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.edit import Names, add_initializer
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.passes.base import Context, registry
from onnx_pare.sparsity.dsc import Dsc
from onnx_pare.sparsity.layers import layer_of

SIZES = ["16x32", "32x16", "64x112", "64x56", "128x56", "128x28", "256x28", "256x14", "512x14", "512x7"]
FORMS, RANKS, RATIOS = ("sum", "concat", "multiplier"), (1, 2, 3, 4), (0.9, 0.8, 0.7, 0.5)
NETS = ("vgg16", "resnet18", "resnet50")
TRAINED = ("resnet20_cifar10", "resnet56_cifar10")
LAYER_S, NET_S = 4.0, 15.0
# options for the plain way and for the best
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "substitute_dsc": ({"fit": False}, {}),
    "factorize": ({"fit": False}, {}),
    "prune_channels": ({"criterion": "l1", "refit": False}, {}),
}


def layers(given: argparse.Namespace) -> None:
    print(
        f"{'channels':>8} {'side':>5} {'ms':>8}  " + "".join(f"rank {r}: {'/'.join(FORMS)}  " for r in RANKS)
    )
    for size in given.sizes:
        channels, side = map(int, size.split("x"))
        base = convolution(channels, side)
        forms = [separable(base, form, rank) for rank in RANKS for form in (FORMS if rank > 1 else FORMS[:1])]
        milliseconds, speedups = raced(base, forms, {"x": noise(1, channels, side, side)}, LAYER_S)
        by_rank = [speedups[:1], *(speedups[at : at + 3] for at in range(1, len(speedups), 3))]
        cells = ["/".join(f"{speedup:.2f}" for speedup in row) for row in by_rank]
        print(f"{channels:8} {side:5} {milliseconds:8.3f}  " + "   ".join(f"{cell:>14}" for cell in cells))


def nets(given: argparse.Namespace) -> None:
    print(f"{'graph':16} {'layers':>6} {'MACs':>6} {'ms':>8} {'speed-up':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.names or NETS:
            path = Path(folder) / f"{name}.onnx"
            untrained.write(SHARED / "archs" / "torchvision" / f"{name}.onnx", path)
            model = load_model(path)
            samples = synthetic_samples(model, count=1)
            options = {"ranks": {"op:Conv": 2}, "fit": False, "profile": "local"}
            outcome = apply("substitute_dsc", options, model, Context(samples, Path(folder)))
            simple = apply("simplify", {}, model, Context(samples, Path(folder))).model
            ms, (speedup,) = raced(simple, [outcome.model], next(iter(samples)), NET_S)
            ratio = outcome.notes["macs_after"] / outcome.notes["macs_before"]
            print(f"{name:16} {outcome.changed:6} {ratio:6.3f} {ms:8.2f} {speedup:8.2f}", flush=True)


def accuracy(given: argparse.Namespace) -> None:
    print(f"{'net':18} {'samples':>7} {'MACs':>6} {'plain':>7} {'fitted':>7} {'speed-up':>8} {'s':>6}")
    for name in given.names or TRAINED:
        path = SHARED / "models" / f"{name}.onnx"
        preprocess = PRESETS["imagenet"]
        labelled = open_labelled(
            SHARED / "data/cifar10_validation.npz", load_model(path), preprocess=preprocess
        )
        before = top1(path, labelled, threads=given.threads).value
        for count in given.samples:
            for ratio in given.ratios:
                model = load_model(path)
                samples = open_samples(
                    SHARED / "data/cifar10_calibration.npz", model, preprocess=preprocess, limit=count
                )
                with tempfile.TemporaryDirectory() as folder:
                    context = Context(samples, Path(folder), threads=given.threads)
                    lost, ms = {}, 1.0
                    for fit, way in zip((False, True), WAYS[given.pass_name], strict=True):
                        started = time.perf_counter()
                        outcome = apply(given.pass_name, {"macs_ratio": ratio, **way}, model, context)
                        seconds = time.perf_counter() - started
                        target = Path(folder) / "after.onnx"
                        write_model(outcome.model, target)
                        after = top1(target, labelled, threads=given.threads).value
                        lost[fit] = 100 * (before - after)
                    _, (ms,) = raced(model, [outcome.model], next(iter(samples)), NET_S / 3)
                done = outcome.notes["macs_after"] / outcome.notes["macs_before"]
                points = f"{lost[False]:7.2f} {lost[True]:7.2f}"
                print(f"{name:18} {count:7} {done:6.3f} {points} {ms:8.2f} {seconds:6.1f}", flush=True)


def cost(given: argparse.Namespace) -> None:
    """Run the pass in this process: its peak is the process's."""
    for name in given.names or NETS[2:]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            source = SHARED / "archs" / "torchvision" / f"{name}.onnx"
            script = (
                "import sys, untrained; from pathlib import Path; untrained.write(*map(Path, sys.argv[1:]))"
            )
            subprocess.run(
                [sys.executable, "-c", script, source, path], check=True, cwd=Path(__file__).parent
            )
            model = load_model(path)
            context = Context(
                synthetic_samples(model, count=64),
                Path(folder),
                threads=given.threads,
                progress=given.progress,
            )
            started = time.perf_counter()
            outcome = apply(given.pass_name, {"macs_ratio": given.ratios[0]}, model, context)
            seconds = time.perf_counter() - started
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ratio = outcome.notes["macs_after"] / outcome.notes["macs_before"]
        print(
            f"{given.pass_name} {name}: {outcome.changed} layers, {ratio:.3f} of the MACs,"
            f" {seconds:.0f} s, peak {peak_mb:.0f} MB"
        )


def apply(name: str, options: dict[str, Any], model: Any, context: Context) -> Any:
    cls = registry()[name]
    return cls(cls.Options.model_validate(options)).apply(model.clone(), context)


def raced(before: Any, after: Sequence[Any], feeds: Any, budget_s: float) -> tuple[float, list[float]]:
    """Return the latency of `before` in ms and the speed-ups of `after`, all timed in turn on one thread."""
    with tempfile.TemporaryDirectory() as folder, written([before, *after], Path(folder)) as paths:
        timings = race(paths[0], paths[1:], stopwatch(feeds, threads=1, seed=0), budget_s)
    return timings[0].latency_ms * timings[0].speedup, [timing.speedup for timing in timings]


def convolution(channels: int, side: int) -> Any:
    import onnx_ir as ir

    shape = f"float[1,{channels},{side},{side}]"
    text = f"g ({shape} x) => ({shape} y) {{ [conv] y = Conv <pads = [1, 1, 1, 1]> (x, w, b) }}"
    model = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["": 17]> {text}'.replace(" x)", " x, float w, float b)")
    )
    node = model.graph[0]
    for place, array in ((1, noise(channels, channels, 3, 3)), (2, noise(channels))):
        model.graph.inputs.remove(node.inputs[place])
        node.replace_input_with(place, add_initializer(model.graph, f"weight_{place}", array))
    return model


def separable(base: Any, form: Any, rank: int) -> Any:
    model = base.clone()
    layer, kind = layer_of(model.graph[0]), Dsc(form)
    assert layer is not None
    kind.emit(layer, kind.decompose(layer, rank), noise(len(layer.weight())), Names(model))
    return model


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class Stages:
    """Progress that tells the seconds of each task."""

    def task(self, label: str, total: int) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def timed() -> Any:
            started = time.perf_counter()
            yield lambda steps: None
            print(f"  {label}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)

        return timed()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["layers", "nets", "accuracy", "cost"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--samples", nargs="+", type=int, default=[512])
    parser.add_argument("--pass", dest="pass_name", default="substitute_dsc")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    given.progress = Stages()
    {"layers": layers, "nets": nets, "accuracy": accuracy, "cost": cost}[given.what](given)


if __name__ == "__main__":
    main()

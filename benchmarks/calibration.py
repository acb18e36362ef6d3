"""Calibration of a ResNet-50-sized network: time and peak memory of onnx-pare and onnxruntime, in turn.

    python benchmarks/calibration.py [--samples 32 512] [--rounds 1] [--peer-samples 64]

Builds ResNet-50 (He et al. 2015) with seeded weights, then calibrates it on seeded 224x224 images. Each tool
runs in a process of its own; peak memory is that process's, as the operating system counts it. `inference`
runs the unchanged model over the same images: the floor. Prints each time over it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 1
SIZE = 224


def build(path: Path) -> None:
    """Write ResNet-50 with seeded weights, BatchNormalization folded: 25.6 M parameters, 4.1 GMACs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: list[Any] = []

    def weight(shape: tuple[int, ...], gain: float) -> str:
        name = f"w{len(weights)}"
        scale = gain * np.sqrt(2.0 / np.prod(shape[1:]))
        weights.append(numpy_helper.from_array((rng.normal(size=shape) * scale).astype(np.float32), name))
        return name

    def op(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind.lower()}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(x: str, cin: int, cout: int, k: int, stride: int = 1, gain: float = 1.0) -> str:
        inputs = [x, weight((cout, cin, k, k), gain), weight((cout,), 0.01)]
        return op("Conv", inputs, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4)

    x = op("Relu", [conv("input", 3, 64, 7, 2)])
    x = op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            step = stride if block == 0 else 1
            y = op("Relu", [conv(x, channels, width, 1)])
            y = op("Relu", [conv(y, width, width, 3, step)])
            y = conv(y, width, 4 * width, 1, gain=0.3)
            shortcut = x if block else conv(x, channels, 4 * width, 1, step)
            x = op("Relu", [op("Add", [y, shortcut])])
            channels = 4 * width
    x = op("Flatten", [op("GlobalAveragePool", [x])])
    nodes.append(helper.make_node("Gemm", [x, weight((1000, 2048), 0.1)], ["logits"], name="fc", transB=1))
    graph = helper.make_graph(
        nodes,
        "resnet50",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def images(count: int) -> Iterator[np.ndarray[Any, Any]]:
    for index in range(count):
        rng = np.random.default_rng(index)
        coarse = rng.normal(size=(1, 3, SIZE // 8, SIZE // 8)).astype(np.float32)
        yield np.kron(coarse, np.ones((1, 1, 8, 8), np.float32))


class Images:
    """The images as calibration samples."""

    source, random, warnings = "images", True, ()

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def batches(self, size: int = 1) -> Iterator[tuple[dict[str, Any], int]]:
        held: list[Any] = []
        for image in images(self._count):
            held.append(image)
            if len(held) == size:
                yield {"input": np.concatenate(held)}, size
                held = []
        if held:
            yield {"input": np.concatenate(held)}, len(held)


def inference(model: Path, count: int, scratch: Path) -> None:
    from onnx_pare.graph.session import Session

    session = Session(model, threads=THREADS)
    for image in images(count):
        session.run({"input": image})


def pare(model: Path, count: int, scratch: Path, kind: str) -> None:
    from onnx_pare.calibration.collect import observe
    from onnx_pare.calibration.observers import Histogram, MinMax
    from onnx_pare.graph.load import load_model
    from onnx_pare.progress import Silent
    from onnx_pare.quantization.placement import place

    loaded = load_model(model)
    owners = dict.fromkeys(place(loaded.graph).owner.values())
    make: Callable[[], Any] = Histogram if kind == "percentile" else MinMax
    observe(
        loaded,
        {owner.name or "": make() for owner in owners},
        Images(count),
        scratch=scratch,
        threads=THREADS,
        progress=Silent(),
    )


def onnxruntime(model: Path, count: int, scratch: Path, kind: str) -> None:
    from onnxruntime import SessionOptions
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = ({"input": image} for image in images(count))

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    options = SessionOptions()
    options.intra_op_num_threads = THREADS
    method = CalibrationMethod.Percentile if kind == "percentile" else CalibrationMethod.MinMax
    calibrator = create_calibrator(
        str(model),
        ["Conv", "Gemm", "Add", "MaxPool", "GlobalAveragePool"],
        augmented_model_path=str(scratch / "augmented.onnx"),
        calibrate_method=method,
    )
    calibrator.sess_options = options
    calibrator.create_inference_session()
    calibrator.collect_data(Reader())
    calibrator.compute_data()


TOOLS: dict[str, Callable[[Path, int, Path], None]] = {
    "inference": inference,
    "onnx-pare minmax": lambda *a: pare(*a, kind="minmax"),
    "onnx-pare percentile": lambda *a: pare(*a, kind="percentile"),
    "onnxruntime minmax": lambda *a: onnxruntime(*a, kind="minmax"),
    "onnxruntime percentile": lambda *a: onnxruntime(*a, kind="percentile"),
}


def child(tool: str, model: Path, count: int) -> None:
    """Run one tool and print its wall time without imports and model creation, and its peak memory."""
    import resource

    import onnxruntime as ort  # noqa: F401

    import onnx_pare.graph.session  # noqa: F401

    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        TOOLS[tool](model, count, Path(scratch))
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


def measure(tool: str, model: Path, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", tool, str(model), str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"seconds": float("nan"), "peak_bytes": float("nan")}
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(tool: str, count: int, found: dict[str, float], floor: float) -> str:
    per_sample_ms = 1e3 * found["seconds"] / count
    times = f"{found['seconds']:>8.2f} {per_sample_ms:>10.1f} {found['seconds'] / floor:>11.2f}"
    return f"{tool:<24} {count:>7} {times} {found['peak_bytes'] / 1e6:>8.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, nargs="+", default=[32, 512], help="for onnx-pare")
    parser.add_argument("--peer-samples", type=int, default=64, help="at most, for onnxruntime's calibrators")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], Path(given.child[1]), int(given.child[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "resnet50.onnx"
        build(model)
        print(f"{'tool':<24} {'samples':>7} {'s':>8} {'ms/sample':>10} {'× inference':>11} {'peak MB':>8}")
        for count in sorted({*given.samples, given.peer_samples}):
            for _ in range(given.rounds):
                floor = float("nan")
                for tool in TOOLS:
                    if tool.startswith("onnxruntime") and count > given.peer_samples:
                        continue
                    found = measure(tool, model, count)
                    floor = found["seconds"] if tool == "inference" else floor
                    print(row(tool, count, found, floor), flush=True)


if __name__ == "__main__":
    main()

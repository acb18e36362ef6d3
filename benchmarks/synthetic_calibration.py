"""How good synthetic calibration is: int8 by real and by synthetic images, compared on real images.

    python benchmarks/synthetic_calibration.py [FOLDER] [--samples 64] [--calibration minmax]

Quantizes CIFAR-10 classifiers with activation ranges from real training images and from each kind of
synthetic image, then compares each with the float model on validation images: SQNR of the outputs in dB, and
top-1. `preprocessed` synthetic images go through the run's preprocessing, `blind` ones know the model alone.
The folder is $PARE_SHARED, with models/ and data/.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx_pare.bench.accuracy import top1
from onnx_pare.bench.fidelity import compare
from onnx_pare.calibration import natural
from onnx_pare.calibration.data import Samples, open_samples
from onnx_pare.calibration.labelled import open_labelled
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.passes.base import Context
from onnx_pare.passes.quantize_int8 import QuantizeInt8

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PARE_SHARED", ROOT.parent / "shared"))
MODELS = {
    "resnet20_cifar10": "imagenet",
    "resnet56_cifar10": "imagenet",
    "mlperf_tiny_resnet8_cifar10": "raw",
    "alibaba_mobilenet_cifar10": "imagenet",
}
KINDS: dict[str, Sequence[natural.Draw]] = {
    "1/f": (natural.spectrum,),
    "dead leaves": (natural.leaves,),
    "mix": natural.KINDS,
}
COMPARED = 500


def sources(model: Any, preset: str, data: Path, count: int) -> dict[str, Samples]:
    preprocess = PRESETS[preset]
    made: dict[str, Samples] = {
        "real": open_samples(data / "cifar10_calibration.npz", model, preprocess=preprocess, limit=count)
    }
    for name, kinds in KINDS.items():
        made[f"{name}, preprocessed"] = synthetic_samples(
            model, count=count, kinds=kinds, preprocess=preprocess
        )
        made[f"{name}, blind"] = synthetic_samples(model, count=count, kinds=kinds)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--calibration", default="minmax")
    given = parser.parse_args()
    data = given.folder / "data"
    print(f"{'model':<28} {'calibrated on':<24} {'SQNR dB':>8} {'top-1 %':>8}")
    for name, preset in MODELS.items():
        path = given.folder / "models" / f"{name}.onnx"
        model = load_model(path)
        labelled = open_labelled(
            data / "cifar10_validation.npz", model, preprocess=PRESETS[preset], limit=COMPARED
        )
        for source, samples in sources(model, preset, data, given.samples).items():
            with tempfile.TemporaryDirectory() as folder:
                context = Context(samples=samples, scratch=Path(folder))
                one = QuantizeInt8(QuantizeInt8.Options(calibration=given.calibration))
                result = Path(folder) / "int8.onnx"
                write_model(one.apply(load_model(path), context).model, result)
                sqnr_db = compare(path, result, labelled.samples).sqnr_db
                correct = top1(result, labelled).value
            print(f"{name:<28} {source:<24} {sqnr_db or 0:>8.1f} {100 * correct:>8.1f}", flush=True)


if __name__ == "__main__":
    main()

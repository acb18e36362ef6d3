"""Every model of a folder through every shipped recipe: what comes out, or why it is refused.

    python benchmarks/real_models.py [FOLDER] [--only GLOB] [--recipes int8 fp16] [--runs 20] [--samples 128]

Runs the `optimize` command, one process a model and recipe, and prints a table: exit code, SQNR, top-1 before
and after where labelled data is known, size and speed against the original, seconds. Ends with code 1 if one
run ended in a traceback, or in a file that onnxruntime does not load. The folder is $PARE_SHARED/models.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PARE_SHARED", ROOT.parent / "shared"))
COLUMNS = "exit", "sqnr_db", "top1_before", "top1_after", "size_ratio", "speedup", "seconds"


@dataclass(frozen=True)
class Case:
    """What a model needs beside the recipe: data of the folder `data`, preprocessing, free dimensions.

    Of data that is not `labelled`, only the samples suit the model; its labels are other classes.
    """

    data: str | None = None
    preprocess: str | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    labelled: bool = True

    def flags(self, data_folder: Path, *, evaluate: bool = True) -> list[str]:
        """Return the command line's flags for it."""
        flags = [f"--shape={name}={'x'.join(map(str, shape))}" for name, shape in self.shapes.items()]
        if self.data is not None:
            flags += [f"--calibration={data_folder / self.data}_calibration.npz"]
        if self.data is not None and self.labelled and evaluate:
            flags += [f"--eval={data_folder / self.data}_validation.npz"]
        return flags + ([f"--preprocess={self.preprocess}"] if self.preprocess else [])


CASES = {
    "resnet20_cifar10": Case("cifar10", "imagenet"),
    "resnet56_cifar10": Case("cifar10", "imagenet"),
    "alibaba_mobilenet_cifar10": Case("cifar10", "imagenet"),
    "mlperf_tiny_resnet8_cifar10": Case("cifar10", "raw"),
    "mlperf_tiny_kws_dscnn": Case("kws"),
    "mobilenet_v1_025_224_imagenet": Case("cifar10", "imagenet-tf", labelled=False),
    "nnsplit_en": Case(shapes={"input": (1, 100)}),
    "silero_vad_16k": Case(shapes={"input": (1, 576), "state": (2, 1, 128)}),
}


def recipes() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))


def loads(path: Path) -> bool:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; that a constant is unused is none
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        print(f"{path.name}: onnxruntime: {error}", file=sys.stderr)
        return False
    return True


def command(model: Path, recipe: str, target: Path) -> list[str]:
    """Return the command line that writes `target`, and its report to stdout."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    options = ["--config", recipe, "-o", str(target), "--report-json", "-", "--no-progress"]
    return [str(shutil.which("optimize", path=path)), str(model), *options]


def optimize(model: Path, recipe: str, case: Case, extra: list[str], target: Path) -> dict[str, Any]:
    """Run the command; return the row of the table, and what was wrong with it under `fault`."""
    flags = [*case.flags(SHARED / "data"), *extra]
    start = time.perf_counter()
    done = subprocess.run([*command(model, recipe, target), *flags], capture_output=True, text=True)
    row: dict[str, Any] = {"exit": done.returncode, "seconds": time.perf_counter() - start}
    if done.returncode not in (0, 1, 2, 3) or "Traceback" in done.stderr:
        row["fault"] = done.stderr.strip() or "no message"
    elif done.returncode > 1:
        row["reason"] = done.stderr.strip()
        row["fault"] = "refused, yet a file was written" if target.exists() else None
    else:
        row |= figures(json.loads(done.stdout))
        row["fault"] = None if loads(target) else "does not load in onnxruntime"
    return row


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Pick the columns out of a report."""
    accuracy, latency = report["accuracy"] or {}, report["latency"][0] if report["latency"] else {}
    return {
        "sqnr_db": report["fidelity"]["sqnr_db"],
        "top1_before": accuracy.get("before"),
        "top1_after": accuracy.get("after"),
        "size_ratio": report["after"]["size_bytes"] / report["before"]["size_bytes"],
        "speedup": latency.get("speedup"),
        "reason": "; ".join(report["warnings"]),
    }


def rows(arguments: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    extra = ["--set", f"benchmark.runs={arguments.runs}", "--set", f"calibration.samples={arguments.samples}"]
    with tempfile.TemporaryDirectory() as folder:
        for model in sorted(arguments.folder.glob(f"{arguments.only}.onnx")):
            for recipe in arguments.recipes:
                target = Path(folder, f"{model.stem}.{recipe}.onnx")
                yield (
                    model.stem,
                    recipe,
                    optimize(model, recipe, CASES.get(model.stem, Case()), extra, target),
                )


def shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SHARED / "models")
    parser.add_argument("--only", default="*", help="glob over the models' names")
    parser.add_argument("--recipes", nargs="+", default=recipes())
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=128)
    faults = 0
    print(f"{'model':32}{'recipe':16}" + "".join(f"{name:>12}" for name in COLUMNS), flush=True)
    for model, recipe, row in rows(parser.parse_args()):
        figures_ = "".join(f"{shown(row.get(name)):>12}" for name in COLUMNS)
        print(f"{model:32}{recipe:16}{figures_}  {row.get('reason') or ''}", flush=True)
        if row["fault"]:
            faults += 1
            print(f"    FAULT: {row['fault']}", flush=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

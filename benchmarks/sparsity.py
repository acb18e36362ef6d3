"""Pruning without training: accuracy by method and pattern, on the CIFAR-10 models of $PARE_SHARED.

    python benchmarks/sparsity.py [--only GLOB] [--cases NAME …] [--methods NAME …] [--samples 512]

`optimize` runs `simplify` and `prune_magnitude`, in a process of its own, on calibration samples; the result
is evaluated on labelled images that it has not seen: top-1 in %, points gained against the float model, share
of images of the same class as the float model's, SQNR of the outputs. Then the Deflate size of the weights
against that of the float ones, seconds of the pass, and peak memory of the process in MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from real_models import CASES, SHARED, command

from onnx_pare.bench.fidelity import compare
from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.graph.load import load_model

PATTERNS = {
    "50%": "sparsity: 0.5",
    "50%-global": "sparsity: 0.5, scope: global",
    "2:4": "pattern: '2:4'",
    "1x4": "sparsity: 0.5, block: [1, 4]",
    "4x1": "sparsity: 0.5, block: [4, 1]",
    "70%": "sparsity: 0.7",
    "70%-global": "sparsity: 0.7, scope: global",
}
METHODS = ("magnitude", "reconstruct")
COLUMNS = ("top1", "points", "same %", "sqnr_db", "deflated", "seconds", "peak_mb")


def prune(name: str, options: str, arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Run the command, and return the row of the table."""
    recipe, target = folder / "recipe.yaml", folder / "pruned.onnx"
    passes = f"passes: [simplify, {{prune_magnitude: {{{options}}}}}]"
    quick = f"benchmark: {{profiles: []}}\ncalibration: {{samples: {arguments.samples}}}"
    recipe.write_text(f"version: 1\n{passes}\n{quick}\n", encoding="utf-8")
    model = SHARED / "models" / f"{name}.onnx"
    flags = [
        flag for flag in CASES[name].flags(SHARED / "data") if not arguments.synthetic or "--cal" not in flag
    ]
    ran = [*command(model, str(recipe), target), *flags, "--overwrite"]
    report = json.loads(subprocess.run(ran, check=True, capture_output=True, text=True).stdout)
    unseen = SHARED / "data" / f"{CASES[name].data}_validation.npz"
    preprocess = PRESETS[CASES[name].preprocess] if CASES[name].preprocess else None
    fidelity = compare(model, target, open_samples(unseen, load_model(model), preprocess=preprocess))
    notes = report["passes"][1]["notes"]
    before, after = (100 * report["accuracy"][when] for when in ("before", "after"))
    deflated = (notes[f"compressed_weight_bytes_{when}"] for when in ("after", "before"))
    return {
        "top1": after,
        "points": after - before,
        "same %": 100 * (fidelity.top1_agreement or 0.0),
        "sqnr_db": fidelity.sqnr_db or 0.0,
        "deflated": next(deflated) / next(deflated),
        "seconds": report["passes"][1]["seconds"],
        "peak_mb": report["peak_rss_bytes"] / 1e6,
    }


def rows(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str, dict[str, float]]]:
    with tempfile.TemporaryDirectory() as folder:
        for name in [name for name, case in CASES.items() if case.data and case.labelled]:
            for pattern in arguments.cases if fnmatch(name, arguments.only) else ():
                for method in arguments.methods:
                    options = f"method: {method}, {PATTERNS[pattern]}"
                    yield name, pattern, method, prune(name, options, arguments, Path(folder))


def main() -> None:
    parser: Any = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="*", help="glob over the models' names")
    parser.add_argument("--cases", nargs="+", default=list(PATTERNS), choices=PATTERNS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--synthetic", action="store_true", help="calibrate on synthetic samples")
    heads = "".join(f"{name:>10}" for name in COLUMNS)
    print(f"{'model':29}{'zeros':12}{'method':13}{heads}", flush=True)
    for model, pattern, method, row in rows(parser.parse_args()):
        figures = "".join(f"{row[name]:>10.4g}" for name in COLUMNS)
        print(f"{model:29}{pattern:12}{method:13}{figures}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

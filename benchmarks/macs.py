"""Compare MACs with published and independently counted figures, graph by graph.

    python benchmarks/macs.py [FOLDER] [--all]

FOLDER is the folder of graphs and truth.csv (default: $PARE_SHARED/archs). Prints the graphs that deviate
by more than 0.1 % (with --all: every graph) and exits with 1 if any deviates by more than 1 % beyond what
the rounding of the published figure explains (torchvision publishes three decimals of a GMAC).
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIMIT = 0.01
ROUNDING_MACS = {"torchvision": 0.5e6, "timm": 0.0, "ncnn": 0.0}
# notes that say that the published figure counts another graph than the file holds
FOLDED = "constant-folded"
WRONG = ("convmixer",)


@dataclass(frozen=True)
class Case:
    name: str
    path: Path
    expected_macs: float
    rounding_macs: float

    def deviation(self, macs: int) -> float:
        """Return the relative deviation."""
        return macs / self.expected_macs - 1

    def is_off(self, macs: int) -> bool:
        """Return whether it is beyond the limit even if the expected figure was rounded unfavourably."""
        return abs(macs - self.expected_macs) - self.rounding_macs > LIMIT * self.expected_macs


def cases(folder: Path) -> Iterator[Case]:
    """Yield the graphs to compare: timm against its MAC-only column, the others against the published one."""
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if FOLDED in row["note"] or row["name"].startswith(WRONG):
                continue
            column = "gmacs_fvcore_macs_only" if row["set"] == "timm" else "gmacs_published"
            name = f"{row['set']}/{row['name']}"
            yield Case(name, folder / row["file"], float(row[column]) * 1e9, ROUNDING_MACS[row["set"]])


def counted_macs(path: Path) -> int:
    """Return the MACs of a graph; an operator that cannot be counted is an error."""
    from onnx_pare.cost.count import count
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.shapes import infer, input_shapes

    model = load_model(path)
    cost = count(model, infer(model, input_shapes(model)))
    if cost.uncounted:
        raise SystemExit(f"{path}: not counted: {cost.uncounted}")
    return cost.macs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(os.environ.get("PARE_SHARED", "../shared"))
    parser.add_argument("folder", nargs="?", type=Path, default=shared / "archs")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    started, worst, failed = time.perf_counter(), 0.0, 0
    graphs = list(cases(options.folder))
    print(f"{'graph':48} {'expected MACs':>18} {'counted MACs':>18} {'deviation':>10}")
    for case in graphs:
        macs = counted_macs(case.path)
        deviation = case.deviation(macs)
        worst, failed = max(worst, abs(deviation)), failed + case.is_off(macs)
        if options.all or abs(deviation) > LIMIT / 10:
            print(f"{case.name:48} {case.expected_macs:18,.0f} {macs:18,} {deviation:+10.3%}")
    seconds = time.perf_counter() - started
    verdict = f"worst deviation {worst:.3%}, {failed} off by more than {LIMIT:.0%}"
    print(f"{len(graphs)} graphs, {verdict}, {seconds:.1f} s")
    return 1 if failed or not graphs else 0


if __name__ == "__main__":
    sys.exit(main())

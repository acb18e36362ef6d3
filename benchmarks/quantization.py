"""Static int8 by this project, onnxruntime and nncf: accuracy, speed, time, memory, size, in one run.

    python benchmarks/quantization.py [FOLDER...] [--models NAME...] [--archs] [--tools NAME...]
        [--peers-python PATH] [--samples 128] [--json FILE]

FOLDER is $PARE_SHARED/models. Every tool gets the same calibration samples and runs in a process of its own;
fidelity and accuracy are then measured on other samples. All results of a model are timed in turn with the
float model, one thread, in one process; a speed-up is the median of the ratios of the rounds, with its 95 %
interval. A peer that this interpreter cannot import runs in the interpreter --peers-python.

`quantize s` is the work without imports (for onnx-pare: its passes, without verifying and measuring the
result), `process s` all of it, `peak MB` the memory of that process and of those that it starts.
--archs compares graphs of $PARE_SHARED/archs with seeded weights instead: their speed counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import quantizers
from quantization_cases import Subject, compare, subjects
from quantization_tables import HEAD, row_line, summarize, summary_lines
from real_models import SHARED, command

OURS = "onnx-pare"
TOOLS = (OURS, *quantizers.PEERS)
ARCH_TOOLS = (OURS, "onnxruntime-minmax")
VERSIONS = """
import json, sys
from importlib.metadata import distributions
names = {"onnx-pare", "onnx", "onnxruntime", "nncf", "numpy"}
found = {d.metadata["Name"].lower(): d.version for d in distributions()}
found = {name: version for name, version in sorted(found.items()) if name in names}
print(json.dumps({"python": sys.version.split()[0], **found}))
"""


def ours(subject: Subject, target: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Quantize with the `optimize` command; nothing is timed there."""
    settings = [f"calibration.samples={arguments.samples}", "benchmark.profiles=[]"]
    flags = [*subject.case.flags(SHARED / "data", evaluate=False), *(f"--set={each}" for each in settings)]
    found = quantizers.run([*command(subject.model, arguments.recipe, target), *flags], arguments.timeout)
    if found["code"]:
        return found
    report = json.loads(found["stdout"])
    seconds = sum(one["seconds"] for one in report["passes"])
    return {**found, "seconds": seconds, "note": "; ".join(report["warnings"])}


def peer(tool: str, subject: Subject, target: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    files = map(str, (subject.model, subject.samples, target))
    script = [interpreter(tool, arguments.peers_python), quantizers.__file__, tool]
    found = quantizers.run([*script, *files], arguments.timeout)
    return found if found["code"] else found | json.loads(found["stdout"].splitlines()[-1])


def interpreter(tool: str, other: str | None) -> str:
    """Return this interpreter if it has the package that the tool's name begins with, else the other."""
    here = importlib.util.find_spec(tool.partition("-")[0]) is not None
    return sys.executable if here or other is None else other


def quantize(tool: str, subject: Subject, target: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return seconds, process_s, peak_bytes and note of a tool, and under `failure` why it wrote nothing."""
    run = ours(subject, target, arguments) if tool == OURS else peer(tool, subject, target, arguments)
    row = {key: run.get(key) for key in ("seconds", "process_s", "peak_bytes", "note")}
    failed = run["code"] != 0 or not target.is_file()
    return {"tool": tool, "path": target, **row, "failure": quantizers.reason(run) if failed else None}


def measured(subject: Subject, folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for every tool."""
    from onnx_pare.errors import PareError

    try:
        subject.save_samples(arguments.samples)
        rows = []
        for tool in arguments.tools:
            print(f"  {tool} ...", file=sys.stderr, flush=True)
            rows.append(quantize(tool, subject, folder / f"{tool}.onnx", arguments))
        compare(subject, rows, arguments)
    except PareError as error:  # the float model cannot be used
        rows = [{"tool": tool, "failure": str(error)} for tool in arguments.tools]
    return [{"model": subject.name, **row, "path": None} for row in rows]


def versions(python: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(
        subprocess.run([python, "-I", "-c", VERSIONS], capture_output=True, check=True).stdout
    )
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--archs", action="store_true", help="untrained graphs instead of models")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="these only")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, help="default: all; with --archs two")
    parser.add_argument("--recipe", default="int8", help="of onnx-pare")
    parser.add_argument("--peers-python", metavar="PATH", help="interpreter for peers missing here")
    parser.add_argument("--samples", type=int, default=128, help="for calibration")
    parser.add_argument("--eval-samples", type=int, help="default: 1000, or 64 synthetic ones")
    parser.add_argument("--rounds", type=int, default=100, help="timings of each variant, at most")
    parser.add_argument("--budget", type=float, default=30, help="seconds for them, at most")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one tool, at most")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.archs and given.folders:
        parser.error("--archs takes no folders")
    given.folders = given.folders or [SHARED / "models"]
    given.tools = given.tools or (ARCH_TOOLS if given.archs else TOOLS)
    return given


def main() -> None:
    given, rows = parse(), []
    used = {tool: versions(interpreter(tool, given.peers_python)) for tool in given.tools}
    for tool, found in used.items():
        print(f"{tool:24}" + ", ".join(f"{name} {version}" for name, version in found.items()))
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects(given, Path(folder)):
            print(f"\n{subject.name}: {subject.data}", flush=True)
            with tempfile.TemporaryDirectory(dir=folder) as own:
                rows += (new := measured(subject, Path(own), given))
            print("\n".join([HEAD, *map(row_line, new)]), flush=True)
    summary = summarize(rows, OURS)
    print("\n".join(["", *summary_lines(summary)]))
    if given.json:
        given.json.write_text(
            json.dumps({"versions": used, "rows": rows, "summary": summary}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()

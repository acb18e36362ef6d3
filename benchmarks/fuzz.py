"""Damaged and hostile models and recipes through the real command line: what must never happen, happens not.

    python benchmarks/fuzz.py [--models 5000] [--recipes 2000] [--jobs 1] [--first SEED] [--only SEED]

Every case is made from its seed alone (even: a model, odd: a recipe) and runs in a forked child of this
process, with limits on time and memory. A finding is a traceback, an exit code that docs/exit-codes.md does
not name, a native crash, a hang, memory beyond the limit, files left behind, a changed input, or an output
that onnxruntime does not load. `--only SEED` runs one case and shows all of it; `--keep FOLDER` writes its
files.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import fuzz_bytes
import fuzz_models
import fuzz_protos
import fuzz_recipes
from fuzz_case import OUTPUT, Case, Ended, run

PRELOADED = (
    *(
        "onnx.reference",
        "onnx_ir.passes.common",
        "onnxruntime",
        "onnx_pare.cli.optimize",
        "onnx_pare.cli.render",
    ),
    *(
        "onnx_pare.pipeline.run",
        "onnx_pare.pipeline.measure",
        "onnx_pare.pipeline.schema",
        "onnx_pare.bench.versus",
    ),
)
COMMANDS = ("optimize",) * 8 + ("inspect", "compare")


def main() -> int:
    given = arguments()
    preload()
    if given.only is not None:
        return show(case(given.only), given)
    seeds = [2 * (given.first + index) for index in range(given.models)]
    seeds += [2 * (given.first + index) + 1 for index in range(given.recipes)]
    started, ended = time.perf_counter(), []
    with ThreadPoolExecutor(given.jobs) as pool:
        for one in pool.map(lambda seed: attempt(seed, given), seeds):
            ended.append(one)
            for finding in one.findings:
                print(f"{one.case.seed:7} {one.case.kind}: {finding}  | {one.reason}", flush=True)
    table(ended, time.perf_counter() - started)
    return 1 if any(one.findings for one in ended) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", type=int, default=5000, help="mutated models")
    parser.add_argument("--recipes", type=int, default=2000, help="mutated recipes")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="where the seeds start")
    parser.add_argument("--only", type=int, metavar="SEED")
    parser.add_argument("--debug", action="store_true", help="with --only: show the traceback of an error")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GIB", help="limit of one case")
    return parser.parse_args()


def preload() -> None:
    """Import here, once, what every case needs."""
    for module in PRELOADED:
        importlib.import_module(module)


def case(seed: int) -> Case:
    """Make a case from its seed."""
    rng = Random(seed)
    return recipe_case(rng, seed) if seed % 2 else model_case(rng, seed)


def model_case(rng: Random, seed: int) -> Case:
    name, donor = rng.choice(fuzz_models.names()), rng.choice(fuzz_models.names()[:-2])
    data = fuzz_models.base(name)
    if rng.random() < 0.25:
        mutation = rng.choice(list(fuzz_bytes.MUTATIONS))
        kind, changed = mutation, fuzz_bytes.MUTATIONS[mutation](rng, data)
    else:
        mutations = fuzz_protos.MUTATIONS if rng.random() < 0.5 else fuzz_protos.VALID
        chosen = rng.choices(list(mutations), k=rng.choice([1, 1, 1, 2, 3]))
        kind = "+".join(chosen)
        changed = fuzz_protos.mutate(rng, data, fuzz_models.base(donor), chosen)
    command = rng.choice(COMMANDS)
    files = {
        "m.onnx": changed,
        "original.onnx": data,
        fuzz_models.EXTERNAL: fuzz_models.external_bytes(),
        "r.yaml": fuzz_recipes.quick(rng, without_simplify=rng.random() < 0.7).encode(),
    }
    run_it = {
        "optimize": [
            "optimize",
            "m.onnx",
            "-c",
            "r.yaml",
            "-o",
            OUTPUT,
            "--report-json",
            "report.json",
            "-q",
        ],
        "inspect": ["pare", "inspect", "m.onnx"],
        "compare": ["pare", "compare", "original.onnx", "m.onnx"],
    }
    return Case(seed, f"model {name} {kind}", run_it[command], files)


def recipe_case(rng: Random, seed: int) -> Case:
    kind, data = fuzz_recipes.mutated(rng)
    name = rng.choice(["residual", "separable", "attention", "recurrent"])
    files = {"m.onnx": fuzz_models.base(name), "r.yaml": data}
    command = ["optimize", "m.onnx", "-c", "r.yaml", "-o", OUTPUT, "-q", "--shape", "x=1x3x8x8"]
    return Case(seed, f"recipe {kind}", command[:-2] if name != "residual" else command, files)


def attempt(seed: int, given: argparse.Namespace) -> Ended:
    return run(case(seed), timeout_s=given.timeout, memory_bytes=int(given.memory * 2**30))


def show(one: Case, given: argparse.Namespace) -> int:
    if given.keep:
        given.keep.mkdir(exist_ok=True)
        for name, content in one.files.items():
            (given.keep / name).write_bytes(content)
    print(one.kind, "|", *one.command)
    print(one.files["r.yaml"].decode(errors="replace")[:2000])
    ended = run(
        replace(one, command=[*one.command, *["--debug"][: given.debug]]),
        timeout_s=given.timeout,
        memory_bytes=int(given.memory * 2**30),
    )
    print(f"exit code {ended.code}, {ended.seconds:.1f} s, {ended.peak_bytes / 2**20:.0f} MiB\n{ended.said}")
    print(*(ended.findings or ["nothing found"]), sep="\n")
    return 1 if ended.findings else 0


def table(ended: list[Ended], seconds: float) -> None:
    print(
        f"\n{len(ended)} cases in {seconds:.0f} s; the longest {max(e.seconds for e in ended):.1f} s, ",
        end="",
    )
    print(f"the largest {max(e.peak_bytes for e in ended) / 2**20:.0f} MiB")
    for what in ("model", "recipe"):
        codes = Counter(e.code for e in ended if e.case.kind.startswith(what))
        print(
            f"{what + 's':8}",
            ", ".join(f"{count} ended with {code}" for code, count in sorted(codes.items())),
        )
    print("\nreasons given, by how often")
    for reason, count in Counter(e.reason for e in ended if e.reason).most_common(40):
        print(f"{count:6}  {reason.removeprefix('error: ')}")
    findings = Counter(finding.split(":")[0] for e in ended for finding in e.findings)
    print("\nfindings:", ", ".join(f"{count} {what}" for what, count in findings.most_common()) or "none")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())

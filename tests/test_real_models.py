"""Every real model through every shipped recipe: done and valid, with outputs near the original's."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest

from onnx_pare.bench.fidelity import compare
from onnx_pare.calibration.data import Samples, open_samples
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.load import load_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.signature import signature
from onnx_pare.passes import simplify
from onnx_pare.pipeline.recipe import load_recipe
from onnx_pare.pipeline.run import Job, run
from onnx_pare.sparsity import second_order

ROOT = Path(__file__).resolve().parents[1]
MODELS = Path(os.environ.get("PARE_SHARED", ROOT.parent / "shared")) / "models"
QUICK = ["benchmark.profiles=[]", "calibration.samples=2"]


def _benchmark() -> ModuleType:
    """Return benchmarks/real_models.py, which knows the data and free dimensions of each model."""
    spec = importlib.util.spec_from_file_location("real_models", ROOT / "benchmarks" / "real_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


BENCHMARK = _benchmark()
RECIPES = BENCHMARK.recipes()
# SQNR in dB that each model keeps on 2 samples, in onnxruntime 1.23 and 1.31, less some 3 dB; 100 where float
# rounding is all that differs.
# For prune50 on samples that it was not fitted to.
FLOORS = {  # int8, int8-dynamic, fp16, prune50, weights4
    "alibaba_mobilenet_cifar10": (19, 45, 45, -4, 2),
    "basic_pitch": (10, 100, 36, 17, 4),
    "dtln_1": (38, 28, 57, 7, 13),
    "fastestdet_coco": (10, 100, 45, -1, 3),
    "mlperf_tiny_kws_dscnn": (41, 68, 73, -1, 40),
    "mlperf_tiny_resnet8_cifar10": (52, 66, 69, 2, -2),
    "mnist_lenet_tengine": (36, 40, 68, 14, 19),
    "mobilenet_v1_025_224_imagenet": (8, 100, 23, -4, -12),
    "nnsplit_en": (35, 36, 67, 8, 14),
    "resnet20_cifar10": (26, 48, 65, 7, 11),
    "resnet56_cifar10": (23, 44, 61, 8, 12),
    "silero_vad_16k": (19, 28, 51, 7, -16),
    "superres_x3": (22, 100, 73, 32, 11),
    "ultraface_rfb320": (44, 100, 66, 36, 26),
}
LOSSLESS_DB = 100.0


def floor(model: str, recipe: str) -> float:
    recipes = ("int8", "int8-dynamic", "fp16", "prune50", "weights4")
    known = dict(zip(recipes, FLOORS[model], strict=True))
    return known.get(recipe, LOSSLESS_DB)


def optimize(model: str, recipe: str, target: Path) -> float:
    """Run a shipped recipe as the command does, but without latency; return the SQNR.

    That of prune50 is measured on samples that it was not fitted to.
    """
    case = BENCHMARK.CASES.get(model, BENCHMARK.Case())
    flags = {"--preprocess": case.preprocess}
    if case.data is not None:
        flags["--calibration"] = str(MODELS.parent / "data" / f"{case.data}_calibration.npz")
    job = Job(MODELS / f"{model}.onnx", load_recipe(recipe, QUICK, flags), target, case.shapes)
    fidelity = run(job).fidelity
    if recipe == "prune50":
        fidelity = compare(job.model, target, unseen(job.model, case))
    assert fidelity.sqnr_db is not None
    return fidelity.sqnr_db


def unseen(path: Path, case: Any) -> Samples:
    """Return a few samples that no recipe is given."""
    model = load_model(path)
    if case.data is None:
        return synthetic_samples(model, count=4, seed=1, shapes=case.shapes)
    data = MODELS.parent / "data" / f"{case.data}_validation.npz"
    preprocess = PRESETS[case.preprocess] if case.preprocess else None
    return open_samples(data, model, preprocess=preprocess, limit=4)


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let recipes share what onnxsim made of a model; give each run one thread, as tests run in parallel."""
    kept = tmp_path_factory.mktemp("onnxsim")
    real = simplify.run_onnxsim

    def remembered(source: Path, target: Path, *, skip: Sequence[str], timeout_s: float) -> None:
        key = hashlib.sha256(source.read_bytes() + ",".join(skip).encode()).hexdigest()
        if not (kept / key).exists():
            real(source, target, skip=skip, timeout_s=timeout_s)
            shutil.copyfile(target, kept / key)
        shutil.copyfile(kept / key, target)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"STEPS": 4, "STEPPED": 4, "MOST_ROUNDS": 20}.items():
            patch.setattr(second_order, name, value)
        patch.setattr(simplify, "run_onnxsim", remembered)
        patch.setattr(os, "cpu_count", lambda: 1)
        yield


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("model", FLOORS)
def test_every_recipe_works(model: str, tmp_path: Path) -> None:
    promised = signature(load_model(MODELS / f"{model}.onnx"))
    found, low = {}, {}
    for recipe in RECIPES:
        target = tmp_path / f"{recipe}.onnx"
        found[recipe] = optimize(model, recipe, target)
        low[recipe] = floor(model, recipe)
        Session(target)
        onnx.checker.check_model(target, full_check=True)
        assert signature(load_model(target)) == promised, recipe
    assert {r: db for r, db in found.items() if db < low[r]} == {}


def test_no_model_is_left_out(shared: Path) -> None:
    assert {path.stem for path in (shared / "models").glob("*.onnx")} == set(FLOORS)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(("model", "recipe"), [("mlperf_tiny_kws_dscnn", "int8"), ("dtln_1", "fp16")])
def test_two_runs_give_the_same_bytes(model: str, recipe: str, tmp_path: Path) -> None:
    """In processes of their own, in which sets and dicts of strings have another order."""
    case = BENCHMARK.CASES.get(model, BENCHMARK.Case())
    flags = [*case.flags(MODELS.parent / "data"), *(f"--set={setting}" for setting in QUICK)]
    command = [sys.executable, "-c", "from onnx_pare.cli.main import optimize; optimize()"]
    for seed in ("1", "2"):
        given = [str(MODELS / f"{model}.onnx"), "-c", recipe, "-q", "-o", str(tmp_path / f"{seed}.onnx")]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([*command, *given, *flags], env=env, check=True)
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()

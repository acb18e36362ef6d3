"""What the rule sets fuse, on graphs of a few layers."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from onnx_pare.cost.formulas import CLASS_OF_COMPOUND
from onnx_pare.cost.fusion import RULES
from onnx_pare.cost.kernels import Kernel

Kernels = Callable[..., list[Kernel]]
CONV = "Conv <pads = [1,1,1,1]>"
POOL = "h = MaxPool <kernel_shape = [1,1]> (x)"
PORTS = "float[1,16,6,6] x, float[16,16,3,3] w, float[16] b"
WEIGHTS = {"w": (16, 16, 3, 3), "b": (16,)}


def fused(kernels_of: Kernels, body: str, rules: str, ports: str = PORTS, weights: Any = None) -> list[str]:
    """Return the kernels as `Conv 3`: operator, and how many nodes it stands for; no changes of layout."""
    text = f"g ({ports}) => (float[N,M,K,L] y) {{ {body} }}"
    found = kernels_of(text, rules, weights or WEIGHTS)
    return [f"{each.op} {each.nodes}" for each in found if each.nodes]


# chain -> rule set -> kernels
CHAINS: dict[str, dict[str, list[str]]] = {
    f"c = {CONV}(x, w) n = BatchNormalization(c, b, b, b, b) y = Relu(n)": {
        "none": ["Conv 1", "BatchNormalization 1", "Relu 1"],
        "onnxruntime-cpu": ["Conv 3"],
        "ncnn": ["Conv 3"],
        "tflite": ["Conv 3"],
        "mcu": ["Conv 3"],
        "gpu-eager": ["Conv 1", "BatchNormalization 1", "Relu 1"],
        "gpu-compiled": ["Conv 1", "BatchNormalization 2"],
        "cpu-compiled": ["Conv 3"],
        "tensorrt": ["Conv 3"],
        "npu": ["Conv 3"],
    },
    f"{POOL} c = {CONV}(h, w) s = Add(c, h) y = Relu(s)": {
        "onnxruntime-cpu": ["MaxPool 1", "Conv 3"],
        "ncnn": ["MaxPool 1", "Conv 1", "Add 1", "Relu 1"],
        "tflite": ["MaxPool 1", "Conv 1", "Add 2"],
        "gpu-eager": ["MaxPool 1", "Conv 1", "Add 1", "Relu 1"],
        "gpu-compiled": ["MaxPool 1", "Conv 1", "Add 2"],
        "tensorrt": ["MaxPool 1", "Conv 3"],
    },
    # the sum would need both in blocks of channels
    f"c = {CONV}(x, w) s = Add(c, x) y = Relu(s)": {
        "onnxruntime-cpu": ["Conv 1", "Add 1", "Relu 1"],
    },
    # one sum and one activation, in this order
    f"{POOL} c = {CONV}(h, w) r = Relu(c) y = Add(r, h)": {
        "onnxruntime-cpu": ["MaxPool 1", "Conv 2", "Add 1"],
        "cpu-compiled": ["MaxPool 1", "Conv 3"],
    },
    f"{POOL} c = {CONV}(h, w) s = Add(c, h) t = Add(s, h) y = Relu(t)": {
        "onnxruntime-cpu": ["MaxPool 1", "Conv 2", "Add 1", "Relu 1"],
        "npu": ["MaxPool 1", "Conv 4"],
    },
    f"c = {CONV}(x, w) s = Sigmoid(c) y = Mul(c, s)": {
        "none": ["Conv 1", "Sigmoid 1", "Mul 1"],
        "onnxruntime-cpu": ["Conv 1", "silu 2"],
        "gpu-eager": ["Conv 1", "silu 2"],
        "npu": ["Conv 3"],
    },
    f"c = {CONV}(x, w) y = HardSwish(c)": {
        "onnxruntime-cpu": ["Conv 2"],
        "ncnn": ["Conv 2"],
        "tflite": ["Conv 1", "HardSwish 1"],
    },
    # a residual that is read again, and the normalization behind it
    "a = Relu(x) n = InstanceNormalization(a, b, b) y = Add(n, a)": {
        "gpu-eager": ["Relu 1", "InstanceNormalization 1", "Add 1"],
        "gpu-compiled": ["InstanceNormalization 3"],
    },
    # a batch normalization that no layer comes before
    f"{POOL} n = BatchNormalization(h, b, b, b, b) y = Relu(n)": {
        "onnxruntime-cpu": ["MaxPool 1", "BatchNormalization 2"],
        "ncnn": ["MaxPool 1", "BatchNormalization 1", "Relu 1"],
    },
}


@pytest.mark.parametrize(
    ("body", "rules"), [(body, rules) for body, each in CHAINS.items() for rules in each]
)
def test_chains(body: str, rules: str, kernels_of: Kernels) -> None:
    assert fused(kernels_of, body, rules) == CHAINS[body][rules]


def test_what_another_node_reads_or_is_an_output_is_stored(kernels_of: Kernels) -> None:
    text = f"g ({PORTS}) => (float[N,M,K,L] y, float[N,M,K,L] c) {{ c = {CONV}(x, w) y = Relu(c) }}"
    assert [each.nodes for each in kernels_of(text, "npu", WEIGHTS)] == [1, 1]


def test_views_are_read_through(kernels_of: Kernels) -> None:
    """The convolution's output is stored for the pooling, so what reads a view of it is no part of it."""
    body = f"""c = {CONV}(x, w) i = Identity(c) r = Relu(i) p = MaxPool <kernel_shape = [1,1]> (c)
        y = Add(r, p)"""
    assert fused(kernels_of, body, "onnxruntime-cpu") == ["Conv 1", "Relu 1", "MaxPool 1", "Add 1"]


def test_a_bias_behind_a_product(kernels_of: Kernels) -> None:
    ports, weights = "float[1,2,6,8] x, float[8,8] w, float[8] b, float[2,6,8] m", {"w": (8, 8), "b": (8,)}
    bias = "p = MatMul(x, w) y = Add(p, b)"
    assert fused(kernels_of, bias, "onnxruntime-cpu", ports, weights) == ["MatMul 2"]
    assert fused(kernels_of, bias, "none", ports, weights) == ["MatMul 1", "Add 1"]
    mask = "p = MatMul(x, w) y = Add(p, m)"
    assert fused(kernels_of, mask, "gpu-eager", ports, {**weights, "m": (2, 6, 8)}) == ["MatMul 1", "Add 1"]


def test_compiled_kernels_never_wait_for_themselves(kernels_of: Kernels) -> None:
    """The last Add reads what comes before and after the convolution: it cannot run with the first Relu."""
    body = f"a = Relu(x) c = {CONV}(a, w) s = Sigmoid(c) y = Add(s, a)"
    assert fused(kernels_of, body, "gpu-compiled") == ["Relu 1", "Conv 1", "Sigmoid 2"]


def test_integers_are_no_residual_of_onnxruntime(kernels_of: Kernels) -> None:
    q = "QuantizeLinear({}, s, z)"
    d = "DequantizeLinear({}, s, z)"
    body = f"""xq = {q.format("x")} xd = {d.format("xq")} c = {CONV}(xd, w) r = Relu(c) cq = {q.format("r")}
        cd = {d.format("cq")} a = Add(cd, xd) aq = {q.format("a")} y = {d.format("aq")}"""
    ports = PORTS + ", float s, uint8 z"
    weights = {**WEIGHTS, "s": (), "z": ()}
    names = ["QuantizeLinear 1", "Conv 1", "Add 1", "DequantizeLinear 1"]
    assert fused(kernels_of, body, "onnxruntime-cpu", ports, weights) == names
    text = f"g ({ports}) => (float[N,M,K,L] y) {{ {body} }}"
    seen = kernels_of(text, "onnxruntime-cpu", weights)
    assert [each.dtype for each in seen] == ["uint8", "int8", "int8", "float32"]
    assert [each.written_bytes for each in seen] == [576, 576, 576, 4 * 576]


def test_rules_name_compounds_that_exist() -> None:
    known = {*CLASS_OF_COMPOUND, "product"}
    for rules in RULES.values():
        assert rules.compounds <= known
        named = {name for each in (*rules.after.values(), *rules.folds.values()) for name in each}
        assert {name for name in named if name.islower()} <= known


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1", "regnet_x_400mf"])
def test_onnxruntime_runs_as_many_kernels(name: str, shared: Path) -> None:
    """`benchmarks/fusion.py` compares all graphs; the layout of channels differs between CPUs."""
    path = shared / "archs" / "torchvision" / f"{name}.onnx"
    if not path.is_file() or platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip(f"no graph {path}, or another kind of CPU")
    benchmark = load_benchmark()
    theirs, ours = benchmark.by_onnxruntime(path), benchmark.by_rules(path)
    for reorder in ("ReorderInput", "ReorderOutput"):
        theirs.pop(reorder, None)
        ours.pop(reorder, None)
    assert ours == theirs


def load_benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "fusion.py"
    spec = importlib.util.spec_from_file_location("benchmarks_fusion", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module

"""quantize_weights: what is stored how, how small the file gets, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from pydantic import ValidationError

from onnx_pare.bench.fidelity import compare
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import PassError, UsageError
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import serialize, write_model
from onnx_pare.graph.signature import signature
from onnx_pare.graph.verify import problems
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.quantize_weights import CONVOLUTIONS, GAINS, QuantizeWeights
from onnx_pare.quantization import nbits, stored_weights

from .conftest import parsed

Check = Callable[..., Outcome]
MakeContext = Callable[..., Context]

HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'
NET = (
    "g (float[N,16,6,6] x) => (float[N,8] y) <float[32,16,3,3] c, float[512,64] m, float[64,8] f, "
    "float[8] b> { a = Conv (x, c)  r = Flatten (a)  h = MatMul (r, m)  y = Gemm (h, f, b) }"
)
LSTM = (
    "g (float[5,N,24] x) => (float[5,2,N,20] y) <float[2,80,24] w, float[2,80,20] r> "
    '{ y = LSTM <hidden_size = 20, direction = "bidirectional"> (x, w, r) }'
)
UP = (
    "g (float[N,8,5,5] x) => (float[N,4,11,11] y) <float[8,4,3,3] w> "
    "{ y = ConvTranspose <strides = [2, 2]> (x, w) }"
)
WORDS = "g (int64[N,3] x) => (float[N,3,24] y) <float[100,24] w> { y = Gather (w, x) }"
BRANCH = (
    "g (float[N,20] x, bool flag) => (float[N,20] y) <float[20,20] w> { a = MatMul (x, w)  y = If (flag) < "
    "then_branch = t () => (float[N,20] p) <float[20,20] v> { h = MatMul (a, v)  p = Add (h, a) }, "
    "else_branch = e () => (float[N,20] q) { q = MatMul (a, w) }> }"
)
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "8": {},
    "8 in blocks": {"block_size": 32},
    "8 by DequantizeLinear": {"format": "dequantize"},
    "8 by MatMulNBits": {"format": "matmulnbits"},
    "8 log": {"levels": "log"},
    "4": {"bits": 4},
    "4 per channel": {"bits": 4, "block_size": "channel"},
    "4 by DequantizeLinear": {"bits": 4, "format": "dequantize"},
    "4 log": {"bits": 4, "levels": "log"},
}


def made(text: str, folder: Path, dtype: Any = np.float32) -> Path:
    """Write the model that a graph's text describes, its weights filled with seeded numbers."""
    proto = onnx.parser.parse_model(HEAD + text)
    rng = np.random.default_rng(0)
    for graph in (proto.graph, *(a.g for n in proto.graph.node for a in n.attribute if a.HasField("g"))):
        outputs = {name for node in graph.node for name in node.output}
        for value in [value for value in graph.value_info if value.name not in outputs]:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            weight = (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(dtype)
            graph.initializer.append(onnx.numpy_helper.from_array(weight, value.name))
            graph.value_info.remove(value)
    path = folder / "before.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def quantized(path: Path, context: MakeContext, **given: Any) -> tuple[Outcome, Path, float]:
    """Quantize a file and check the result; return the outcome, the new file, and the outputs' SQNR."""
    model, after = load_model(path), path.with_name("after.onnx")
    setting, port = (
        context(model, count=2, shapes={"x": (5, 1, 24)} if "lstm" in path.name else None),
        signature(model),
    )
    outcome = QuantizeWeights(QuantizeWeights.Options(**given)).apply(model, setting)
    write_model(outcome.model, after)
    assert problems(after, port, signature(outcome.model)) == []
    onnx.checker.check_model(after, full_check=True)
    found = compare(path, after, setting.samples).sqnr_db
    assert found is not None
    return outcome, after, found


def least_db(given: Mapping[str, Any]) -> float:
    """Return what outputs of a layer or two keep at the least."""
    return {("uniform", 8): 33.0, ("uniform", 4): 12.0, ("log", 8): 23.0, ("log", 4): 7.0}[
        given.get("levels", "uniform"), given.get("bits", 8)
    ]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("text", [NET, UP, WORDS, BRANCH], ids=["net", "up", "words", "branch"])
def test_outputs_stay_near_and_the_file_shrinks(
    name: str, text: str, context: MakeContext, tmp_path: Path
) -> None:
    given = OPTIONS[name]
    path = made(text, tmp_path)
    outcome, after, sqnr_db = quantized(path, context, **given)
    assert sqnr_db > least_db(given)
    saved_bytes = path.stat().st_size - after.stat().st_size
    nodes_bytes = 700 * outcome.changed + (1200 if "levels" in given else 0)
    assert outcome.notes["saved_bytes"] - nodes_bytes < saved_bytes <= outcome.notes["saved_bytes"]
    assert outcome.notes["weight_sqnr_db_min"] > least_db(given)


@pytest.mark.parametrize("name", OPTIONS)
def test_recurrent_weights(name: str, context: MakeContext, tmp_path: Path) -> None:
    path = made(LSTM, tmp_path)
    path = path.rename(tmp_path / "lstm.onnx")
    outcome, after, sqnr_db = quantized(path, context, **OPTIONS[name])
    assert outcome.changed == 2
    assert sqnr_db > least_db(OPTIONS[name])
    assert after.stat().st_size < path.stat().st_size / 2.2


@pytest.mark.parametrize(("bits", "most"), [(8, 0.28), (4, 0.17)])
def test_the_size_on_disk(bits: int, most: float, context: MakeContext, tmp_path: Path) -> None:
    path = made(NET, tmp_path)
    _, after, _ = quantized(path, context, bits=bits)
    assert after.stat().st_size < most * path.stat().st_size


def test_what_is_noted_and_said(context: MakeContext, tmp_path: Path) -> None:
    outcome, _, _ = quantized(made(NET, tmp_path), context, bits=4)
    notes = outcome.notes
    assert (outcome.changed, notes["quantized_weights"]) == (3, 3)
    assert notes["formats"] == {"cast": 2, "matmulnbits": 1}
    assert notes["left_alone"] == {}
    assert [layer["sqnr_db"] for layer in notes["worst"]] == sorted(w["sqnr_db"] for w in notes["worst"])
    assert {layer["weight"] for layer in notes["worst"]} == {"c", "m", "f"}
    assert notes["weight_sqnr_db_min"] == notes["worst"][0]["sqnr_db"] <= notes["weight_sqnr_db_mean"]
    said = (GAINS["cast"], GAINS["matmulnbits"], CONVOLUTIONS)
    assert outcome.warnings == tuple(f"quantize_weights: {text}" for text in said)


def test_onnxruntime_restores_cast_weights_as_it_loads(
    context: MakeContext, kernels: Callable[[Path], set[str]], tmp_path: Path
) -> None:
    for given in ({"bits": 4, "format": "cast"}, {"bits": 4, "levels": "log"}, {"format": "cast"}):
        _, after, _ = quantized(made(NET, tmp_path), context, **given)
        assert not kernels(after) & {"Cast", "Mul", "Gather", "Slice", "Transpose"}


@pytest.fixture
def kernels(tmp_path: Path) -> Callable[[Path], set[str]]:
    """Return a function that lists the operators of the graph onnxruntime makes of a file."""
    from onnx_pare.graph.session import Session

    def operators(path: Path) -> set[str]:
        Session(path, optimized_path=tmp_path / "optimized.onnx")
        return {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}

    return operators


def test_weights_that_are_levels_already_stay_exact(context: MakeContext, tmp_path: Path) -> None:
    path = made(UP, tmp_path)
    proto = onnx.load(path)
    whole = np.random.default_rng(0).integers(-8, 8, (8, 4, 3, 3)).astype(np.float32)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(whole / 16, "w"))
    onnx.save(proto, path)
    outcome, _, sqnr_db = quantized(path, context, bits=4)
    assert (outcome.notes["weight_sqnr_db_min"], sqnr_db) == (200, np.inf)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("text", [NET, BRANCH], ids=["net", "branch"])
def test_a_second_run_leaves_it_alone(
    name: str, text: str, context: MakeContext, check_untouched: Check, tmp_path: Path
) -> None:
    outcome, after, _ = quantized(made(text, tmp_path), context, **OPTIONS[name])
    again = check_untouched(QuantizeWeights(QuantizeWeights.Options(**OPTIONS[name])), load_model(after))
    assert "quantized already" in again.warnings[0]
    assert outcome.changed


def test_what_is_left_alone(check_untouched: Check) -> None:
    model = parsed(
        f"""{HEAD} g (float[N,2] x) => (float[N,2] y, float[2,2] w)
        <float[2,2] w = {{1, 2, 3, 4}}, float[2,2] s = {{1, 2, 3, 4}}, float[2,2] n = {{1, 2, 3, 4}}>
        {{ a = MatMul (x, w)  b = MatMul (a, s)  y = MatMul (b, n) }}"""
    )
    model.graph.initializers["n"].const_value = ir.tensor(np.full((2, 2), np.nan, np.float32))
    transform = QuantizeWeights(QuantizeWeights.Options(min_elements=4, skip=["MatMul_1"]))
    outcome = check_untouched(transform, model)
    left = {"NaN or infinity": 1, "an input or output of the model": 1, "skip": 1}
    assert outcome.notes["left_alone"] == left
    assert "no float32 weight" in outcome.warnings[0]


def test_float16_weights_stay(context: MakeContext, tmp_path: Path) -> None:
    text = "g (float16[N,20] x) => (float16[N,20] y) <float16[20,20] w> { y = MatMul (x, w) }"
    path = made(text, tmp_path, np.float16)
    outcome = QuantizeWeights().apply(load_model(path), context(load_model(path)))
    assert (outcome.changed, outcome.notes["left_alone"]) == (0, {"float16": 1})


def test_weights_too_narrow_to_gain(check_untouched: Check, tmp_path: Path) -> None:
    ports = "(float[N,300,2,2] x) => (float[N,300,2,2] y)"
    text = f"g {ports} <float[300,1,1,1] w> {{ y = Conv <group = 300> (x, w) }}"
    outcome = check_untouched(QuantizeWeights(), load_model(made(text, tmp_path)))
    assert outcome.notes["left_alone"] == {"codes and scales take as much": 1}


def test_a_shared_weight_is_stored_once(context: MakeContext, tmp_path: Path) -> None:
    text = (
        "g (float[N,128] x) => (float[N,128] y) <float[128,128] w> { a = MatMul (x, w)  b = Relu (a)  "
        "y = MatMul (b, w) }"
    )
    for given, most in (({"bits": 4}, 0.17), ({"bits": 4, "format": "cast"}, 0.17)):
        path = made(text, tmp_path)
        outcome, after, _ = quantized(path, context, **given)
        assert outcome.changed == 1
        assert after.stat().st_size < most * path.stat().st_size


def test_constant_nodes_and_external_data(context: MakeContext, tmp_path: Path) -> None:
    path = made(NET, tmp_path)
    proto = onnx.load(path)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "m")
    proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["m"], value=weight))
    proto.graph.initializer.remove(weight)
    onnx.save(proto, path, save_as_external_data=True, location="w.data", size_threshold=1024)
    outcome, after, sqnr_db = quantized(path, context, bits=4, format="cast")
    assert outcome.changed == 3
    assert sqnr_db > least_db({"bits": 4})
    assert after.stat().st_size < 0.17 * 4 * (32 * 16 * 9 + 512 * 64 + 64 * 8 + 8)


def test_skip(context: MakeContext, tmp_path: Path) -> None:
    path = made(NET, tmp_path)
    outcome, _, _ = quantized(path, context, skip=["op:Conv"])
    assert (outcome.changed, outcome.notes["left_alone"]) == (2, {"skip": 1})
    with pytest.raises(UsageError, match=r"skip: 'op:Con' matches no node"):
        quantized(path, context, skip=["op:Con"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "matmulnbits"}, "has no MatMulNBits of 8 bits"),
        ({"bits": 4, "format": "cast"}, "casts no 4-bit integers"),
        ({"bits": 4, "levels": "log"}, "casts no 4-bit integers"),
    ],
)
def test_an_onnxruntime_that_cannot(
    given: dict[str, Any], message: str, context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nbits, "supported", lambda _: False)
    monkeypatch.setattr(stored_weights, "casts_4_bits", lambda: False)
    with pytest.raises(PassError, match=message):
        quantized(made(NET, tmp_path), context, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bits": 5}, "Input should be 4 or 8"),
        ({"levels": "log", "format": "dequantize"}, "levels: log cannot be stored as format: dequantize"),
        ({"format": "matmulnbits", "block_size": 24}, "block_size: format matmulnbits knows 16, 32"),
        ({"format": "matmulnbits", "block_size": "channel"}, "not channel"),
        ({"block_size": 1}, "greater than or equal to 2"),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QuantizeWeights.Options(**given)


def test_the_same_bytes_twice(context: MakeContext, tmp_path: Path) -> None:
    path = made(NET, tmp_path)
    results = {serialize(quantized(path, context, bits=4)[0].model) for _ in range(2)}
    assert len(results) == 1


# size in 8 and 4 bits against float, SQNR on synthetic input (of which silero in 4 bits keeps nothing)
REAL = {
    "resnet20_cifar10": (0.28, 0.19, 33, 12),
    "nnsplit_en": (0.27, 0.17, 36, 14),
    "silero_vad_16k": (0.30, 0.22, 22, -20),
    "dtln_1": (0.27, 0.18, 32, 12),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("bits", [8, 4])
def test_real_models(name: str, bits: int, shared: Path, tmp_path: Path) -> None:
    path, after = shared / "models" / f"{name}.onnx", tmp_path / "after.onnx"
    model = load_model(path)
    shapes = {"silero_vad_16k": {"input": (1, 576), "state": (2, 1, 128)}, "nnsplit_en": {"input": (1, 100)}}
    samples = synthetic_samples(model, count=2, shapes=shapes.get(name))
    options = QuantizeWeights.Options(bits=bits)
    outcome = QuantizeWeights(options).apply(model, Context(samples, tmp_path))
    write_model(outcome.model, after)
    size8, size4, db8, db4 = REAL[name]
    assert after.stat().st_size < (size8 if bits == 8 else size4) * path.stat().st_size
    found = compare(path, after, samples).sqnr_db
    assert found is not None
    assert found > (db8 if bits == 8 else db4)

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration import natural
from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.input_values import input_values
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session

HEADER = '<ir_version: 8, opset_import: ["": 17]> g'
MEANS = "a = Constant <value = float[1, 3, 1, 1] {{{}}}> ()"


def model(body: str) -> ir.Model:
    return ir.from_onnx_text(f"{HEADER} (float[N, 3, 16, 16] x) => (float[N, 3, 16, 16] y) {{ {body} }}")


@pytest.mark.parametrize(
    ("body", "full"),
    [
        (MEANS.format("123.0, 117.0, 104.0") + " y = Sub(x, a)", 255),
        ("a = Constant <value_float = 255.0> () y = Div(x, a)", 255),
        (
            "a = Constant <value_float = 0.0078431> () b = Constant <value_float = -1.0> ()"
            " p = Mul(x, a) q = Identity(p) y = Add(q, b)",
            255,
        ),
        (
            MEANS.format("0.485, 0.456, 0.406") + " b = Constant <value_float = 0.225> ()"
            " p = Sub(x, a) y = Div(p, b)",
            1,
        ),
        (
            "a = Constant <value_float = 2.0> () b = Constant <value_float = 1.0> ()"
            " p = Mul(x, a) y = Sub(p, b)",
            1,
        ),
    ],
)
def test_the_models_own_normalization_tells_the_scale(body: str, full: float):
    found = input_values(model(body), "x", "nchw")
    np.testing.assert_allclose(found.mean, full * natural.MEAN)
    np.testing.assert_allclose(found.of(np.array([[[0.0, 1.0]]])), [[[0.0, full]]], atol=1e-9)
    assert found.why == f"0 to {full}, as the model itself normalizes it"


@pytest.mark.parametrize(
    "body",
    [
        "y = Relu(x)",
        "a = Constant <value_float = 2.0> () y = Mul(x, a)",
        "a = Constant <value_float = 0.0> () y = Add(x, a)",
        "a = Constant <value_float = 255.0> () y = Div(a, x)",
        "a = Constant <value_float = 255.0> () b = Div(x, a) y = Add(b, x)",
    ],
)
def test_without_a_hint_values_are_normalized(body: str):
    assert input_values(model(body), "x", "nchw").why == "mean 0 and standard deviation 1"


def test_a_batch_norm_of_the_input_knows_its_values():
    body = """s = Constant <value_floats = [1.0, 1.0, 1.0]> ()
        m = Constant <value_floats = [4.0, 5.0, 6.0]> ()
        v = Constant <value_floats = [4.0, 9.0, 16.0]> ()
        y = BatchNormalization(x, s, s, m, v)"""
    found = input_values(model(body), "x", "nchw")
    np.testing.assert_allclose((found.mean, found.std), ([4, 5, 6], [2, 3, 4]))


def test_a_batch_norm_behind_the_first_convolution_knows_them_too(tmp_path: Path):
    rng = np.random.default_rng(1)
    net = ir.from_onnx_text(
        f"""{HEADER} (float[N, 3, 32, 32] x, float[24, 3, 3, 3] w, float[24] s, float[24] m, float[24] v)
        => (float[N, 24, 30, 30] y) {{ c = Conv(x, w) y = BatchNormalization(c, s, s, m, v) }}"""
    )
    weight = rng.normal(size=(24, 3, 3, 3)).astype(np.float32)
    mean, std = np.array([100.0, 120.0, 90.0]), 60.0
    draws = [natural.natural(rng, natural.leaves, 3, 32, 32) for _ in range(64)]
    images = (mean[:, None, None] + std * (np.stack(draws) - natural.MEAN) / natural.STD).astype(np.float32)
    values = ir.convenience.create_value_mapping(net.graph)

    def give(**arrays: np.ndarray) -> None:
        for name, array in arrays.items():
            values[name].const_value = ir.tensor(array.astype(np.float32), name=name)
            if name not in net.graph.initializers:
                net.graph.inputs.remove(values[name])
                net.graph.register_initializer(values[name])

    one = np.ones(24)
    give(w=weight, s=one, m=0 * one, v=one * (1 - 1e-5))
    write_model(net, tmp_path / "net.onnx")
    (made,) = Session(tmp_path / "net.onnx").run({"x": images})
    give(m=made.mean(axis=(0, 2, 3)), v=made.var(axis=(0, 2, 3)))
    found = input_values(net, "x", "nchw")
    np.testing.assert_allclose(found.mean, images.mean(axis=(0, 2, 3)), rtol=0.1)
    assert found.std[0] == pytest.approx(std, rel=0.3)


@pytest.mark.parametrize(
    ("weight", "bias", "statistics"),
    [
        ((24, 3, 3, 3), (24,), (16,)),
        ((24, 3, 3, 3), (16,), (24,)),
        ((24, 4, 3, 3), (24,), (24,)),
        ((24, 3, 33, 33), (24,), (24,)),
        ((0, 3, 3, 3), (0,), (0,)),
        ((24, 3, 3, 3), (24,), (24, 1)),
    ],
)
@pytest.mark.parametrize("number", [1.0, np.nan, np.inf])
def test_numbers_that_say_nothing_are_no_hint(
    weight: tuple[int, ...], bias: tuple[int, ...], statistics: tuple[int, ...], number: float
):
    net = ir.from_onnx_text(
        f"""{HEADER} (float[N, 3, 64, 64] x, float w, float b, float s, float m, float v)
        => (float[N, M, H, W] y) {{ c = Conv(x, w, b) y = BatchNormalization(c, s, s, m, v) }}"""
    )
    shapes = {"w": weight, "b": bias, "s": statistics, "m": statistics, "v": statistics}
    for value in list(net.graph.inputs)[1:]:
        net.graph.inputs.remove(value)
        array = np.ones(shapes[value.name or ""], np.float32)
        array.reshape(-1)[:1] = number
        value.const_value = ir.tensor(array, name=value.name)
        net.graph.register_initializer(value)
    assert input_values(net, "x", "nchw").why == "mean 0 and standard deviation 1"


def test_a_real_batch_norm_tells_how_the_training_data_was_normalized(shared: Path):
    net = load_model(shared / "models" / "alibaba_mobilenet_cifar10.onnx")
    name = net.graph.inputs[0].name
    assert name is not None
    real = open_samples(
        shared / "data" / "cifar10_calibration.npz", net, preprocess=PRESETS["imagenet"], limit=64
    )
    rows = np.concatenate([feeds[name] for feeds in real])
    found = input_values(net, name, "nchw")
    np.testing.assert_allclose(found.mean, rows.mean(axis=(0, 2, 3)), atol=0.4)
    assert found.std[0] == pytest.approx(rows.std(), rel=0.3)

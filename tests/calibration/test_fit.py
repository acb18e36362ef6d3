from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.calibration.arrays import open_npy
from onnx_pare.calibration.fit import feeder
from onnx_pare.calibration.inputs import model_inputs
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.errors import DataError

IMAGE = "float[N, 3, 6, 8] x"
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)


@pytest.fixture
def fit(make_model, tmp_path):
    def make(array, declaration=IMAGE, preprocess=None):
        np.save(tmp_path / "a.npy", array)
        spec = model_inputs(make_model(declaration)).specs[-1]
        return feeder(open_npy(tmp_path / "a.npy"), spec, preprocess)

    return make


def read(fitted):
    return np.concatenate(list(fitted.rows(range(fitted.count))))


def test_floats_of_the_inputs_shape_are_taken_as_they_are(fit):
    x = np.random.default_rng(0).standard_normal((4, 3, 6, 8)).astype(np.float32)
    np.testing.assert_array_equal(read(fit(x, preprocess=PRESETS["imagenet"])), x)
    np.testing.assert_array_equal(read(fit(x[2])), x[2:3])
    assert read(fit(x.astype(np.float64))).dtype == np.float32


@pytest.mark.parametrize("layout", ["float[N, 3, 6, 8] x", "float[N, 6, 8, 3] x"])
def test_bytes_of_the_inputs_size_are_not_resized(fit, layout):
    expected = PIXELS if layout.endswith("8, 3] x") else PIXELS.transpose(0, 3, 1, 2)
    for stored in (PIXELS, PIXELS.transpose(0, 3, 1, 2)):
        made = read(fit(stored, layout, PRESETS["imagenet"]))
        raw = read(fit(stored, layout, PRESETS["raw"]))
        np.testing.assert_array_equal(raw, expected.astype(np.float32))
        assert made.shape == expected.shape
    one = read(fit(PIXELS[0], layout, PRESETS["raw"]))
    np.testing.assert_array_equal(one, expected[:1])
    one = read(fit(PIXELS[0].transpose(2, 0, 1), layout, PRESETS["raw"]))
    np.testing.assert_array_equal(one, expected[:1])


def test_bytes_of_another_size_are_resized(fit):
    assert read(fit(np.zeros((2, 20, 30, 3), np.uint8), preprocess=PRESETS["imagenet"])).shape == (2, 3, 6, 8)


def test_grey_bytes_need_no_channel_axis(fit):
    grey = "float[N, 1, 6, 8] x"
    for stored in (PIXELS[..., 0], PIXELS[..., :1], PIXELS[:, None, :, :, 0]):
        np.testing.assert_array_equal(read(fit(stored, grey, PRESETS["raw"]))[:, 0], PIXELS[..., 0])
    np.testing.assert_array_equal(read(fit(PIXELS[0, ..., 0], grey, PRESETS["raw"]))[0, 0], PIXELS[0, ..., 0])


def test_bytes_for_a_model_that_takes_bytes(fit):
    np.testing.assert_array_equal(read(fit(PIXELS, "uint8[N, 6, 8, 3] x")), PIXELS)
    tokens = np.arange(20, dtype=np.uint8).reshape(2, 10)
    np.testing.assert_array_equal(read(fit(tokens, "uint8[N, W] x")), tokens)
    with pytest.raises(DataError, match=r"has shape 4×6×8×3; the input 'x' .* takes N×3×6×8"):
        fit(PIXELS, "uint8[N, 3, 6, 8] x")


@pytest.mark.parametrize(
    ("array", "declaration", "message", "hint"),
    [
        (np.zeros((4, 6, 8, 3), np.float32), IMAGE, "has shape 4×6×8×3", "store x.transpose(0, 3, 1, 2)"),
        (np.zeros((4, 3, 6, 9), np.float32), IMAGE, "has shape 4×3×6×9", "stacked along the first axis"),
        (np.zeros((4, 3), np.float32), IMAGE, "takes N×3×6×8", "stacked"),
        (np.zeros((0, 3, 6, 8), np.float32), IMAGE, "holds no samples", ""),
        (np.zeros((4, 3, 6, 8), np.int64), IMAGE, "holds int64; the input", "x.astype('float32')"),
        (np.zeros((4, 3, 6, 8), np.complex64), IMAGE, "holds complex64, not numbers", "float32"),
        (PIXELS, IMAGE, "images, but nothing says how", "--preprocess"),
        (PIXELS[..., [0, 1, 2, 2]], IMAGE, "images, but nothing", "preprocess"),
        (np.zeros((4, 9), np.uint8), "float[N, 9] x", "is no image", "x.astype('float32')"),
        (np.zeros((4, 9), np.float32), "int64[N, 9] x", "holds float32", "x.astype('int64')"),
        (np.zeros((4, 9), np.float32), "int64 x", "holds float32", "x.astype('int64')"),
        (np.zeros((4, 9), np.int64), "int64 x", "takes scalar", "one for each"),
    ],
)
def test_what_does_not_fit(fit, array, declaration, message, hint):
    with pytest.raises(DataError, match=message) as caught:
        fit(array, declaration)
    assert hint in caught.value.hint


def test_stacks_that_are_no_images(fit):
    for shape in [(4, 6, 8, 4), (6,), (2, 4, 6, 8, 3)]:
        with pytest.raises(DataError, match="no stack of images"):
            fit(np.zeros(shape, np.uint8), preprocess=PRESETS["raw"])
    with pytest.raises(DataError, match="holds no samples"):
        fit(np.zeros((0, 6, 8, 3), np.uint8), preprocess=PRESETS["raw"])


@pytest.mark.parametrize(
    ("value", "dtype", "declaration", "message"),
    [
        (np.nan, np.float32, "float[N, 9] x", r"sample 2 \(counted from 0\) holds NaN values"),
        (-np.inf, np.float32, "float[N, 9] x", "holds infinite values"),
        (1e6, np.float32, "float16[N, 9] x", "infinite values as float16"),
        (1e300, np.float64, "float[N, 9] x", "infinite values as float32"),
        (300, np.int64, "uint8[N, 9] x", "numbers beyond uint8"),
        (-1, np.int64, "uint8[N, 9] x", "numbers beyond uint8"),
    ],
)
def test_values_that_would_spoil_calibration(fit, value, dtype, declaration, message):
    array = np.zeros((4, 9), dtype)
    array[2, 5] = value
    with pytest.raises(DataError, match=message):
        read(fit(array, declaration))


def test_an_input_without_a_sample_axis(fit):
    once = fit(np.int32(16000), "int64 x")
    assert once.count is None
    assert [row.item() for row in once.rows([0, 5])] == [16000, 16000]
    each = fit(np.array([8000, 16000]), "int64 x")
    assert each.count == 2
    assert [row.item() for row in each.rows([1])] == [16000]
    anchors = np.ones((2, 4), np.float32)
    assert fit(anchors, "float[N, 8] a, float[2, 4] x").count is None

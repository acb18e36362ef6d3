from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.calibration import natural
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import ModelError


def all_rows(samples, size, name="x"):
    return np.concatenate([feeds[name][:count] for feeds, count in samples.batches(size)])


def test_samples_depend_on_seed_and_place_only(make_model):
    model = make_model("float[N, 3, 9, 8] x")
    made = synthetic_samples(model, count=7, seed=3)
    assert (made.random, len(made)) == (True, 7)
    assert made.source == "synthetic (seed 3); 'x' images, mean 0 and standard deviation 1"
    first = all_rows(made, 1)
    assert first.tobytes() == all_rows(made, 4).tobytes()
    assert first[:2].tobytes() == all_rows(synthetic_samples(model, count=2, seed=3), 1).tobytes()
    assert not np.array_equal(first, all_rows(synthetic_samples(model, count=7, seed=4), 1))
    fixed = synthetic_samples(make_model("float[4, 3, 9, 8] x"), count=7, seed=3)
    assert first.tobytes() == all_rows(fixed, 1).tobytes()
    assert len({row.tobytes() for row in first}) == 7


@pytest.mark.parametrize(
    ("declaration", "axes"), [("float[N, 3, 64, 64] x", (2, 3)), ("float[N, 64, 64, 1] x", (1, 2))]
)
def test_images_have_the_values_and_the_spectrum_of_normalized_photographs(make_model, declaration, axes):
    rows = all_rows(synthetic_samples(make_model(declaration), count=32), 32)
    assert abs(rows.mean()) < 0.3
    assert 0.8 < rows.std() < 1.2
    power = np.moveaxis(np.abs(np.fft.fft2(rows, axes=axes)) ** 2, axes, (-2, -1)).mean(axis=(0, 1))
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    low, high = ((power[(radius > a) & (radius < 1.3 * a)]).mean() for a in (0.05, 0.3))
    # amplitude 1/f: six times the frequency, 1/36 of the power
    assert 0.7 < np.log(low / high) / np.log(36) < 1.3


def test_preprocessing_makes_inputs_of_synthetic_bytes(make_model):
    model = make_model("float[N, 3, 16, 16] x")
    raw = all_rows(synthetic_samples(model, count=8, preprocess=PRESETS["raw"]), 8)
    np.testing.assert_array_equal(raw, np.round(raw))
    assert 0 <= raw.min() < 20
    assert 200 < raw.max() <= 255
    made = synthetic_samples(model, count=8, preprocess=PRESETS["caffe"])
    assert made.source == "synthetic (seed 0); 'x' images, preprocessed"
    np.testing.assert_allclose(
        all_rows(made, 8), raw[:, ::-1] - np.reshape([103.939, 116.779, 123.68], (3, 1, 1)), atol=1e-4
    )


def test_preprocessing_that_does_not_fit_is_named(make_model):
    made = synthetic_samples(make_model("float[N, 1, 16, 16] x"), count=1, preprocess=PRESETS["imagenet"])
    said, assumed = made.warnings
    assert said.startswith("preprocess is not applied to synthetic input: ")
    assert assumed == (
        "nothing says what values the images of 'x' take: mean 0 and standard deviation 1 are assumed;"
        " set preprocess: if they are others"
    )
    assert made.source.endswith("'x' images, mean 0 and standard deviation 1")


def test_byte_images_are_images(make_model):
    rows = all_rows(synthetic_samples(make_model("uint8[N, 32, 32, 3] x"), count=8), 8).astype(float)
    steps = np.abs(np.diff(rows, axis=1)).mean()
    assert 30 < rows.std() < 100
    assert steps < 0.7 * rows.std()  # white noise: 1.1


def test_each_kind_in_turn(make_model):
    model = make_model("float[N, 3, 16, 16] x")
    mixed, *single = (
        all_rows(synthetic_samples(model, count=4, kinds=kinds), 1)
        for kinds in (natural.KINDS, natural.KINDS[:1], natural.KINDS[1:])
    )
    for index, row in enumerate(mixed):
        np.testing.assert_array_equal(row, single[index % 2][index])


def test_other_inputs(make_model):
    model = make_model(
        "float[N, 4] a, uint8[N, 99] b, int8[N, 99] c, bool[N, 99] d, int64[N, 99] e, int64 f,"
        " int32[N] g, float16[N, 5] h"
    )
    (feeds,) = (feeds for feeds, _ in synthetic_samples(model, count=200).batches(200))
    assert abs(feeds["a"].mean()) < 0.2
    assert abs(feeds["a"].std() - 1) < 0.2
    assert (feeds["b"].min(), feeds["b"].max()) == (0, 255)
    assert (feeds["c"].min(), feeds["c"].max()) == (-128, 127)
    assert 0.4 < feeds["d"].mean() < 0.6
    assert set(np.unique(feeds["e"])) == {0, 1}
    assert (feeds["f"].shape, feeds["f"]) == ((), 1)
    np.testing.assert_array_equal(feeds["g"], np.ones(200, np.int32))
    assert {name: str(array.dtype) for name, array in feeds.items()} == {
        "a": "float32",
        "b": "uint8",
        "c": "int8",
        "d": "bool",
        "e": "int64",
        "f": "int64",
        "g": "int32",
        "h": "float16",
    }


def test_free_dimensions_need_a_shape(make_model):
    model = make_model("float[N, 3, H, W] x")
    with pytest.raises(ModelError, match=r"'x'.*'H'.*'W'"):
        synthetic_samples(model)
    made = synthetic_samples(model, count=2, shapes={"x": (1, 3, 6, 5)})
    assert all_rows(made, 2).shape == (2, 3, 6, 5)

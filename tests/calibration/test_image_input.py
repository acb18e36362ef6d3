from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onnx_pare.calibration.image_input import image_input
from onnx_pare.calibration.inputs import model_inputs
from onnx_pare.calibration.preprocess import PRESETS, Preprocessing
from onnx_pare.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
FORMULAS = {
    "imagenet": lambda x: (x / 255 - MEAN) / STD,
    "imagenet-tf": lambda x: x / 127.5 - 1,
    "caffe": lambda x: x[:, :, ::-1] - np.array([103.939, 116.779, 123.68]),
    "unit": lambda x: x / 255,
    "signed": lambda x: x / 127.5 - 1,
    "raw": lambda x: x,
}


@pytest.fixture
def target(make_model):
    def make(preprocess, declaration="float[N, 3, 8, 8] x", shapes=None):
        spec = model_inputs(make_model(declaration), shapes).specs[0]
        return image_input(spec, preprocess, "data")

    return make


def photo(height, width, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def nchw(pixels):
    return np.moveaxis(np.asarray(pixels, np.float64), 2, 0)[None]


@pytest.mark.parametrize("name", PRESETS)
def test_numbers_of_a_preset(target, name):
    expected = FORMULAS[name](RGB.astype(np.float64))
    made = target(PRESETS[name]).from_pixels(RGB, "image")
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, nchw(expected).astype(np.float32))
    last = target(PRESETS[name], "float[N, 8, 8, 3] x").from_pixels(RGB, "image")
    np.testing.assert_array_equal(last, expected[None].astype(np.float32))


def test_imagenet_covers_256_and_cuts_224(target):
    image = photo(300, 401)
    made = target(PRESETS["imagenet"], "float[N, 3, 224, 224] x").from_image(image, "image")
    resized = image.resize((256 * 401 // 300, 256), Image.Resampling.BILINEAR)
    left = round((resized.width - 224) / 2)
    expected = FORMULAS["imagenet"](np.asarray(resized)[16:240, left : left + 224] / 1.0)
    np.testing.assert_array_equal(made, nchw(expected).astype(np.float32))


def test_imagenet_tf_cuts_the_central_square_before_resizing(target):
    image = photo(400, 300)
    made = target(PRESETS["imagenet-tf"], "float[1, 224, 224, 3] x").from_image(image, "image")
    side = round(0.875 * 300)
    top, left = round((400 - side) / 2), round((300 - side) / 2)
    cut = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(made[0], (np.asarray(cut) / 127.5 - 1).astype(np.float32))


@pytest.mark.parametrize("name", ["unit", "signed", "raw"])
def test_plain_presets_stretch(target, name):
    image = photo(30, 50)
    made = target(PRESETS[name], "float[N, 3, 16, 24] x").from_image(image, "image")
    stretched = image.resize((24, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(made, nchw(FORMULAS[name](np.asarray(stretched) / 1.0)).astype(np.float32))


@pytest.mark.parametrize("size", [(30, 50), (50, 30), (17, 400)])
def test_every_preset_reaches_an_oblong_input(target, size):
    for preset in PRESETS.values():
        made = target(preset, "float[N, 3, 12, 20] x").from_image(photo(*size), "image")
        assert made.shape == (1, 3, 12, 20)


def test_a_whole_number_is_the_short_side_and_crop_cuts_after_it(target):
    preprocess = Preprocessing(resize=20, crop=(16, 12))
    image = photo(40, 60)
    made = target(preprocess, "float[N, 3, 16, 12] x").from_image(image, "image")
    resized = image.resize((30, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(made, nchw(np.asarray(resized)[2:18, 9:21]))


def test_what_does_not_reach_the_inputs_size_is_an_error(target):
    with pytest.raises(DataError, match=r"gives 30×50 pixels .* 8×8 are needed") as caught:
        target(Preprocessing(resize="none")).from_image(photo(30, 50), "a.png")
    assert caught.value.message.startswith("a.png: ")
    assert "resize: input" in caught.value.hint
    with pytest.raises(DataError, match=r"4×5 pixels .* 8×8 are needed"):
        target(Preprocessing(resize="none", crop="input")).from_image(photo(4, 5), "a.png")


def test_sizes_of_the_recipe_must_be_the_models(target):
    with pytest.raises(DataError, match="images of 16×16 pixels"):
        target(Preprocessing(crop=16))


def test_a_model_that_leaves_the_size_open_takes_the_recipes_or_the_images(target):
    free = "float[N, 3, H, W] x"
    assert target(PRESETS["unit"], free).from_image(photo(9, 11), "a").shape == (1, 3, 9, 11)
    assert target(Preprocessing(resize=12, crop=10), free).size == (10, 10)
    assert target(PRESETS["imagenet"], free, {"x": (1, 3, 8, 6)}).size == (8, 6)
    assert target(PRESETS["imagenet"], free).from_pixels(RGB, "a").shape == (1, 3, 8, 8)
    with pytest.raises(DataError, match="which the model leaves open"):
        target(PRESETS["imagenet"], free).from_image(photo(9, 11), "a")


def test_one_channel_means_grey(target):
    grey = "float[N, 1, 8, 8] x"
    expected = np.asarray(Image.fromarray(RGB).convert("L")) / 255
    np.testing.assert_array_equal(
        target(PRESETS["unit"], grey).from_pixels(RGB, "a")[0, 0], expected.astype(np.float32)
    )
    with pytest.raises(
        DataError, match=r"each of three channels; the input 'x' \(float32, N×1×8×8\) is grey"
    ):
        target(PRESETS["imagenet"], grey)


def test_grey_images_are_repeated_for_three_channels(target):
    made = target(PRESETS["raw"]).from_pixels(RGB[:, :, :1], "a")
    np.testing.assert_array_equal(made, np.repeat(nchw(RGB[:, :, :1]), 3, axis=1))
    made = target(Preprocessing(color="gray")).from_pixels(RGB, "a")
    assert np.array_equal(made[0, 0], made[0, 2])


def test_types_of_inputs(target):
    made = target(PRESETS["raw"], "uint8[N, 8, 8, 3] x").from_pixels(RGB, "a")
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made[0], RGB)
    assert target(PRESETS["unit"], "float16[N, 3, 8, 8] x").from_pixels(RGB, "a").dtype == np.float16
    with pytest.raises(DataError, match="fractions or numbers below 0"):
        target(PRESETS["unit"], "uint8[N, 8, 8, 3] x")
    with pytest.raises(DataError, match=r"makes float16; the input .* takes float32"):
        target(Preprocessing(dtype="float16"))


def test_layouts(target):
    assert target(PRESETS["raw"], "float[N, C, H, W] x", {"x": (1, 3, 8, 8)}).layout == "nchw"
    assert target(Preprocessing(layout="nhwc"), "float[N, A, B, C] x").layout == "nhwc"
    with pytest.raises(DataError, match="cannot tell which dimension"):
        target(PRESETS["raw"], "float[N, A, B, C] x")
    with pytest.raises(DataError, match=r"4 channels \(nchw\)"):
        target(PRESETS["raw"], "float[N, 4, 8, 8] x")
    with pytest.raises(DataError, match="is not one"):
        target(PRESETS["raw"], "float[N, 4] x")


def test_without_preprocess_the_presets_are_listed(target):
    with pytest.raises(DataError, match="images, but nothing says how") as caught:
        target(None)
    assert "imagenet, imagenet-tf, caffe, unit, signed, raw" in caught.value.hint

from __future__ import annotations

import pydantic
import pytest

from onnx_pare.calibration.preprocess import PRESETS, Preprocessing


@pytest.mark.parametrize("key", ["resize", "crop", "scale", "mean", "std"])
def test_a_wrong_value_is_answered_with_what_is_accepted(key):
    with pytest.raises(pydantic.ValidationError) as caught:
        Preprocessing.model_validate({key: "big"})
    (error,) = caught.value.errors()
    assert error["loc"] == (key,)
    assert "must be " in error["msg"]
    assert "got 'big'" in error["msg"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"resize": True},
        {"resize": 0},
        {"resize": 5.5},
        {"resize": [224]},
        {"crop": 1.5},
        {"crop": -3},
        {"scale": 1 / 255},  # a multiplier
        {"std": 0},
        {"mean": [1, 2]},
        {"mean": float("nan")},
        {"colour": "rgb"},
        {"color": "RGB"},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        Preprocessing.model_validate(wrong)


def test_whole_numbers_are_pixels_and_others_multiples():
    assert Preprocessing.model_validate({"resize": 256}).resize == 256
    assert isinstance(Preprocessing.model_validate({"resize": 1}).resize, float)
    assert isinstance(Preprocessing.model_validate({"crop": 1}).crop, float)


def test_lists_of_a_recipe_are_taken_in_strict_mode():
    made = Preprocessing.model_validate({"resize": [224, 192], "mean": [1, 2, 3]}, strict=True)
    assert (made.resize, made.mean, made.size()) == ((224, 192), (1.0, 2.0, 3.0), (224, 192))


def test_presets_survive_a_round_trip_through_json():
    for preset in PRESETS.values():
        assert Preprocessing.model_validate_json(preset.model_dump_json()) == preset


def test_presets_are_those_of_the_documentation():
    assert list(PRESETS) == ["imagenet", "imagenet-tf", "caffe", "unit", "signed", "raw"]

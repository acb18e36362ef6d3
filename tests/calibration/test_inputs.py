from __future__ import annotations

import pytest

from onnx_pare.calibration.inputs import model_inputs
from onnx_pare.errors import ModelError, UsageError


def axes(model, shapes=None):
    inputs = model_inputs(model, shapes)
    return inputs.batch, {spec.name: (spec.dims, spec.axis) for spec in inputs.specs}


def test_the_first_dimension_counts_samples(make_model):
    assert axes(make_model("float[N, 3, 8, 8] x")) == (None, {"x": ((None, 3, 8, 8), 0)})
    assert axes(make_model("float[4, 3, 8, 8] x")) == (4, {"x": ((4, 3, 8, 8), 0)})


def test_a_state_and_a_scalar_beside_the_first_input(make_model):
    free = make_model("float[batch, 512] a, float[2, batch, 128] s, int64 sr")
    assert axes(free) == (
        None,
        {"a": ((None, 512), 0), "s": ((2, None, 128), 1), "sr": ((), None)},
    )
    fixed = make_model("float[1, 512] a, float[2, 1, 128] s, int64 sr")
    assert axes(fixed) == (1, {"a": ((1, 512), 0), "s": ((2, 1, 128), 1), "sr": ((), None)})


def test_an_input_fixed_to_one_sample_fixes_the_others(make_model):
    assert axes(make_model("float[N, 4] a, float[1, 4] b"))[0] == 1


def test_given_shapes_fill_free_dimensions_but_the_number_of_samples(make_model):
    model = make_model("float[N, 3, H, W] x")
    assert axes(model, {"x": (8, 3, 32, 48)}) == (None, {"x": ((None, 3, 32, 48), 0)})
    with pytest.raises(UsageError, match="1×1×32×48 for input 'x'"):
        axes(model, {"x": (1, 1, 32, 48)})


def test_strings_are_refused(make_model):
    with pytest.raises(ModelError, match="'x' is of type string"):
        model_inputs(make_model("string[N] x", "string[N] y"))

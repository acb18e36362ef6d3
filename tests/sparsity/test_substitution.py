from __future__ import annotations

from pathlib import Path

from onnx_pare.sparsity.dsc import Dsc
from onnx_pare.sparsity.low_rank import LowRank
from onnx_pare.sparsity.substitution import replace
from tests.sparsity.nets import error, means, residual


def test_fitting_beats_the_weights_alone(tmp_path: Path):
    original = residual()
    errors = []
    for fitted in (False, True):
        model = residual()
        found = replace(model, Dsc(), {"one": 2, "two": 3}, means(original, tmp_path, 256), fitted=fitted)
        assert [(each.name, each.rank, each.error is not None) for each in found] == [
            ("one", 2, fitted),
            ("two", 3, fitted),
        ]
        errors.append(error(model, original, tmp_path))
    assert errors[1] < errors[0]


def test_names_of_values_stay_and_no_weight_is_left_over(tmp_path: Path):
    model = residual()
    replace(model, LowRank(), {"four": 3}, means(model, tmp_path))
    assert [value.name for value in model.graph.outputs] == ["y"]
    used = {value for node in model.graph for value in node.inputs}
    assert all(value in used for value in model.graph.initializers.values())


def test_nothing_to_replace_leaves_the_model(tmp_path: Path):
    model = residual()
    assert replace(model, Dsc(), {}, means(model, tmp_path)) == []
    assert error(model, residual(), tmp_path) == 0

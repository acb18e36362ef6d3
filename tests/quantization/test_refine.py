from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.bench.judge import Judge
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.quantization import layers
from onnx_pare.quantization.draft import Draft, Manner
from onnx_pare.quantization.layers import Layers
from onnx_pare.quantization.refine import CHECKED, WORTH_DB, Split, equalized, refined

from .conftest import named, with_weights

ALL = Manner(layers=Layers(clip=True, adaptive=True, correct=True))


class Mute:
    """A draft whose models are the manners they are built in."""

    def build(self, manner: Manner, float_nodes: frozenset[str]) -> Manner:
        return manner


class Told:
    """A judge that finds a manner as good as it is told, or gives its answers one by one."""

    def __init__(self, told: Any) -> None:
        self.told = told

    def sqnr_db(self, candidate: Any) -> float:
        return float(self.told(candidate) if callable(self.told) else self.told.pop(0))


def judged(told: Callable[[Manner], float]) -> tuple[Manner, dict[str, Any]]:
    return refined(cast(Draft, Mute()), cast(Judge, Told(told)), ALL, frozenset())


def mlp(spread: float = 1.0) -> ir.Model:
    """Return two layers; half of the channels between them are smaller by `spread`."""
    model = named(
        with_weights(
            """g (float[N, 8] x, float[8, 16] v, float[16, 4] w) => (float[N, 4] y) {
                h = MatMul(x, v)
                r = Relu(h)
                y = MatMul(r, w)
            }""",
            v=(8, 16),
            w=(16, 4),
        )
    )
    for node in model.graph:
        node.outputs[0].shape = ir.Shape(["N", 4 if node.name == "y" else 16])
    factors = np.repeat(np.float32([1, 1 / spread]), 8)
    for name, factor in (("v", factors), ("w", 1 / factors[:, None])):
        value = model.graph.initializers[name]
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy() * factor, name=name)
    return model


@pytest.mark.parametrize(
    ("count", "fit", "check"),
    [(1, 1, 1), (2, 2, 2), (7, 7, 7), (8, 6, 2), (40, 30, 10), (200, 176, CHECKED)],
)
def test_samples_to_check_on_are_kept_apart_where_there_are_enough(count: int, fit: int, check: int):
    samples = synthetic_samples(mlp(), count=count)
    split = Split.of(samples)
    assert (len(split.fit), len(split.check)) == (fit, check)
    fitted, checked = ({feeds["x"].tobytes() for feeds in part} for part in (split.fit, split.check))
    assert (fitted & checked == set()) == (count >= 8)
    assert fitted | checked == {feeds["x"].tobytes() for feeds in samples}


def test_what_helps_stays():
    manner, notes = judged(lambda one: 30 + one.layers.adaptive + one.layers.correct)
    assert manner == ALL
    assert notes["dropped"] == []
    assert notes["without"] == {"calibration": 32, "round": 31, "correct_bias": 31}


def test_what_harms_is_dropped_and_the_rest_is_judged_without_it():
    manner, notes = judged(lambda one: 30 - one.layers.correct + one.layers.adaptive - (one.ranges == "auto"))
    assert manner.ranges == "minmax"
    assert manner.layers == Layers(adaptive=True, clip=True)
    assert notes["dropped"] == ["calibration", "correct_bias"]
    assert notes["without"]["correct_bias"] == notes["sqnr_db"] == 31


def test_a_small_difference_does_not_drop_a_method():
    assert judged(lambda one: 30 - WORTH_DB * one.layers.correct)[0] == ALL


def test_what_is_switched_off_is_not_tried():
    draft, judge = cast(Draft, Mute()), cast(Judge, Told(lambda one: 30))
    found = refined(draft, judge, Manner(ranges="entropy"), frozenset())
    assert found == (Manner(ranges="entropy"), {"sqnr_db": 30.0, "without": {}, "dropped": []})


def test_rounding_gone_wrong_is_dropped(
    drafted: Callable[..., Draft], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(layers, "round_weights", lambda rows, *others: np.zeros_like(rows))
    draft = drafted(mlp())
    manner, notes = refined(draft, Judge(draft.model, draft.samples, tmp_path), ALL, frozenset())
    assert "round" in notes["dropped"]
    assert not manner.layers.adaptive
    assert notes["sqnr_db"] >= notes["without"]["round"]


@pytest.mark.parametrize(
    ("without_db", "with_db", "kept"), [(20, 21, True), (20, 20.2, False), (21, 20, False)]
)
def test_equalization_is_kept_only_if_it_is_better(
    without_db: float, with_db: float, kept: bool, drafted: Callable[..., Draft]
):
    draft = drafted(mlp(50.0))
    found, notes = equalized(draft, cast(Judge, Told([without_db, with_db])), Manner())
    assert (found is not draft) == kept
    assert notes["equalization"] == {"sqnr_db_without": without_db, "sqnr_db_with": with_db, "kept": kept}
    assert (notes["equalized_channels"] > 0) == kept
    assert found.moments == ({} if kept else draft.moments)


def test_channels_alike_are_not_equalized(drafted: Callable[..., Draft], tmp_path: Path):
    model = named(
        with_weights("g (float[N, 8] x, float[8, 4] w) => (float[N, 4] y) { y = MatMul(x, w) }", w=(8, 4))
    )
    draft = drafted(model)
    assert equalized(draft, Judge(model, draft.samples, tmp_path), Manner()) == (draft, {})

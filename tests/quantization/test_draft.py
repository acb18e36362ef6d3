from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.save import serialize
from onnx_pare.quantization import draft as draft_module
from onnx_pare.quantization.draft import Draft, Manner

from .conftest import named, with_weights

Drafted = Callable[..., Draft]


@pytest.fixture
def model() -> ir.Model:
    return named(
        with_weights(
            """g (float[N, 3, 8, 8] x, float[4, 3, 3, 3] v, float[4, 4, 1, 1] w) => (float[N, 4, 3, 3] y) {
                a = Conv(x, v)
                p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
                y = Conv(p, w)
            }""",
            v=(4, 3, 3, 3),
            w=(4, 4, 1, 1),
        )
    )


def test_calibrating_in_parts_sees_what_calibrating_at_once_sees(model: ir.Model, drafted: Drafted):
    whole = drafted(model)
    parts = replace(whole, samples=whole.samples.part(0, 5), histograms={}, moments={}, _ranges={})
    parts.calibrate(moments=False)
    parts.extend(whole.samples.part(5, 16))
    assert list(parts.histograms) == list(whole.histograms)
    for name, histogram in parts.histograms.items():
        other = whole.histograms[name]
        np.testing.assert_array_equal(histogram.counts, other.counts)
        assert (histogram.exponent, histogram.extremes) == (other.exponent, other.extremes)
        assert (histogram.at_low, histogram.at_high, histogram.zeros) == (
            other.at_low,
            other.at_high,
            other.zeros,
        )


def test_nodes_left_float_stay_float_and_the_model_stays_as_it_is(model: ir.Model, drafted: Drafted):
    draft, before = drafted(model, skipped=frozenset({"a"})), serialize(model)
    built = draft.build(Manner())
    reading = {node.name: node.inputs[1].producer() for node in built.graph if node.op_type == "Conv"}
    assert reading["a"] is None
    assert reading["y"] is not None
    none = draft.build(Manner(), frozenset({"y"}))
    assert Counter(node.op_type for node in none.graph) == {"Conv": 2, "MaxPool": 1}
    assert serialize(model) == before


def test_a_border_that_only_moves_values_takes_the_range_of_its_source(model: ir.Model, drafted: Drafted):
    draft = drafted(model)
    draft.build(Manner(), frozenset({"a"}))
    assert "p" not in draft.histograms
    assert (
        draft.ranges(Manner(), ["p"])["p"] == draft.ranges(Manner(), [draft.sources["p"]])[draft.sources["p"]]
    )


def test_a_border_not_in_view_is_observed_when_it_is_needed(model: ir.Model, drafted: Drafted):
    draft = drafted(model)
    draft.sources.clear()
    draft.build(Manner(), frozenset({"a"}))
    assert draft.histograms["p"].counts.sum() == 16 * 4 * 3 * 3


def test_ranges_are_chosen_once_until_samples_are_added(
    model: ir.Model, drafted: Drafted, monkeypatch: pytest.MonkeyPatch
):
    draft, chosen = drafted(model), []
    choose = draft_module.choose_range

    def counting(*args: object, **options: object) -> object:
        chosen.append(args)
        return choose(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(draft_module, "choose_range", counting)
    for _ in range(2):
        draft.ranges(Manner(), ["x", "a"])
    assert len(chosen) == 2
    draft.ranges(Manner(integers="uint16"), ["x"])
    draft.ranges(Manner(ranges="percentile", percentile=99.0), ["x"])
    assert len(chosen) == 4
    draft.extend(draft.samples.part(0, 1))
    draft.ranges(Manner(), ["x"])
    assert len(chosen) == 5


def test_moments_are_of_every_layer_and_only_where_asked_for(model: ir.Model, drafted: Drafted):
    draft = drafted(model, calibrate=False)
    draft.calibrate(moments=False)
    assert draft.moments == {}
    assert set(drafted(model).moments) == {"a", "y"}

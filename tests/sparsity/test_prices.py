from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.progress import Silent
from onnx_pare.sparsity import prices as module
from onnx_pare.sparsity.choosing import Candidate, Choice, Probe
from onnx_pare.sparsity.dsc import Dsc
from onnx_pare.sparsity.prices import Prices
from tests.sparsity.nets import layer, means, residual, shapes_of


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAYER_S", 0.1)
    monkeypatch.setattr(module, "MODEL_S", 0.1)


def test_layers_are_timed_as_they_are_and_replaced(tmp_path: Path):
    model = residual()
    prices = Prices(tmp_path)
    prices.measure(Dsc(), {layer(model, "one"): [1, 2]}, shapes_of(model), Silent())
    assert set(prices.table) == {("one", 0), ("one", 1), ("one", 2)}
    assert all(ms > 0 for ms in prices.table.values())


def test_choices_that_are_no_faster_go(tmp_path: Path):
    prices = Prices(tmp_path, table={("a", 0): 1.0, ("a", 1): 0.5, ("a", 2): 1.0, ("a", 3): 1.5})
    choices = tuple(Choice(rank, rank, 0.1) for rank in (1, 2, 3))
    candidate = Candidate("a", 10, choices, Probe(0.1, None, None))
    assert [choice.rank for choice in prices.without_slower(candidate).choices] == [1]
    assert (prices(candidate, None), prices(candidate, choices[0])) == (1.0, 0.5)
    assert prices.is_faster("a", 1)
    assert not prices.is_faster("a", 2)


def test_models_are_compared(tmp_path: Path):
    model = residual()
    feeds, _ = next(means(model, tmp_path).samples.batches(1))
    before_ms, ratio = Prices(tmp_path).compare(model, model.clone(), feeds)
    assert before_ms > 0
    assert 0.2 < ratio < 5

"""From the survey of layers to ranks that meet a target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_pare.sparsity.choosing import Candidate, Choice, choose, foreseen, survey, weigh
from onnx_pare.sparsity.dsc import Dsc
from onnx_pare.sparsity.harm import harm_on
from onnx_pare.sparsity.substitution import replace
from onnx_pare.sparsity.targets import Targets, UnreachableError
from tests.sparsity.nets import error, layer, macs_of, means, residual


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Candidate], dict[str, float]]:
    folder, model = tmp_path_factory.mktemp("survey"), residual()
    macs = macs_of(model)
    layers = [layer(model, name) for name in ("one", "two")]
    positions = {each.node.name or "": macs[each.node.name or ""] // each.weight().size for each in layers}
    given = means(model, folder)
    candidates = survey(model, Dsc(), layers, positions, given)
    harm = harm_on(model, sum(macs.values()), 2, given)
    return candidates, weigh(model, candidates, harm, given.progress)


def test_a_survey_tells_costs_and_errors(surveyed):
    candidates, factors = surveyed
    assert [candidate.name for candidate in candidates] == ["one", "two"]
    for candidate in candidates:
        macs = [choice.macs for choice in candidate.choices]
        errors = [choice.error for choice in candidate.choices]
        assert macs == sorted(macs)
        assert macs[-1] < candidate.macs
        assert errors == sorted(errors, reverse=True)
        assert factors[candidate.name] > 0


def test_what_is_foreseen_is_near_what_comes(surveyed, tmp_path: Path):
    candidates, factors = surveyed
    ranks = {"one": 4, "two": 4}
    original, changed = residual(), residual()
    replace(changed, Dsc(), ranks, means(original, tmp_path))
    came = error(changed, original, tmp_path)
    assert 0.2 < came / foreseen(candidates, factors, ranks) < 5


@pytest.mark.parametrize("ratio", [0.9, 0.7, 0.5])
def test_a_share_of_the_macs_is_kept_to(surveyed, ratio: float, tmp_path: Path):
    candidates, factors = surveyed
    model = residual()
    total = sum(macs_of(model).values())
    ranks = Targets(model, Dsc(), candidates, factors, means(model, tmp_path)).within_macs(ratio, total)
    replace(model, Dsc(), ranks, means(model, tmp_path), fitted=False)
    assert 0.5 * ratio < sum(macs_of(model).values()) / total <= ratio


def test_a_share_that_cannot_be_had_is_told(surveyed, tmp_path: Path):
    candidates, factors = surveyed
    model = residual()
    total = sum(macs_of(model).values())
    targets = Targets(model, Dsc(), candidates, factors, means(model, tmp_path))
    with pytest.raises(UnreachableError) as caught:
        targets.within_macs(0.01, total)
    assert targets.within_macs(caught.value.least + 1e-3, total)


def test_errors_add_up_to_no_more_than_asked_for(surveyed):
    candidates, factors = surveyed

    def macs(candidate: Candidate, choice: Choice | None) -> float:
        return candidate.macs if choice is None else choice.macs

    spent = []
    for limit in (1e-4, 1e-2, 1.0):
        ranks = choose(candidates, factors, prices=macs, budget=None, max_error=limit)
        assert ranks is not None
        assert foreseen(candidates, factors, ranks) <= limit
        spent.append(sum(ranks.values()) if ranks else np.inf)
    assert spent == sorted(spent, reverse=True)

from __future__ import annotations

import json
import math

import pytest

from onnx_pare.zoo.journal import Record
from onnx_pare.zoo.tally import Mean, tally
from onnx_pare.zoo.task import Kind, Status


def test_geometric_mean() -> None:
    mean = Mean()
    assert mean.value is None
    for ratio in (2.0, 8.0, None, 0.0, math.inf):
        mean.add(ratio)
    assert mean.count == 2
    assert mean.value == pytest.approx(4.0)


def test_what_became_of_the_models() -> None:
    records = [
        Record(model="a", status=Status.OK, size_ratio=0.25, speedup={"local": 2.0}, seconds=1.0),
        Record(model="b", status=Status.OK, size_ratio=1.0, speedup={"local": None}, gates_passed=False),
        Record(model="c", status=Status.FAILED, kind=Kind.TIMEOUT, reason="slow", seconds=2.0),
        Record(model="d", status=Status.SKIPPED, reason="old"),
    ]
    said = tally(records, 6, unchanged=1).to_json()
    assert json.loads(json.dumps(said)) == said
    assert {key: said[key] for key in ("models", "ok", "failed", "skipped", "pending", "unchanged")} == {
        "models": 6, "ok": 2, "failed": 1, "skipped": 1, "pending": 2, "unchanged": 1,
    }  # fmt: skip
    assert said["failed_by_kind"] == {"timeout": 1}
    assert said["failures"] == [{"model": "c", "kind": "timeout", "reason": "slow"}]
    assert said["size_ratio_geomean"] == pytest.approx(0.5)
    assert said["speedup_geomean"] == {"local": pytest.approx(2.0)}
    assert (said["gates_not_met"], said["work_seconds"]) == (1, 3.0)

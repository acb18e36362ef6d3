"""Reports of earlier runs, as they are and as they may arrive."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_pare.errors import ReportError
from onnx_pare.pipeline.earlier import read_report, read_values
from onnx_pare.pipeline.junit import Entry, suite
from onnx_pare.pipeline.machine import Machine
from tests.pipeline.reports import report


def written(folder: Path, data: object) -> Path:
    path = folder / "old.json"
    path.write_text(json.dumps(data))
    return path


def test_what_is_read(tmp_path: Path) -> None:
    found = read_report(written(tmp_path, report()))
    assert found.tool.version == "0.1.0"
    assert found.after.size_bytes == 25
    assert found.latency[0].after_ms == 1.5
    assert found.recipe["benchmark"] == {"profiles": ["local"], "runs": 50, "threads": 1, "batch": 1}
    assert found.machine == Machine("a CPU", 2, "1.0")


def test_keys_of_later_versions_do_no_harm_and_missing_machines_neither(tmp_path: Path) -> None:
    data = {**report(), "new": {"a": [1]}}
    data["after"]["joules"] = 3
    del data["machine"]
    assert read_report(written(tmp_path, data)).machine is None


WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda data: data.pop("schema"), "not a report of onnx-pare that can be read: has no schema"),
    (lambda data: data.update(schema="onnx-pare/report/2"), "its schema is 'onnx-pare/report/2', not"),
    (lambda data: data.update(schema=["x"] * 1000), "its schema is a list, not"),
    (lambda data: data.pop("after"), "key 'after' is missing"),
    (lambda data: data["after"].pop("macs"), "after: key 'macs' is missing"),
    (lambda data: data["after"].update(macs="1"), "after.macs: should be a whole number, not '1'"),
    (lambda data: data["after"].update(macs=-1), "after.macs: should be at least 0, not -1"),
    (lambda data: data["after"].update(macs=10**400), "after.macs: should be"),
    (lambda data: data.clear(), "has no schema"),
    (lambda data: data["latency"][0].update(kind="guessed"), "latency[0].kind: should be 'measured' or 'pr"),
    (lambda data: data["latency"][0].update(after_ms=-1.0), "latency[0].after_ms: should be at least 0"),
    (lambda data: data.update(latency={"local": 1}), "latency: should be a list, not a mapping"),
    (lambda data: data.update(recipe=[1]), "recipe: should be a mapping, not a list"),
    (lambda data: data["machine"].pop("cpu"), "machine: key 'cpu' is missing"),
]


@pytest.mark.parametrize(("spoil", "said"), WRONG, ids=[said for _, said in WRONG])
def test_damaged_reports(tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], said: str) -> None:
    data = report()
    spoil(data)
    path = written(tmp_path, data)
    with pytest.raises(ReportError) as caught:
        read_report(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert said in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data["passes"][0].pop("seconds"), r"passes\[0\]: key 'seconds' is missing"),
        (lambda data: data["passes"][0].update(sqnr_db="x"), r"passes\[0\]\.sqnr_db: should be a number"),
        (lambda data: data.update(gates=[{"expr": 1, "passed": 0}]), r"gates\[0\]\.expr: should be text"),
        (lambda data: data.update(warnings=7), "warnings: should be a list"),
        (lambda data: data.update(output=["a"]), "output: should be a mapping"),
        (lambda data: data.pop("after"), "key 'after' is missing"),
    ],
)
def test_damage_in_what_is_told_elsewhere(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], said: str
) -> None:
    data = report()
    path = written(tmp_path, data)
    assert read_values(path) == data
    spoil(data)
    with pytest.raises(ReportError, match=said):
        read_values(written(tmp_path, data))


def test_a_recipe_that_nests_without_end(tmp_path: Path) -> None:
    text = json.dumps(report()).replace('"passes": [', '"passes": [' + "[" * 900 + "]" * 900 + ", ", 1)
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(ReportError, match=r"old\.json: "):
        read_report(tmp_path / "old.json")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_bytes_are_a_report_or_an_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(json.dumps(report()).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=6))
    path = tmp_path / "old.json"
    path.write_bytes(content)
    with suppress(ReportError):
        read_report(path)
    with suppress(ReportError):
        suite(Entry("old.onnx", 1.0, read_values(path)))

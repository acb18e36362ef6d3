"""Holds docs/recipe.md against the code."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

from pydantic import BaseModel

from onnx_pare.calibration.preprocess import PRESETS, Preprocessing
from onnx_pare.pipeline.metrics import METRICS, PER_PROFILE
from onnx_pare.pipeline.overrides import FLAGS
from onnx_pare.pipeline.recipe import Recipe, load_recipe
from onnx_pare.pipeline.sections import Benchmark, Calibration, Evaluation

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "recipe.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "calibration": Calibration,
    "evaluation": Evaluation,
    "benchmark": Benchmark,
}


def test_the_example_loads(tmp_path: Path) -> None:
    example = re.search(r"\n\n((?:    .*\n)+)", TEXT)
    assert example is not None
    (tmp_path / "example.yaml").write_text(dedent(example[1]))
    assert len(load_recipe(str(tmp_path / "example.yaml")).gates) == 3


def test_every_key_has_its_line() -> None:
    keys = set()
    for name in Recipe.model_fields:
        section = SECTIONS.get(name)
        keys |= {f"{name}.{key}" for key in section.model_fields} if section else {name}
    table = TEXT.partition("## Keys")[2].partition("##")[0]
    assert set(re.findall(r"^\| `([a-z0-9_.]+)`", table, re.M)) == keys


def test_numbers_written_as_defaults_are_the_defaults() -> None:
    for key, value in re.findall(r"^\| `([a-z]+\.[a-z]+)` \| ([0-9]+) \|", TEXT, re.M):
        section, _, name = key.partition(".")
        assert SECTIONS[section].model_fields[name].default == int(value)


def test_presets_and_keys_of_preprocess_are_named() -> None:
    line = next(line for line in TEXT.splitlines() if line.startswith("| `preprocess`"))
    assert set(re.findall(r"`([a-z0-9-]+)`", line)) == {
        "preprocess",
        *PRESETS,
        *Preprocessing.model_fields,
    }


def test_every_metric_and_flag_is_named() -> None:
    table = TEXT.partition("## Gates")[2]
    named = set(re.findall(r"^\| (.*?) \|", table, re.M))
    found = {metric for cell in named for metric in re.findall(r"`([a-z0-9_]+)`", cell)}
    assert found == set(METRICS)
    assert all(f"`{metric}[PROFILE]`" in table for metric in PER_PROFILE)
    assert all(f"`{flag}" in TEXT for flag in FLAGS)

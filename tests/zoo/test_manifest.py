from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.errors import ManifestError
from onnx_pare.zoo.manifest import Entry, check_matches, load_manifest, mentions, settings

TEXT = """version: 1
models:
  - match: "*"
    recipe: int8
    set: {benchmark.runs: 5, calibration.samples: 8}
  - match: "vision/*.onnx"
    recipe: mine.yaml
    calibration: images/
    shapes: {input: [1, 3, 224, 224]}
    set: {benchmark.runs: 3}
  - match: vision/old.onnx
    skip: superseded
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").touch()
    path = tmp_path / "zoo.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_all_matching_entries_apply_in_order(manifest: Path) -> None:
    known, _ = load_manifest(str(manifest))
    folder = manifest.parent
    plain, vision, old = (settings(known, name) for name in ("a.onnx", "vision/b/c.onnx", "vision/old.onnx"))
    assert (plain.recipe, plain.calibration, plain.shapes) == ("int8", None, {})
    assert plain.set == {"benchmark.runs": 5, "calibration.samples": 8}
    assert (vision.recipe, vision.calibration) == (str(folder / "mine.yaml"), str(folder / "images"))
    assert vision.shapes == {"input": (1, 3, 224, 224)}
    assert vision.set == {"benchmark.runs": 3, "calibration.samples": 8}
    assert (vision.skip, old.skip) == (None, "superseded")


def test_a_model_that_no_entry_is_about(tmp_path: Path) -> None:
    path = tmp_path / "zoo.yaml"
    path.write_text("version: 1\nmodels: [{match: a.onnx}]\n", encoding="utf-8")
    known, _ = load_manifest(str(path))
    assert mentions(known, "a.onnx")
    assert not mentions(known, "b.onnx")
    assert settings(known, "b.onnx") == Entry(match="b.onnx")


def test_a_pattern_that_matches_nothing_is_an_error(manifest: Path) -> None:
    known, document = load_manifest(str(manifest))
    check_matches(known, document, ["vision/old.onnx"])
    with pytest.raises(ManifestError) as caught:
        check_matches(known, document, ["vision/new.onnx"])
    assert caught.value.message == f"{manifest}:11:12: models[2].match: 'vision/old.onnx' matches no model"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\n", "key 'models' is missing"),
        ("version: 2\nmodels: [{match: a}]\n", "version"),
        ("version: 1\nmodels: []\n", "should hold at least 1"),
        ("version: 1\nmodels: [{recipe: int8}]\n", "key 'match' is missing"),
        ("version: 1\nmodels: [{match: a, recipie: int8}]\n", "did you mean 'recipe'"),
        ("version: 1\nmodels: [{match: a, shapes: {x: [0]}}]\n", "at least 1"),
        ("version: 1\nmodels: [{match: a, shapes: {x: 1x3}}]\n", "should be a list"),
        ("- a\n", "a manifest is a mapping"),
        ("", "is empty"),
        ("a: &a [*a]\n", "valid YAML|holds more than"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "zoo.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=message) as caught:
        load_manifest(str(path))
    assert caught.value.message.startswith(str(path))


def test_a_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        load_manifest(str(tmp_path / "none.yaml"))

# ruff: noqa: E501  one case a line, with its whole message
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from onnx_pare.calibration.preprocess import PRESETS, Preprocessing
from onnx_pare.errors import RecipeError
from onnx_pare.passes import base
from onnx_pare.pipeline.recipe import Recipe, load_recipe

pytestmark = pytest.mark.usefixtures("fake_passes")

FULL = """\
version: 1
preprocess: {color: bgr, resize: 256, crop: [224, 224], mean: [1, 2.5, 3], scale: 1}
calibration: {data: images/, samples: 12}
evaluation: {data: val.npz, metric: top1}
passes:
  - simplify
  - quantize_int8: {mode: dynamic, percentile: 99, skip: ["*/head/*", "op:Softmax"]}
  - quantize_int8:
  - prune: {sparsity: 1e-3}
benchmark: {profiles: [local, boards/mine.yaml], runs: 7, threads: 2, batch: 4}
gates: ["top1_drop<=0.01", "speedup[local]>=1.5"]
"""


def load(folder: Path, text: str, *overrides: str, **flags: Any) -> Recipe:
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return load_recipe(str(file), overrides, {f"--{name}": value for name, value in flags.items()})


def refusal(folder: Path, text: str, *overrides: str, **flags: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(folder, text, *overrides, **flags)
    return caught.value.message.replace(str(folder) + "/", "").splitlines()


def test_a_full_recipe(tmp_path: Path) -> None:
    recipe = load(tmp_path, FULL)
    assert (recipe.name, recipe.origin, recipe.folder) == ("mine", str(tmp_path / "mine.yaml"), tmp_path)
    assert recipe.calibration_path == tmp_path / "images"
    assert recipe.evaluation_path == tmp_path / "val.npz"
    assert [step.name for step in recipe.passes] == ["simplify", "quantize_int8", "quantize_int8", "prune"]
    assert [step.build().options for step in recipe.passes] == [step.options for step in recipe.passes]
    assert recipe.passes[1].options.model_dump() == {
        "mode": "dynamic", "percentile": 99.0, "skip": ("*/head/*", "op:Softmax"), "bits": 8, "per_channel": True, "limit": None
    }  # fmt: skip
    assert isinstance(recipe.preprocessing, Preprocessing)
    assert recipe.preprocessing.mean == (1.0, 2.5, 3.0)
    assert recipe.preprocessing.crop == (224, 224)
    assert recipe.benchmark.profiles == ("local", "boards/mine.yaml")
    assert [(gate.metric, gate.bound.offset) for gate in recipe.conditions] == [
        ("top1_drop", 0.01),
        ("speedup", 1.5),
    ]


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    assert load(tmp_path, "version: 1\npasses: [simplify]").resolved() == {
        "version": 1,
        "preprocess": None,
        "calibration": {"data": None, "samples": 128},
        "evaluation": None,
        "passes": [{"simplify": {}}],
        "benchmark": {"profiles": ["local"], "runs": 50, "threads": 1, "batch": 1},
        "gates": [],
    }


def test_an_empty_section_is_one_left_out(tmp_path: Path) -> None:
    short = load(tmp_path, "version: 1\npasses: [simplify]")
    assert (
        load(
            tmp_path,
            "version: 1\npreprocess:\ncalibration:\nevaluation:\nbenchmark:\ngates:\npasses: [simplify]",
        )
        == short
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset(tmp_path: Path, preset: str) -> None:
    recipe = load(tmp_path, f"version: 1\npreprocess: {preset}\npasses: [simplify]")
    assert recipe.preprocessing == PRESETS[preset]
    assert recipe.resolved()["preprocess"] == preset


@pytest.mark.parametrize("text", [FULL, "version: 1\npasses: [simplify]"])
def test_what_is_printed_loads_to_an_equal_recipe(tmp_path: Path, text: str) -> None:
    recipe = load(tmp_path, text)
    printed = recipe.to_yaml()
    again = load(tmp_path, printed)
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.to_yaml() == printed
    assert load(tmp_path, text, "benchmark.runs=8") != recipe


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Cn", "Co"]))))
@example(["1e-3", "0o7", "on", "~", "1:30", "", "- a", "#", "2026-11-01", "é", "'", "0x1"])
def test_any_text_survives_printing(tmp_path: Path, skip: list[str]) -> None:
    recipe = load(tmp_path, "version: 1\npasses: [quantize_int8]")
    options = recipe.passes[0].options.model_copy(update={"skip": tuple(skip)})
    recipe = recipe.model_copy(update={"passes": (recipe.passes[0].model_copy(update={"options": options}),)})
    assert load(tmp_path, recipe.to_yaml()) == recipe


HEAD = "version: 1\npasses:\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (HEAD + "  - simplify\n  - simplify\n  - prune: {sparsity: 0.5, sparsty: 1}", ["mine.yaml:5:28: passes[2]: unknown key 'sparsty', did you mean 'sparsity'?"]),
        (HEAD + "  - prune:\n      sparsity: 1.5", ["mine.yaml:4:17: passes[0].sparsity: should be less than 1.0, not 1.5"]),
        (HEAD + "  - prune:", ["mine.yaml:3:5: passes[0]: key 'sparsity' is missing"]),
        (HEAD + "  - prune", ["mine.yaml:3:5: passes[0]: key 'sparsity' is missing"]),
        (HEAD + "  - quantize_int8: {bits: 8.0}", ["mine.yaml:3:27: passes[0].bits: should be a whole number, not 8.0"]),
        (HEAD + "  - quantize_int8: {bits: true}", ["mine.yaml:3:27: passes[0].bits: should be a whole number, not true"]),
        (HEAD + "  - quantize_int8: {percentile: true}", ["mine.yaml:3:33: passes[0].percentile: should be a number, not true"]),
        (HEAD + "  - quantize_int8: {percentile: '99'}", ["mine.yaml:3:33: passes[0].percentile: should be a number, not '99'"]),
        (HEAD + "  - quantize_int8: {per_channel: on}", ["mine.yaml:3:34: passes[0].per_channel: should be true or false, not 'on'"]),
        (HEAD + "  - quantize_int8: {skip: a}", ["mine.yaml:3:27: passes[0].skip: should be a list, not 'a'"]),
        (HEAD + "  - quantize_int8: {skip: [a, 1]}", ["mine.yaml:3:31: passes[0].skip[1]: should be text, not 1"]),
        (HEAD + "  - quantize_int8: {mode: statik}", ["mine.yaml:3:27: passes[0].mode: should be 'static' or 'dynamic', not 'statik', did you mean 'static'?"]),
        (HEAD + "  - quantize_int8: [a]", ["mine.yaml:3:5: passes[0]: the options of quantize_int8 should be a mapping, not a list"]),
        (HEAD + "  - quantise_int8", ["mine.yaml:3:5: passes[0]: unknown pass 'quantise_int8', did you mean 'quantize_int8'?"]),
        (HEAD + "  - zzz", ["mine.yaml:3:5: passes[0]: unknown pass 'zzz' (known: prune, quantize_int8, simplify)"]),
        (HEAD + "  - {a: 1, b: 2}", ["mine.yaml:3:5: passes[0]: should be the name of a pass, or one name with its options, not a mapping with 2 keys"]),
        (HEAD + "  - 1\n  -", ["mine.yaml:3:5: passes[0]: should be the name of a pass, or one name with its options, not 1",
                               "mine.yaml:4:4: passes[1]: should be the name of a pass, or one name with its options, not nothing"]),
        ("passes: [simplify]", ["mine.yaml:1:1: key 'version' is missing"]),
        ("version: 1", ["mine.yaml:1:1: key 'passes' is missing"]),
        ("version: 1\npasses: []", ["mine.yaml:2:9: passes: should hold at least 1, holds 0"]),
        ("version: 1\npasses: simplify", ["mine.yaml:2:9: passes: should be a list, not 'simplify'"]),
        ("version: 2\npasses: [simplify]", ["mine.yaml:1:10: version: this onnx-pare reads version 1, not 2"]),
        ("version: true\npasses: [simplify]", ["mine.yaml:1:10: version: should be a whole number, not true"]),
        ("version: 1.0\npasses: [simplify]", ["mine.yaml:1:10: version: should be a whole number, not 1.0"]),
        ("version: 1\npass: [simplify]", ["mine.yaml:1:1: key 'passes' is missing",
                                          "mine.yaml:2:1: unknown key 'pass', did you mean 'passes'?"]),
        (HEAD + "  - simplify\npreprocess: imagnet", ["mine.yaml:4:13: preprocess: should be a preset or a mapping, not 'imagnet', did you mean 'imagenet'?"]),
        (HEAD + "  - simplify\npreprocess: {colour: rgb, color: rbg}", ["mine.yaml:4:14: preprocess: unknown key 'colour', did you mean 'color'?",
                                                                        "mine.yaml:4:34: preprocess.color: should be 'rgb', 'bgr' or 'gray', not 'rbg', did you mean 'rgb'?"]),
        (HEAD + "  - simplify\nbenchmark: {runs: 0, thread: 1}", ["mine.yaml:4:19: benchmark.runs: should be at least 1, not 0",
                                                                  "mine.yaml:4:22: benchmark: unknown key 'thread', did you mean 'threads'?"]),
        (HEAD + "  - simplify\nevaluation: {metric: top5}", ["mine.yaml:4:13: evaluation: key 'data' is missing",
                                                             "mine.yaml:4:22: evaluation.metric: should be 'top1', not 'top5', did you mean 'top1'?"]),
        (HEAD + "  - simplify\ncalibration: images/", ["mine.yaml:4:14: calibration: should be a mapping, not 'images/'"]),
        (HEAD + "  - simplify\ngates: [speedupp>=1, 3]", ["mine.yaml:4:9: gates[0]: unknown metric 'speedupp', did you mean 'speedup'?",
                                                          "mine.yaml:4:22: gates[1]: should be text, not 3"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where(tmp_path: Path, text: str, lines: list[str]) -> None:
    assert refusal(tmp_path, text) == lines


def test_a_shipped_recipe_by_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("int8", "int8.yaml"):
        recipe = load_recipe(name)
        assert (recipe.name, recipe.origin, recipe.folder) == ("int8", "shipped recipe int8", Path())
    assert load_recipe("int8", flags={"--calibration": "images"}).calibration_path == Path("images")


def test_a_file_comes_before_a_shipped_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("int8.yaml").write_text("version: 1\npasses: [simplify]")
    assert load_recipe("int8.yaml").origin == "int8.yaml"
    assert load_recipe("int8").origin == "shipped recipe int8"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("itn8", "'itn8': no such recipe, did you mean 'int8'?"),
        ("qqq.yaml", "'qqq.yaml': no such recipe"),
        ("", ": is a folder, not a recipe"),
        (".", ".: is a folder, not a recipe"),
        ("x" * 5000, f"'{'x' * 56}…: cannot be read: File name too long"),
    ],
)
def test_no_such_recipe(name: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert caught.value.message == message


def test_the_hint_names_the_shipped_recipes() -> None:
    with pytest.raises(RecipeError, match="int8, int8-dynamic"):
        load_recipe("nothing-like-it")


def test_a_nul_in_the_name() -> None:
    with pytest.raises(RecipeError):
        load_recipe("a\0b")


def test_set_replaces_and_adds(tmp_path: Path) -> None:
    recipe = load(
        tmp_path,
        FULL,
        "passes[1].percentile=99.5",
        "passes[2].bits=4",
        "passes.prune.sparsity=0",
        "benchmark.runs=10",
        "calibration.samples=64",
        "gates=[]",
        "passes[0]=prune: {sparsity: 0.25}",
        "preprocess=raw",
        "evaluation=",
    )
    assert recipe.resolved()["passes"][0] == {"prune": {"sparsity": 0.25}}
    assert recipe.resolved()["passes"][1]["quantize_int8"]["percentile"] == 99.5
    assert recipe.resolved()["passes"][2]["quantize_int8"]["bits"] == 4
    assert recipe.resolved()["passes"][3] == {"prune": {"sparsity": 0.0}}
    assert (recipe.benchmark.runs, recipe.calibration.samples, recipe.gates) == (10, 64, ())
    assert (recipe.preprocess, recipe.evaluation) == ("raw", None)


SHORT = "version: 1\npasses: [simplify, quantize_int8]\n"


def test_set_makes_what_is_not_there(tmp_path: Path) -> None:
    overrides = ("passes.quantize_int8.percentile=99", "benchmark.threads=3", "gates[0]=speedup>=2")
    recipe = load(tmp_path, SHORT, *overrides)
    assert recipe.resolved()["passes"][1]["quantize_int8"]["percentile"] == 99.0
    assert (recipe.benchmark.threads, recipe.gates) == (3, ("speedup>=2",))
    recipe = load(tmp_path, SHORT, "passes[2]=simplify", "passes.quantize_int8={bits: 3}")
    assert [step.name for step in recipe.passes] == ["simplify", "quantize_int8", "simplify"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("benchmark.runs", "--set benchmark.runs: is not KEY=VALUE"),
        ("=1", "--set =1: is not KEY=VALUE"),
        ("a..b=1", "--set a..b=1: is not KEY=VALUE"),
        ("a[x]=1", "--set a[x]=1: is not KEY=VALUE"),
        ("benchmrk.runs=1", "--set benchmrk.runs=1: unknown key 'benchmrk', did you mean 'benchmark'?"),
        ("benchmark.rns=1", "--set benchmark.rns=1: benchmark: unknown key 'rns', did you mean 'runs'?"),
        ("benchmark.runs=x", "--set benchmark.runs=x: benchmark.runs: should be a whole number, not 'x'"),
        ("benchmark.runs[0]=1", "--set benchmark.runs[0]=1: benchmark.runs: should be a whole number, not a list"),
        ("version.x=1", "--set version.x=1: version is a number, not a mapping: replace it whole"),
        ("passes.quantise_int8.bits=4", "--set passes.quantise_int8.bits=4: the recipe has no pass 'quantise_int8', did you mean 'quantize_int8'?"),
        ("passes.quantize_int8.bit=4", "--set passes.quantize_int8.bit=4: passes[1]: unknown key 'bit', did you mean 'bits'?"),
        ("passes[1].bits=9", "--set passes[1].bits=9: passes[1].bits: should be at most 8, not 9"),
        ("passes[2].bits=4", "--set passes[2].bits=4: there is no passes[2], the recipe has 2"),
        ("passes[5]=simplify", "--set passes[5]=simplify: passes has 2 entries, there is no [5]"),
        ("passes=simplify", "--set passes=simplify: passes: should be a list, not 'simplify'"),
        ("passes[1].skip.x=1", "--set passes[1].skip.x=1: passes[1].skip: should be a list, not a mapping"),
        ("gates[0]=speedpu>=1", "--set gates[0]=speedpu>=1: gates[0]: unknown metric 'speedpu', did you mean 'speedup'?"),
        ("gates.x=1", "--set gates.x=1: gates: should be a list, not a mapping"),
        ("calibration=[1", "--set calibration=[1: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'"),
        ("calibration={a: 1, a: 2}", "--set calibration={a: 1, a: 2}: key 'a' is given twice, first at --set calibration={a: 1, a: 2}"),
    ],
)  # fmt: skip
def test_a_set_that_does_not_fit_names_itself(tmp_path: Path, override: str, line: str) -> None:
    assert refusal(tmp_path, SHORT, override) == [line]


def test_a_pass_that_runs_twice_needs_its_number(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, FULL, "passes.quantize_int8.bits=4")
    assert caught.value.message == "--set passes.quantize_int8.bits=4: the recipe runs quantize_int8 2 times"
    assert caught.value.hint == "Say which by its number, from 0: passes[1] is the first."


def test_set_beats_the_file_but_not_its_mistakes(tmp_path: Path) -> None:
    text = SHORT + "benchmark: {runs: 0, rns: 1}"
    assert refusal(tmp_path, text, "benchmark.runs=5") == [
        "mine.yaml:3:22: benchmark: unknown key 'rns', did you mean 'runs'?"
    ]


def test_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    flags = {
        "calibration": "images",
        "eval": "/abs/val.npz",
        "preprocess": "unit",
        "profile": ["local", "boards/b.yaml"],
        "threads": 4,
        "batch": None,
        "gate": ["size_ratio<=0.5"],
    }
    recipe = load(tmp_path / "recipes", FULL, **flags)
    assert recipe.calibration_path == tmp_path / "images"
    assert recipe.evaluation_path == Path("/abs/val.npz")
    assert recipe.preprocess == "unit"
    assert recipe.benchmark.profiles == ("local", str(tmp_path / "boards" / "b.yaml"))
    assert (recipe.benchmark.threads, recipe.benchmark.batch) == (4, 4)
    assert recipe.gates == ("top1_drop<=0.01", "speedup[local]>=1.5", "size_ratio<=0.5")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"threads": 0}, "--threads 0: benchmark.threads: should be at least 1, not 0"),
        ({"gate": ["speedup>=1", "sped>1"]}, "--gate 'sped>1': gates[1]: unknown metric 'sped', did you mean 'speedup'?"),
        ({"preprocess": "imagnet"}, "--preprocess imagnet: preprocess: should be a preset or a mapping, not 'imagnet', did you mean 'imagenet'?"),
    ],
)  # fmt: skip
def test_a_flag_that_does_not_fit_names_itself(tmp_path: Path, flags: dict[str, Any], line: str) -> None:
    assert refusal(tmp_path, SHORT, **flags) == [line]


RECIPE_PIECES = st.lists(
    st.sampled_from(
        ["version: 1\n", "passes:\n", "passes: ", "  - ", "simplify\n", "quantize_int8", ": ", "{bits: ", "4", "}", "{",
         "[", "]", "\n", "prune: {sparsity: .5}\n", "gates: ", "speedup>=1", "preprocess: ", "{color: rgb}\n", "raw\n",
         "benchmark: ", "{runs: 1}\n", "calibration: ", "evaluation: ", "~", ".nan", "1e400", "true", "&a ", "*a", "<<: "]
    ),
    max_size=25,
).map("".join)  # fmt: skip

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["simplify", "quantize_int8", "prune", "speedup>=1", "raw"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["version", "passes", "gates", "benchmark", "preprocess", "runs", "data", "prune",
                         "quantize_int8", "bits", "skip", "mean", "resize", "crop", "profiles"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def recipe_or_refusal(folder: Path, text: str, *overrides: str) -> None:
    try:
        recipe = load(folder, text, *overrides)
    except RecipeError as error:
        message = error.message
    else:
        message = "fine"
        assert load(folder, recipe.to_yaml()) == recipe
    assert message.encode("utf-8")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECIPE_PIECES)
def test_any_text_is_a_recipe_or_a_recipe_error(tmp_path: Path, text: str) -> None:
    recipe_or_refusal(tmp_path, text)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(Recipe.model_fields)), VALUES))
def test_any_values_are_a_recipe_or_a_recipe_error(tmp_path: Path, data: dict[str, Any]) -> None:
    import json

    recipe_or_refusal(tmp_path, json.dumps({"version": 1, "passes": ["simplify"], **data}))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["passes", "passes[0]", "passes.quantize_int8", "gates", "benchmark", "a", "preprocess"]),
    st.sampled_from(["", ".bits", "[0]", "[1]", ".x", ".runs", "[99999999999]", ".x.y", "[0][0]", ".x[0]"]),
    st.text(max_size=8)
    | st.sampled_from(["1", "[]", "{}", "*x", ".nan", "{a: 1}", "simplify", "\ud800", "\0"]),
)
def test_any_override_is_a_recipe_or_a_recipe_error(tmp_path: Path, key: str, rest: str, value: str) -> None:
    recipe_or_refusal(tmp_path, SHORT, f"{key}{rest}={value}")


def test_build_takes_steps_from_the_registry(tmp_path: Path) -> None:
    step = load(tmp_path, SHORT).passes[1]
    assert isinstance(step.build(), base.registry()["quantize_int8"])

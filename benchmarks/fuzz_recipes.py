"""Recipes for fuzz.py: some that are quick to run on a mutated model, and mutations of recipes."""

from __future__ import annotations

from copy import deepcopy
from importlib.resources import files
from random import Random
from typing import Any

import yaml
from fuzz_bytes import MUTATIONS as OF_BYTES

QUICK: dict[str, list[Any]] = {
    "int8": [{"quantize_int8": {"select": "all", "time_budget_s": 1}}],
    "int8-static": [{"quantize_int8": {"select": "all", "calibration": "minmax", "min_sqnr_db": None}}],
    "int8-operators": [{"quantize_int8": {"select": "all", "format": "qoperator", "round": "nearest"}}],
    "int8-dynamic": [{"quantize_int8": {"mode": "dynamic"}}],
    "weights": [{"quantize_weights": {"min_elements": 1}}],
    "weights-4-log": [{"quantize_weights": {"bits": 4, "levels": "log", "min_elements": 1}}],
    "fp16": ["quantize_fp16"],
    "fp16-storage": [{"quantize_fp16": {"storage_only": True, "min_elements": 1}}],
    "prune": ["prune_magnitude"],
    "channels": [{"prune_channels": {"ratio": 0.5, "round_to": 1}}],
    "annotate": ["annotate_relu_sparsity"],
    "dsc": [{"substitute_dsc": {"macs_ratio": 0.7}}],
    "factorize": [{"factorize": {"macs_ratio": 0.7}}],
    "nothing": [{"prune_magnitude": {"sparsity": 0}}],
    "simplify": [{"simplify": {"timeout_s": 10}}],
}
BENCHMARK = {"profiles": ["local"], "runs": 1}
# what a value may be replaced by
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 1000, 2**31, 2**63, 10**30, 0.5, 1e-9, 1e300, float("nan")),
    *(
        "",
        "x",
        "auto",
        "1",
        "é",
        "\0",
        "a" * 3000,
        "*",
        "op:Conv",
        "op:*",
        "[",
        "../..",
        "/dev/zero",
        "/",
        "~",
    ),
    *([], {}, [[]], {"": 1}, [None], {"a": {"b": {}}}, ["local"], ["no-such-device"], [1, 2], [2, 2]),
]
# text that is YAML of a kind
HOSTILE = (
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]\ne: [*d, *d, *d]\n",
    "passes: &p [*p]\n",
    "!!python/object/apply:os.system ['true']\n",
    "? [a, b]\n: c\n",
    "%YAML 9.9\n---\n",
    "--- a\n--- b\n",
    "seed: " + "9" * 6000 + "\n",
    "[" * 3000,
    "{" * 3000,
    "- " * 3000 + "\n",
    "a" * 70_000 + ": 1\n",
    "\ufeff\u2028x: \x85\n",
    "calibration: {samples: 10000000000}\n",
    "calibration: {data: /dev/zero}\n",
    "calibration: {data: /dev/stdin}\n",
    "benchmark: {batch: 1000000, runs: 1}\n",
)


def quick(rng: Random, *, without_simplify: bool) -> str:
    """Return a recipe that is quick to run."""
    names = [name for name in QUICK if name != "simplify" or not without_simplify]
    passes = QUICK[rng.choice(names)]
    if rng.random() < 0.15:
        passes = passes + QUICK[rng.choice(names)]
    return _text({"version": 1, "calibration": {"samples": 2}, "passes": passes, "benchmark": BENCHMARK})


def mutated(rng: Random) -> tuple[str, bytes]:
    """Return what was done, and a mutated recipe."""
    how = rng.choice(["bytes", "hostile", "tree", "tree", "options", "options"])
    if how == "bytes":
        shipped = sorted(files("onnx_pare.configs").iterdir(), key=lambda file: file.name)
        data = rng.choice(
            [f.read_bytes() for f in shipped if f.name.endswith(".yaml")] + [_tree(rng).encode()]
        )
        kind = rng.choice(list(OF_BYTES))
        return kind, OF_BYTES[kind](rng, data)
    if how == "hostile":
        text = rng.choice(HOSTILE)
        return how, (text if rng.random() < 0.5 else f"version: 1\npasses: [quantize_fp16]\n{text}").encode()
    return how, (_tree(rng) if how == "tree" else _with_options(rng)).encode("utf-8", "replace")


def _tree(rng: Random) -> str:
    passes = QUICK[rng.choice([name for name in QUICK if name != "simplify"])]
    recipe: dict[str, Any] = {
        "version": 1,
        "passes": deepcopy(passes),
        "calibration": {"samples": 2},
        "benchmark": deepcopy(BENCHMARK),
        "gates": ["size_ratio<=2", "speedup>=0"],
        "preprocess": rng.choice(["unit", {"scale": 255, "mean": [0.5], "std": [0.5]}]),
    }
    if rng.random() < 0.3:
        recipe["evaluation"] = {"data": "val.npz", "metric": "top1"}
    for _ in range(rng.choice([1, 1, 2, 4])):
        _change(rng, recipe)
    return _text(recipe)


def _change(rng: Random, tree: Any) -> None:
    """Change a value anywhere, or a key."""
    places = [(tree, key) for key in tree]
    for holder, key in places:  # grows as it goes
        inner = holder[key]
        keys = inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        places += [(inner, k) for k in keys]
    holder, key = rng.choice(places)
    change = rng.choice(["value", "value", "value", "gone", "key"])
    if change == "gone":
        del holder[key]
    elif change == "key" and isinstance(holder, dict):
        holder[rng.choice(["", "seed", "passes", "x" * 200, key + "s", "\U0001f600"])] = holder.pop(key)
    else:
        holder[key] = deepcopy(rng.choice(ODD))


def _with_options(rng: Random) -> str:
    """Return a recipe of one pass whose options are drawn from their own types, and sometimes odd."""
    from onnx_pare.passes.base import registry

    passes = registry()
    name = rng.choice(list(passes))
    schema = passes[name].Options.model_json_schema()
    keys = rng.sample(list(schema["properties"]), min(len(schema["properties"]), rng.randrange(5)))
    options = {key: _value(rng, schema["properties"][key]) for key in keys}
    if name == "simplify":
        options["timeout_s"] = 10
    return _text(
        {"version": 1, "calibration": {"samples": 2}, "passes": [{name: options}], "benchmark": BENCHMARK}
    )


def _value(rng: Random, schema: dict[str, Any]) -> Any:
    if rng.random() < 0.15:
        return rng.choice(ODD)
    kinds = schema.get("anyOf", [schema])
    kind = rng.choice(kinds)
    if "enum" in kind or "const" in kind:
        return rng.choice(kind.get("enum", [kind.get("const")]))
    low = kind.get("minimum", kind.get("exclusiveMinimum", 0))
    numbers = [low, low + 1, low + 0.3, 0.5, 0.999, 2, 16, 100, 1 << 40]
    return {
        "boolean": rng.random() < 0.5,
        "integer": int(rng.choice(numbers)),
        "number": rng.choice(numbers),
        "string": rng.choice(["2:4", "1:2", "unstructured", "local", "0:0", "4:2", "*"]),
        "array": rng.choice([[], ["op:Conv"], ["*"], ["nothing"], [2, 2], [1, 4]]),
        "object": rng.choice([{}, {"*": 1}, {"op:Conv": 2}, {"*": 10**6}]),
    }.get(kind.get("type", "null"))


def _text(recipe: Any) -> str:
    text: str = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    return text

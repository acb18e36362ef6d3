"""Values that replace a recipe's: `--set KEY=VALUE` and the flags that stand for a key."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnx_pare.documents.document import Document, Keys, Place, kind, path_text, show
from onnx_pare.documents.suggest import suggest
from onnx_pare.documents.yaml12 import read_text
from onnx_pare.errors import RecipeError
from onnx_pare.pipeline.sections import pass_name
from onnx_pare.remote.urls import is_url, local

#: flag -> the key it replaces; --gate adds to its list
FLAGS: Mapping[str, Keys] = {
    "--preprocess": ("preprocess",),
    "--calibration": ("calibration", "data"),
    "--eval": ("evaluation", "data"),
    "--profile": ("benchmark", "profiles"),
    "--threads": ("benchmark", "threads"),
    "--batch": ("benchmark", "batch"),
    "--gate": ("gates",),
}
_PATH_FLAGS = frozenset({"--calibration", "--eval"})
_STEP = re.compile(r"(?P<name>[^.\[\]]+)(?P<indices>(?:\[[0-9]{1,9}\])*)")


@dataclass(frozen=True)
class Override:
    """One value to put into a recipe.

    Attributes:
        where: The flag as the user wrote it; messages about the value start with it.
        path: Where the value goes. A text step after `passes` is a pass's name.
        value: The value.
    """

    where: str
    path: Keys
    value: Any


def parse_set(text: str) -> Override:
    """Read `KEY=VALUE`: a path such as `passes.quantize_int8.percentile` or `passes[1].ratio`, and YAML.

    Raises:
        RecipeError: It is not of that form.
    """
    where = f"--set {text}" if text.isprintable() else f"--set {text!r}"
    key, equals, value = text.partition("=")
    steps = [_STEP.fullmatch(step) for step in key.strip().split(".")]
    if not equals or not all(steps):
        raise RecipeError(
            f"{where}: is not KEY=VALUE",
            hint="For example: --set benchmark.runs=10, or --set passes.quantize_int8.percentile=99.99",
        )
    path: list[str | int] = []
    for step in filter(None, steps):
        path += [step["name"], *(int(index) for index in re.findall(r"[0-9]+", step["indices"]))]
    try:
        data = read_text(value, where, positions=False).data
    except RecipeError as error:
        raise RecipeError(
            error.message, hint="Quote text that YAML reads otherwise: KEY='\"*/head/*\"'"
        ) from error
    return Override(where, tuple(path), data)


def from_flags(flags: Mapping[str, Any], data: Any, folder: Path) -> Iterator[Override]:
    """Yield what flags put into a recipe; None and empty lists are flags not given.

    Args:
        flags: By the names in `FLAGS`: text, a number, or (`--profile`, `--gate`) a list of text.
        data: The recipe so far.
        folder: The recipe's folder; paths in flags start from the current one instead.
    """
    for flag, value in flags.items():
        if value is None or value == [] or value == ():
            continue
        if flag == "--gate":
            gates = data.get("gates") if isinstance(data, dict) else None
            first = len(gates) if isinstance(gates, list) else 0
            for index, expr in enumerate(value, start=first):
                yield Override(f"--gate {show(expr)}", ("gates", index), expr)
        elif isinstance(value, list | tuple):
            items = [_from_here(item, folder) if item.endswith((".yaml", ".yml")) else item for item in value]
            yield Override(flag, FLAGS[flag], items)
        else:
            given = _from_here(value, folder) if flag in _PATH_FLAGS else value
            yield Override(f"{flag} {value}", FLAGS[flag], given)


def apply(document: Document, overrides: Sequence[Override]) -> Document:
    """Return the document with every override in place; `recipe.build` checks the result.

    Raises:
        RecipeError: An override's path leads nowhere.
    """
    for override in overrides:
        document = _apply(document, override)
    return document


def _from_here(path: str, folder: Path) -> str:
    return path if folder == Path() or is_url(path) else str(Path.cwd() / local(path))


def _apply(document: Document, override: Override) -> Document:
    data = copy.deepcopy(document.data)
    path = _through_pass(data, override)
    place = Place(override.where)
    values = {keys: old for keys, old in document.values.items() if keys[: len(path)] != path}
    keys = {steps: old for steps, old in document.keys.items() if steps[: len(path)] != path}
    container = data
    for depth, step in enumerate(path):
        here = path[: depth + 1]
        keys.setdefault(here, place)
        values.setdefault(here, place)
        container = _descend(container, step, path, depth, override)
    return replace(document, data=data, keys=keys, values=values)


def _descend(container: Any, step: str | int, path: Keys, depth: int, override: Override) -> Any:
    """Go one step down, making the mappings that are not there; the last step puts the value."""
    before = path_text(path[:depth]) or "the recipe"
    last = depth == len(path) - 1
    if isinstance(container, dict) and isinstance(step, str):
        if last:
            container[step] = override.value
        elif container.get(step) is None:
            container[step] = [] if isinstance(path[depth + 1], int) else {}
    elif isinstance(container, list) and isinstance(step, int):
        if step > len(container) or (step == len(container) and not last):
            raise RecipeError(
                f"{override.where}: {before} has {len(container)} entries, there is no [{step}]"
            )
        if last:
            container[step : step + 1] = [override.value]
    else:
        raise RecipeError(f"{override.where}: {before} is {kind(container)}{_how(container, before)}")
    return None if last else container[step]


def _how(container: Any, before: str) -> str:
    if isinstance(container, list):
        return f"; name an entry by its number, as in {before}[0]"
    if isinstance(container, dict):
        return f"; name a key, as in {before}.KEY"
    return ", not a mapping: replace it whole"


def _through_pass(data: Any, override: Override) -> Keys:
    """Return the override's path with a pass's name replaced by its place, and options below its key."""
    path = override.path
    passes = data.get("passes") if isinstance(data, dict) else None
    if len(path) < 2 or path[0] != "passes" or not isinstance(passes, list):
        return path
    index = _find(passes, path[1], override) if isinstance(path[1], str) else path[1]
    if len(path) == 2 and index == path[1]:
        return ("passes", index)
    name = pass_name(passes[index]) if index < len(passes) else None
    if name is None:
        raise RecipeError(f"{override.where}: there is no passes[{index}], the recipe has {len(passes)}")
    if not isinstance(passes[index], dict):
        passes[index] = {name: None}
    return ("passes", index, name, *path[2:])


def _find(passes: Sequence[Any], name: str, override: Override) -> int:
    names = [pass_name(entry) for entry in passes]
    if names.count(name) > 1:
        first = names.index(name)
        raise RecipeError(
            f"{override.where}: the recipe runs {name} {names.count(name)} times",
            hint=f"Say which by its number, from 0: passes[{first}] is the first.",
        )
    if name not in names:
        known = suggest(name, [known for known in names if known])
        raise RecipeError(f"{override.where}: the recipe has no pass {show(name)}{known}")
    return names.index(name)

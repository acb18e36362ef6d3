"""The recipes that come with onnx-pare."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

SUFFIX = ".yaml"


@cache
def names() -> tuple[str, ...]:
    """Return the names of all shipped recipes, sorted."""
    entries = (entry.name for entry in files("onnx_pare.configs").iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in entries if name.endswith(SUFFIX)))


def find(name: str) -> str | None:
    """Return the name of the shipped recipe that `int8` or `int8.yaml` means, or None."""
    stem = name.removesuffix(SUFFIX)
    return stem if stem in names() else None


def text(name: str) -> str:
    """Return the YAML of a shipped recipe."""
    return files("onnx_pare.configs").joinpath(name + SUFFIX).read_text(encoding="utf-8")


def purpose(name: str) -> str:
    """Return what a shipped recipe is for: its first comment line."""
    return text(name).partition("\n")[0].lstrip("# ")

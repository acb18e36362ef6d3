"""`pare passes`: what can be done to a model, and with which options; read off the passes themselves."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnx_pare.cli.console import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_pare.passes.base import Pass

app = typer.Typer(help="List the passes, and show the options of one.", no_args_is_help=True)


@app.command("list")
def list_passes(json: JsonOption = "") -> None:
    """List the passes and what each does."""
    from onnx_pare.cli import console
    from onnx_pare.passes import base

    rows = [{"name": name, "summary": base.summary(cls)} for name, cls in base.registry().items()]
    if json:
        console.write_json({"schema": "onnx-pare/passes/1", "passes": rows}, json)
    if json == "-":
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        console.out().print(f"{row['name']:<{width}}  {row['summary']}", markup=False)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name that `pare passes list` prints.")],
    json: JsonOption = "",
) -> None:
    """Show what a pass does, what it preserves, and its options."""
    from onnx_pare.cli import console
    from onnx_pare.documents.suggest import suggest
    from onnx_pare.errors import UsageError
    from onnx_pare.passes import base

    cls = base.registry().get(name)
    if cls is None:
        raise UsageError(f"no pass '{name}'{suggest(name, base.registry())}")
    facts = describe(name, cls)
    if json:
        console.write_json({"schema": "onnx-pare/pass/1", **facts}, json)
    if json == "-":
        return
    for line in _lines(facts):
        console.out().print(line, markup=False)


def describe(name: str, cls: type[Pass]) -> dict[str, Any]:
    """Return all that `pare passes show` shows, as JSON values."""
    from dataclasses import asdict
    from inspect import getdoc

    from onnx_pare.pipeline.options import options_of

    return {
        "name": name,
        "description": getdoc(cls) or "",
        "lossless": cls.lossless,
        "calibrates": cls.calibrates,
        "options": [asdict(option) for option in options_of(cls.Options)],
    }


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    outputs = "stay the same up to rounding" if facts["lossless"] else "may change"
    data = "reads calibration data" if facts["calibrates"] else "needs no data"
    yield from (facts["name"], "", facts["description"], "", f"Outputs {outputs}; {data}.", "")
    yield "Options:" if facts["options"] else "It has no options."
    for option in facts["options"]:
        default = "required" if option["required"] else f"default {_as_yaml(option['default'])}"
        value = " ".join(filter(None, (option["type"], option["range"])))
        yield f"  {option['name']}: {value}; {default}"
        yield f"      {option['description']}"


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json_text.dumps(value)

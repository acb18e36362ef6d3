"""`pare recipes`: the shipped recipes, and the schema that all recipes follow."""

from __future__ import annotations

from typing import Annotated

import typer

from onnx_pare.cli.console import JsonOption

app = typer.Typer(
    help="List and show the shipped recipes; print the schema of recipes.", no_args_is_help=True
)


@app.command("list")
def list_recipes(json: JsonOption = "") -> None:
    """List the shipped recipes and what each is for."""
    from onnx_pare.cli import console
    from onnx_pare.pipeline import shipped

    rows = [{"name": name, "purpose": shipped.purpose(name)} for name in shipped.names()]
    if json:
        console.write_json({"schema": "onnx-pare/recipes/1", "recipes": rows}, json)
    if json == "-":
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        console.out().print(f"{row['name']:<{width}}  {row['purpose']}", markup=False)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name that `pare recipes list` prints.")],
    json: JsonOption = "",
) -> None:
    """Print a shipped recipe; as JSON with all defaults filled in."""
    from onnx_pare.cli import console
    from onnx_pare.documents.suggest import suggest
    from onnx_pare.errors import UsageError
    from onnx_pare.pipeline import shipped
    from onnx_pare.pipeline.recipe import load_shipped

    stem = shipped.find(name)
    if stem is None:
        raise UsageError(f"no shipped recipe '{name}'{suggest(name, shipped.names())}")
    if json:
        recipe = load_shipped(stem)
        facts = {"name": stem, "purpose": shipped.purpose(stem), "recipe": recipe.resolved()}
        console.write_json({"schema": "onnx-pare/recipe/1", **facts}, json)
    if json != "-":
        console.out().print(shipped.text(stem).rstrip(), markup=False, soft_wrap=True)


@app.command("schema")
def schema(json: JsonOption = "-") -> None:
    """Print the JSON Schema of recipes, for editors that complete and check YAML."""
    from onnx_pare.cli import console
    from onnx_pare.pipeline.schema import recipe_schema

    console.write_json(recipe_schema(), json)

"""`pare profiles`: the hardware that models can be benchmarked against."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onnx_pare.cli.console import JsonOption

app = typer.Typer(help="List and show hardware profiles.", no_args_is_help=True)


@app.command("list")
def list_profiles(json: JsonOption = "") -> None:
    """List the profiles, and whether their latencies are measured or predicted."""
    from onnx_pare.cli import console
    from onnx_pare.hw_profiles.profiles import PROFILES

    if json:
        rows = [
            {"name": p.name, "kind": p.kind, "title": p.title, "runtime": p.runtime}
            for p in PROFILES.values()
        ]
        console.write_json({"schema": "onnx-pare/profiles/1", "profiles": rows}, json)
    if json == "-":
        return
    for profile in PROFILES.values():
        console.out().print(f"{profile.name:<8} {profile.kind:<9} {profile.title}, {profile.runtime}")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name that `pare profiles list` prints.")],
    json: JsonOption = "",
) -> None:
    """Show what is known about one profile."""
    from onnx_pare.cli import console
    from onnx_pare.hw_profiles.profiles import describe, resolve

    facts = describe(resolve([name])[0])
    if json:
        console.write_json({"schema": "onnx-pare/profile/1", **facts}, json)
    if json == "-":
        return
    for key, value in facts.items():
        console.out().print(f"{key.replace('_', ' '):<16} {_text(value)}")


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)

"""`pare zoo`: what a batch has come to, and whether its files are still those it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnx_pare.cli.console import JsonOption

app = typer.Typer(help="Look at the output folder of a batch.", no_args_is_help=True, rich_markup_mode=None)

EXIT_DIFFERS = 1
Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="The output folder of a batch, or its URL.")]


@app.command()
def status(folder: Folder, json: JsonOption = "") -> None:
    """Sum up the journal, also while the batch runs."""
    from onnx_pare.cli import console
    from onnx_pare.cli.board import show_tally
    from onnx_pare.zoo.journal import read_journal
    from onnx_pare.zoo.remote_folder import journal_folder
    from onnx_pare.zoo.tally import Tally

    tally = Tally()
    for record in read_journal(journal_folder(folder)):
        tally.models += 1
        tally.add(record)
    if json:
        console.write_json(tally.to_json(), json)
    if json != "-":
        show_tally(tally, folder, console.out())


@app.command()
def verify(folder: Folder, json: JsonOption = "") -> None:
    """Hold every output against its SHA-256 in the journal; exit with 1 if one is missing or differs."""
    from onnx_pare.cli import console
    from onnx_pare.errors import UsageError
    from onnx_pare.remote.urls import is_url, local, shown
    from onnx_pare.zoo.verify import verify

    if is_url(folder):
        raise UsageError(f"{shown(folder)}: is not local", hint="Copy the folder here, and verify the copy.")
    findings = list(verify(Path(local(folder))))
    if json:
        said = [{"model": finding.model, "problem": finding.problem} for finding in findings]
        console.write_json({"schema": "onnx-pare/zoo-verify/1", "findings": said}, json)
    if json != "-":
        for finding in findings:
            console.out().print(finding.problem, markup=False)
        console.out().print(
            f"{len(findings)} outputs differ from the journal" if findings else "all as written"
        )
    if findings:
        raise typer.Exit(EXIT_DIFFERS)

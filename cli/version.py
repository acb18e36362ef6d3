"""`pare --version`."""

from __future__ import annotations

import typer


def version(
    version: bool = typer.Option(
        False,
        "--version",
        is_eager=True,
        callback=lambda wanted: _print(wanted),
        help="Print the version and exit.",
    ),
) -> None:
    """Hold the option `--version`; its callback does the work."""


def _print(wanted: bool) -> None:
    if wanted:
        from onnx_pare import __version__

        print(f"onnx-pare {__version__}")
        raise typer.Exit

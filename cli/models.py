"""The MODEL arguments: files, folders and globs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx_pare.errors import UsageError


def find_models(arguments: Sequence[str]) -> list[Path]:
    """Return the model files that the arguments name, each once, in order.

    A file is taken as it is, a folder is searched for `*.onnx` (also in folders within), and anything else is
    a glob (`models/*.onnx`, `**` for folders within).

    Raises:
        UsageError: An argument names nothing.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        models = _named(argument)
        if not models:
            raise UsageError(f"{argument}: {_nothing(Path(argument))}")
        found.update(dict.fromkeys(models))
    return list(found)


def _named(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        return sorted(path.rglob("*.onnx"))
    if path.exists():
        return [path]
    try:
        matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        return sorted(match for match in matches if match.is_file())
    except ValueError as error:
        raise UsageError(f"{argument}: not a pattern for files: {error}") from error


def _nothing(path: Path) -> str:
    if path.is_dir():
        return "no *.onnx file in this folder"
    return "no file matches" if any(sign in str(path) for sign in "*?[") else "no such file or folder"


def check_json_target(json: str, models: Sequence[Path]) -> None:
    """Find out before the work whether `--json` can be written; empty and `-` (stdout) can.

    Raises:
        UsageError: It is one of the models.
        OutputError: It cannot be written.
    """
    from onnx_pare.graph.save import check_writable, same_file

    if json in ("", "-"):
        return
    path = Path(json)
    check_writable(path, overwrite=True)
    if any(same_file(path, model) for model in models):
        raise UsageError(f"--json {path}: is the model itself", hint="Choose another name.")

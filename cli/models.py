"""The MODEL arguments: files, folders and globs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx_pare.errors import UsageError
from onnx_pare.remote import urls


def find_models(arguments: Sequence[str]) -> list[str]:
    """Return the paths and URLs of the models that the arguments name, each once, in order.

    A file is taken as it is, a folder is searched for `*.onnx` (also in folders within), and anything else is
    a glob (`models/*.onnx`, `**` for folders within). URLs name the same, but a web server has no folders.

    Raises:
        UsageError: An argument names nothing.
    """
    found: dict[str, None] = {}
    for argument in arguments:
        models = _fetchable(argument) if urls.is_url(argument) else map(str, _named(urls.local(argument)))
        found.update(dict.fromkeys(models))
    return list(found)


def _fetchable(url: str) -> list[str]:
    from onnx_pare.remote.store import find

    entries = find(url, UsageError)
    models = [entry.url for entry in entries if entry.url == url or entry.name.endswith(".onnx")]
    if not models:
        raise UsageError(f"{urls.shown(url)}: no *.onnx file {'matches' if urls.has_glob(url) else 'there'}")
    return models


def _named(argument: str) -> list[Path]:
    """Return the models that a local argument names."""
    path = Path(argument)
    models = _matches(path, argument)
    if not models:
        raise UsageError(f"{argument}: {_nothing(path)}")
    return models


def _matches(path: Path, argument: str) -> list[Path]:
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


def check_json_target(json: str, models: Sequence[str]) -> None:
    """Find out before the work whether `--json` can be written; empty and `-` (stdout) can.

    Raises:
        UsageError: It is one of the models.
        OutputError: It cannot be written.
    """
    from onnx_pare.graph.save import check_writable, same_file

    if json in ("", "-"):
        return
    if urls.is_url(json):
        from onnx_pare.remote.store import check_target

        check_target(json, overwrite=True)
        itself = json in models
    else:
        path = Path(urls.local(json))
        check_writable(path, overwrite=True)
        itself = any(same_file(path, Path(urls.local(model))) for model in models if not urls.is_url(model))
    if itself:
        raise UsageError(f"--json {urls.shown(json)}: is the model itself", hint="Choose another name.")

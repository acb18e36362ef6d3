"""Which models are meant: files, folders, globs and URLs; and their names in a batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path, PurePath

from onnx_pare.errors import UsageError
from onnx_pare.remote import urls
from onnx_pare.zoo.model_urls import Found, find_urls, mirrored_urls, names_many

_WILDCARDS = frozenset("*?[")


def find_models(arguments: Sequence[str]) -> list[str]:
    """Return the paths and URLs of the models that the arguments name, each once, in order.

    A file is taken as it is, a folder is searched for `*.onnx` (also in folders within), and anything else is
    a glob (`models/*.onnx`, `**` for folders within). URLs name the same; web servers list no folders.

    Raises:
        UsageError: An argument names nothing.
    """
    found: dict[str, None] = {}
    for argument in arguments:
        if urls.is_url(argument):
            models = [entry.url for entry in find_urls(argument)]
        elif not (models := [str(path) for path in _named(urls.local(argument))]):
            raise UsageError(f"{argument}: {_nothing(Path(urls.local(argument)))}")
        found.update(dict.fromkeys(models))
    return list(found)


def is_batch(arguments: Sequence[str]) -> bool:
    """Return whether the arguments mean a batch: more than one, a folder, or a glob.

    Of a URL only the name tells: a folder is what ends in `/`, or at least not in `.onnx`.
    """
    return len(arguments) > 1 or any(_means_many(one) for one in arguments)


def _means_many(argument: str) -> bool:
    if urls.is_url(argument):
        return names_many(argument)
    path = Path(urls.local(argument))
    return path.is_dir() or (is_glob(str(path)) and not path.exists())


def is_glob(argument: str) -> bool:
    """Return whether an argument holds a wildcard."""
    return not _WILDCARDS.isdisjoint(argument)


def mirrored(arguments: Sequence[str], output: str) -> Iterator[Found]:
    """Yield the models that the arguments name.

    A model's name is the path below the folder that all arguments share, with `/`: for one folder its own
    tree. Models in the output folder are left out, should it lie among the inputs.

    Raises:
        UsageError: An argument names nothing, or they are local paths and URLs, or URLs of several stores.
    """
    if any(urls.is_url(argument) for argument in arguments):
        yield from mirrored_urls(arguments, output)
        return
    arguments = [urls.local(argument) for argument in arguments]
    root = os.path.commonpath([os.path.abspath(_base(argument)) for argument in arguments])  # noqa: PTH100
    # links stay: a name says where the user put the model
    written = os.path.abspath(urls.local(output))  # noqa: PTH100
    for path in find_models(arguments):
        place = os.path.abspath(path)  # noqa: PTH100
        if not PurePath(place).is_relative_to(written):
            yield Found(PurePath(place).relative_to(root).as_posix(), path)


def _base(argument: str) -> Path:
    """Return the folder below which an argument finds models."""
    path = Path(argument)
    if path.is_dir():
        return path
    if path.exists() or not is_glob(argument):
        return path.parent
    return Path(*takewhile(lambda part: not is_glob(part), path.parts))


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
    return "no file matches" if is_glob(str(path)) else "no such file or folder"

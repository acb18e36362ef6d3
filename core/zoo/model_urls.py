"""Models that lie elsewhere: which are meant by URLs, and their names in a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import PurePosixPath
from typing import NamedTuple

from onnx_pare.errors import UsageError
from onnx_pare.remote import store, urls

SUFFIX = ".onnx"


class Found(NamedTuple):
    """A model of a batch.

    Attributes:
        name: Its name in the batch.
        location: Path or URL of the file.
        version: What its store says of the file's version; empty if that cannot be relied on, or it is local.
    """

    name: str
    location: str
    version: str = ""


def find_urls(url: str) -> list[store.Entry]:
    """Return the models that a URL names: itself, those below it, those that match it.

    Raises:
        UsageError: There is none.
    """
    entries = store.find(url, UsageError)
    models = [entry for entry in entries if entry.url == url or entry.name.endswith(SUFFIX)]
    if not models:
        raise UsageError(f"{urls.shown(url)}: no *.onnx file {'matches' if urls.has_glob(url) else 'there'}")
    return models


def names_many(url: str) -> bool:
    """Return whether a URL means a folder or a pattern, by its name alone."""
    return urls.has_glob(url) or not (urls.is_http(url) or url.endswith(SUFFIX))


def mirrored_urls(arguments: Sequence[str], output: str) -> Iterator[Found]:
    """Yield the models that URLs name, as `models.mirrored` does.

    Raises:
        UsageError: A URL names nothing, they lie in several stores, or two results would get one name.
    """
    _check_one_store(arguments)
    root = _common([_base(argument) for argument in arguments])
    written = f"{urls.location(output).rstrip('/')}/"
    found: dict[str, Found] = {}
    for entry in [entry for argument in arguments for entry in find_urls(argument)]:
        place = urls.location(entry.url)
        if urls.is_url(output) and place.startswith(written):
            continue
        model = Found(_name(place.removeprefix(root), entry.url), entry.url, entry.version * entry.told)
        if found.setdefault(model.name, model).location != entry.url:
            raise UsageError(
                f"{urls.shown(entry.url)}: two models of this name", hint="Run one batch for each."
            )
    yield from found.values()


def _base(argument: str) -> str:
    """Return the folder below which a URL finds models, ending in `/`."""
    if urls.has_glob(argument):
        return urls.fixed_folder(argument)
    place = urls.location(argument)
    return f"{place.rstrip('/')}/" if names_many(argument) else place[: place.rindex("/") + 1]


def _check_one_store(arguments: Sequence[str]) -> None:
    stores = {"/".join(argument.split("/")[:3]) for argument in arguments}
    if len(stores) > 1 or not all(urls.is_url(argument) for argument in arguments):
        raise UsageError(
            "the models of one batch lie in one store: local, or one bucket or server",
            hint="Run one batch for each.",
        )


def _common(bases: Sequence[str]) -> str:
    """Return the longest folder that all folders lie below."""
    levels = zip(*(base.split("/")[:-1] for base in bases), strict=False)
    return "".join(f"{level[0]}/" for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _name(name: str, url: str) -> str:
    if not name or ".." in PurePosixPath(name).parts:
        raise UsageError(f"{urls.shown(url)}: no name for a result can be made of that")
    return name

"""One job on local stand-ins for what URLs name: fetched before, put back after, removed in the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from onnx_pare.errors import ModelError, OutputError
from onnx_pare.graph.load import external_locations
from onnx_pare.graph.save import data_file
from onnx_pare.remote import store, urls
from onnx_pare.remote.cache import DataCache
from onnx_pare.remote.names import Names

PREFIX = "onnx-pare-stage-"


class Stage:
    """Local paths for the names that a job was given; a local path is its own.

    Attributes:
        names: What the stand-ins are called in messages and reports.
    """

    def __init__(self, cache: DataCache | None, scratch: Path | None, held: ExitStack) -> None:
        self.names = Names()
        self._scratch = scratch
        self._given_cache = cache
        self._held = held
        self._models: set[str] = set()
        self._outputs: dict[str, Path] = {}

    @cached_property
    def _folder(self) -> Path:
        """The private folder of this job; made only where there is something to fetch or put."""
        return Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=self._scratch)))

    @cached_property
    def _cache(self) -> DataCache:
        return self._given_cache or DataCache(self._folder / "data")

    def model(self, name: str) -> Path:
        """Return the local file of a model, its external data beside it.

        Raises:
            ModelError: It or its external data cannot be read.
            OutputError: The local disk has no room for it.
        """
        if not urls.is_url(name):
            return Path(urls.local(name))
        path = self._place(name)
        self._fetch(name, path)
        for location in _external(path):
            self._fetch(urls.sibling(name, location), path.parent / location)
        return path

    def _fetch(self, url: str, target: Path) -> None:
        if target.exists():  # a model that names itself as its data
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(url, target, ModelError)
        self._models.add(url)

    @property
    def fetched(self) -> int:
        """How many files of models were fetched, external data among them."""
        return len(self._models)

    def data(self, name: str) -> Path:
        """Return the local copy of calibration or labelled data; jobs of one process share it.

        Raises:
            DataError: It cannot be read.
        """
        if not urls.is_url(name):
            return Path(urls.local(name))
        path = self._held.enter_context(self._cache.held(name))
        self.names.add(path, name)
        return path

    def output(self, name: str, *, overwrite: bool) -> Path:
        """Return where to write locally what `publish` puts at `name`.

        Raises:
            OutputError: Nothing can be written there, it is what was read or is written already, or it exists
                and `overwrite` is not set.
        """
        if not urls.is_url(name):
            return Path(urls.local(name))
        for what, known in (("the input model", self._models), ("another output", self._outputs)):
            if name in known:
                raise OutputError(f"{urls.shown(name)}: is {what}", hint="Choose another name.")
        store.check_target(name, overwrite=overwrite)
        path = self._place(name)
        self._outputs[name] = path
        self.names.add(data_file(path), urls.sibling(name, data_file(path).name))
        return path

    def publish(self) -> None:
        """Put the outputs that were written where they belong, the weights of a model before the model.

        Raises:
            OutputError: A store does not take one.
        """
        for url, path in self._outputs.items():
            data = data_file(path)
            if data.exists():
                store.put(data, urls.sibling(url, data.name))
            if path.exists():
                store.put(path, url)

    def private(self, name: str) -> Path:
        """Return a new path for a file of this name that only this job sees."""
        return Path(tempfile.mkdtemp(dir=self._folder)) / name

    def _place(self, url: str) -> Path:
        path = self.private(urls.file_name(url) or "model.onnx")
        self.names.add(path, url)
        return path


def _external(path: Path) -> list[str]:
    """Return the external data that a model names; of one that is damaged, nothing: loading it says why."""
    try:
        return external_locations(path)
    except ModelError:
        return []


@contextmanager
def staged(cache: DataCache | None = None, scratch: Path | None = None) -> Iterator[Stage]:
    """Yield a stage whose files are gone afterwards; errors on the way out name URLs, not its files.

    Args:
        cache: Data shared with other jobs of this process; None keeps it for this job alone.
        scratch: Where its folder is made; None: where temporary files go.
    """
    with ExitStack() as held:
        stage = Stage(cache, scratch, held)
        with stage.names.in_errors():
            yield stage


@contextmanager
def shared_data() -> Iterator[DataCache]:
    """Yield a cache of data for all jobs of a process, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        yield DataCache(Path(folder))

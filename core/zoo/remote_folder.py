"""Output folders at URLs: results go there, the journal stays on this machine until the end.

No object store can add a line to a file, or hold a lock.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from onnx_pare.errors import OutputError
from onnx_pare.graph.save import make_folder
from onnx_pare.hw_profiles.local import local_profile_path
from onnx_pare.remote import store, urls
from onnx_pare.zoo.folder import SUMMARY, OutputFolder, open_folder
from onnx_pare.zoo.journal import NAME

logger = logging.getLogger(__name__)


class RemoteFolder(OutputFolder):
    """An output folder at a URL; its `path` is where this machine keeps the journal."""

    def __init__(self, url: str, local: OutputFolder) -> None:
        super().__init__(local.path, local.scratch)
        self._url = url.rstrip("/")

    def target(self, model: str) -> str:
        """Return the URL of a model's result."""
        return f"{self._url}/{model}"

    def has(self, model: str) -> bool:
        """Return whether there was a result of a model when it was first asked for any."""
        return model in self._there

    def read_report(self, name: str) -> Mapping[str, Any]:
        """Return the report of this name, as JSON values."""
        from onnx_pare.pipeline.earlier import read_values
        from onnx_pare.remote.stage import staged

        with staged(scratch=self.scratch) as stage:
            return read_values(stage.data(self.target(name)))

    @cached_property
    def _there(self) -> frozenset[str]:
        """What lies there, asked for at once: one by one takes hours for 100,000 models."""
        return frozenset(entry.name for entry in store.find_below(self._url, OutputError))


@contextmanager
def open_output(output: str) -> Iterator[OutputFolder]:
    """Open the output folder of a batch, a path or a URL, as `open_folder` does.

    Of a URL, the journal is kept in the user's data folder, after taking over one at the URL if that is
    longer, and copied there in the end with the summary, however the run ends.

    Raises:
        OutputError: It cannot be written, or another run of this machine uses it.
    """
    if not urls.is_url(output):
        with open_folder(Path(urls.local(output))) as folder:
            yield folder
        return
    url = output.rstrip("/")
    store.check_target(f"{url}/{NAME}", overwrite=True)
    path = state_folder(url)
    make_folder(path)
    with open_folder(path) as folder:
        _fetch_journal(f"{url}/{NAME}", path / NAME)
        try:
            yield RemoteFolder(url, folder)
        finally:
            for name in (NAME, SUMMARY):
                _put_back(path / name, f"{url}/{name}")


def state_folder(url: str) -> Path:
    """Return where this machine keeps the journal of an output folder at a URL."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    return local_profile_path().with_name("batches") / name


def journal_folder(output: str) -> Path:
    """Return the folder in which the journal of an output folder lies; of one at a URL, that of this machine.

    Raises:
        OutputError: This machine has none, and what lies at the URL cannot be fetched.
    """
    if not urls.is_url(output):
        return Path(urls.local(output))
    path = state_folder(output.rstrip("/"))
    if not (path / NAME).exists():
        make_folder(path)
        _fetch_journal(f"{output.rstrip('/')}/{NAME}", path / NAME)
    return path


def _fetch_journal(url: str, path: Path) -> None:
    """Take over the journal at the URL if it is longer than ours: lines are only ever added."""
    there = store.size_bytes(url, OutputError)
    if there is not None and there > (path.stat().st_size if path.exists() else 0):
        store.fetch(url, path, OutputError)


def _put_back(path: Path, url: str) -> None:
    try:
        if path.exists():
            store.put(path, url)
    except OutputError as error:
        logger.warning("%s; it is at %s", error.message, path)

"""Data that many models share, fetched once by each process and kept while there is room."""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from onnx_pare.errors import DataError
from onnx_pare.remote import store, urls

log = logging.getLogger(__name__)

LIMIT_BYTES = 8 << 30


@dataclass
class _Copy:
    """A local copy of what a URL named when its files had these versions."""

    path: Path
    size_bytes: int
    users: int = 0
    ready: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class DataCache:
    """Local copies of calibration and labelled data, by URL and version of the files; safe for threads.

    What nobody uses goes, oldest first, once all copies together are beyond the limit.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._copies: dict[str, _Copy] = {}
        self._lock = threading.Lock()

    @contextmanager
    def held(self, url: str) -> Iterator[Path]:
        """Yield a local copy of the file or folder at `url`, which stays while it is held.

        Raises:
            DataError: It cannot be read, or is an empty folder.
            OutputError: The local disk has no room for it.
        """
        entries = store.find(url, DataError)
        if not entries:
            raise DataError(f"{urls.shown(url)}: the folder is empty")
        key = version(url, entries)
        copy = self._taken(key, url, entries)
        try:
            with copy.lock:  # one thread fetches, the others wait
                if not copy.ready:
                    _fetch_all(url, entries, copy)
            yield copy.path
        finally:
            self._returned(copy)

    def _taken(self, key: str, url: str, entries: Sequence[store.Entry]) -> _Copy:
        with self._lock:
            copy = self._copies.pop(key, None)
            if copy is None:
                size = sum(entry.size_bytes or 0 for entry in entries)
                copy = _Copy(self._folder / key / urls.file_name(url.rstrip("/")), size)
            self._copies[key] = copy  # the newest stands last
            copy.users += 1
            self._evict()
            return copy

    def _returned(self, copy: _Copy) -> None:
        with self._lock:
            copy.users -= 1
            self._evict()

    def _evict(self) -> None:
        total = sum(copy.size_bytes for copy in self._copies.values())
        for key, copy in list(self._copies.items()):
            if total <= self._limit_bytes:
                return
            if not copy.users:
                shutil.rmtree(self._folder / key, ignore_errors=True)
                del self._copies[key]
                total -= copy.size_bytes


def version(url: str, entries: Sequence[store.Entry]) -> str:
    """Return a short name for what a URL holds: other files, sizes or versions give another one."""
    digest = hashlib.sha256(url.encode())
    for entry in entries:
        digest.update(f"\0{entry.name}\0{entry.version}".encode())
    return digest.hexdigest()[:32]


def _fetch_all(url: str, entries: Sequence[store.Entry], copy: _Copy) -> None:
    shutil.rmtree(copy.path.parent, ignore_errors=True)  # what an attempt before this one left
    copy.path.parent.mkdir(parents=True)
    store.check_room(copy.path.parent, copy.size_bytes, url)
    single = len(entries) == 1 and entries[0].url == url
    for entry in entries:
        target = copy.path if single else copy.path / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(entry.url, target, DataError)
    copy.ready = True
    log.info("%s: %d files kept for the models that follow", urls.shown(url), len(entries))

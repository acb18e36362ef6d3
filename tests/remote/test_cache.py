from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from onnx_pare.errors import DataError
from onnx_pare.remote import store
from onnx_pare.remote.cache import DataCache


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the URLs that were fetched so far."""
    urls: list[str] = []
    fetch = store.fetch

    def counted(url: str, target: Path, error: Any) -> None:
        urls.append(url)
        fetch(url, target, error)

    monkeypatch.setattr(store, "fetch", counted)
    return urls


def test_a_folder_is_fetched_once(memory: Any, tmp_path: Path, fetched: list[str]) -> None:
    for name in ("a.npy", "deep/b.npy"):
        memory.pipe(f"/data/{name}", name.encode())
    cache = DataCache(tmp_path)
    for _ in range(2):
        with cache.held("memory://data") as folder:
            assert folder.name == "data"
            assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.npy")) == [
                "a.npy",
                "deep/b.npy",
            ]
    assert len(fetched) == 2


def test_a_file_keeps_its_name(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/data/x.npz", b"1")
    with DataCache(tmp_path).held("memory://data/x.npz") as path:
        assert (path.name, path.read_bytes()) == ("x.npz", b"1")


def test_threads_wait_for_one_copy(memory: Any, tmp_path: Path, fetched: list[str]) -> None:
    memory.pipe("/data/x.npz", b"1" * 100_000)
    cache = DataCache(tmp_path)

    def size(_: int) -> int:
        with cache.held("memory://data/x.npz") as path:
            return path.stat().st_size

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(size, range(32))) == {100_000}
    assert len(fetched) == 1


def test_data_that_changed_is_fetched_again(memory: Any, tmp_path: Path) -> None:
    cache = DataCache(tmp_path)
    for content in (b"1", b"2"):
        memory.pipe("/data/x.npz", content)
        with cache.held("memory://data/x.npz") as path:
            assert path.read_bytes() == content


def test_the_oldest_that_nobody_uses_goes(memory: Any, tmp_path: Path, fetched: list[str]) -> None:
    for name in "abc":
        memory.pipe(f"/{name}.npz", b"1" * 10)
    cache = DataCache(tmp_path, limit_bytes=25)
    with cache.held("memory://a.npz") as a:
        with cache.held("memory://b.npz") as b:
            assert b.exists()
        with cache.held("memory://c.npz") as c:
            assert (a.exists(), b.exists(), c.exists()) == (True, False, True)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_could_not_be_fetched_is_tried_again(memory: Any, tmp_path: Path, monkeypatch: Any) -> None:
    memory.pipe("/data/x.npz", b"1")
    cache = DataCache(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "get_file", lambda *_: Path(_[2]).write_bytes(b"22"))
        with pytest.raises(DataError, match="cut short"), cache.held("memory://data/x.npz"):
            pass
    with cache.held("memory://data/x.npz") as path:
        assert path.read_bytes() == b"1"


def test_an_empty_folder(memory: Any, tmp_path: Path) -> None:
    memory.mkdir("/empty")
    with pytest.raises(DataError, match="memory://empty: the folder is empty"):
        DataCache(tmp_path).held("memory://empty").__enter__()

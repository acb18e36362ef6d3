from __future__ import annotations

from typing import Any

import pytest

from onnx_pare.errors import UsageError
from onnx_pare.zoo.model_urls import names_many
from onnx_pare.zoo.models import is_batch, mirrored


@pytest.fixture(autouse=True)
def zoo(memory: Any) -> Any:
    for name in ("zoo/a.onnx", "zoo/deep/b.onnx", "zoo/notes.txt", "more/c.onnx"):
        memory.pipe(f"/{name}", b"")
    return memory


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["memory://zoo"], ["a.onnx", "deep/b.onnx"]),
        (["memory://zoo/"], ["a.onnx", "deep/b.onnx"]),
        (["memory://zoo/deep"], ["b.onnx"]),
        (["memory://zoo/*.onnx"], ["a.onnx"]),
        (["memory://zoo/**/*.onnx"], ["a.onnx", "deep/b.onnx"]),
        (["memory://zoo/a.onnx", "memory://zoo/deep"], ["a.onnx", "deep/b.onnx"]),
        (["memory://zoo/deep/b.onnx"], ["b.onnx"]),
        (["memory://zoo/a.onnx", "memory://zoo"], ["a.onnx", "deep/b.onnx"]),
    ],
)
def test_names_are_below_the_folder_that_all_share(arguments: list[str], expected: list[str]) -> None:
    found = {one.name: one.location for one in mirrored(arguments, "out")}
    assert list(found) == expected
    assert all(url.startswith("memory://zoo/") for url in found.values())


def test_results_are_no_inputs() -> None:
    assert [one.name for one in mirrored(["memory://zoo"], "memory://zoo/deep")] == ["a.onnx"]


def test_web_addresses_keep_their_keys(web: Any) -> None:
    (web.folder / "deep").mkdir()
    for name in ("a.onnx", "deep/b.onnx"):
        (web.folder / name).touch()
    urls = [f"{web.url}a.onnx?key=1", f"{web.url}deep/b.onnx?key=2"]
    found = [(one.name, one.location) for one in mirrored(urls, "out")]
    assert found == list(zip(["a.onnx", "deep/b.onnx"], urls, strict=True))
    twice = [f"{web.url}a.onnx?key=1", f"{web.url}a.onnx?key=2"]
    with pytest.raises(UsageError, match=r"a.onnx\?\*\*\*: two models of this name"):
        list(mirrored(twice, "out"))


@pytest.mark.parametrize(
    "arguments",
    [["memory://zoo", "local.onnx"], ["memory://zoo", "memory://more"], ["x.onnx", "memory://zoo"]],
)
def test_one_batch_is_about_one_store(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="the models of one batch lie in one store"):
        list(mirrored(arguments, "out"))


@pytest.mark.parametrize(
    ("url", "many"),
    [
        ("memory://zoo", True),
        ("s3://bucket/zoo/", True),
        ("s3://bucket/zoo/*.onnx", True),
        ("s3://bucket/m.onnx", False),
        ("https://host/download?id=3", False),
    ],
)
def test_what_is_a_batch(url: str, many: bool) -> None:
    assert names_many(url) == many
    assert is_batch([url]) == many


def test_the_version_that_a_store_tells(zoo: Any) -> None:
    def version() -> str:
        (one,) = mirrored(["memory://zoo/a.onnx"], "out")
        return one.version

    before = version()
    assert before
    assert version() == before
    zoo.pipe("/zoo/a.onnx", b"")
    assert version() != before


def test_a_size_alone_is_no_version(zoo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(zoo), "info", lambda system, path: {"type": "file", "size": 3})
    (one,) = mirrored(["memory://zoo/a.onnx"], "out")
    assert one.version == ""

from __future__ import annotations

import pytest

from onnx_pare.errors import UsageError
from onnx_pare.remote import urls


@pytest.mark.parametrize("name", ["s3://b/m.onnx", "memory://m", "HTTPS://h/m.onnx", "abfss://c@a/m"])
def test_urls(name: str) -> None:
    assert urls.is_url(name)


@pytest.mark.parametrize(
    "name", ["m.onnx", "/a/m.onnx", "C://m.onnx", "s3:/b/m", "://m", "", "a b://c", "file:///m.onnx"]
)
def test_local_paths(name: str) -> None:
    assert not urls.is_url(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("file:///a/b c.onnx", "/a/b c.onnx"),
        ("LOCAL:///a", "/a"),
        ("a/b.onnx", "a/b.onnx"),
        ("s3://b", "s3://b"),
    ],
)
def test_file_urls_are_paths(name: str, expected: str) -> None:
    assert urls.local(name) == expected


def test_file_urls_name_no_hosts() -> None:
    with pytest.raises(UsageError, match="not a local path"):
        urls.local("file://host/m.onnx")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sftp://me:secret@host/m.onnx", "sftp://***@host/m.onnx"),
        ("s3://key:sec/ret@bucket/m", "s3://key:sec/ret@bucket/m"),  # no user: a key holds no slash in a URL
        ("https://h/m.onnx?X-Amz-Signature=abc&x=1", "https://h/m.onnx?***"),
        ("https://h/m.onnx#token", "https://h/m.onnx?***"),
        ("'ftp://u:p@h/a' and ftp://h/b: gone", "'ftp://***@h/a' and ftp://h/b: gone"),
        ("--calibration=https://u@h/d?sig=1 -o x", "--calibration=https://***@h/d?*** -o x"),
        ("no URL, but a@b?c", "no URL, but a@b?c"),
    ],
)
def test_secrets_are_not_shown(text: str, expected: str) -> None:
    assert urls.shown(text) == expected


@pytest.mark.parametrize(
    ("url", "name"),
    [("s3://b/zoo/m.onnx", "m.onnx"), ("https://h/a/m.onnx?x=/y", "m.onnx"), ("s3://b/a?b", "a?b")],
)
def test_file_names(url: str, name: str) -> None:
    assert urls.file_name(url) == name


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://b/zoo/m.onnx", "s3://b/zoo/w w.bin"),
        ("memory://m.onnx", "memory:///w w.bin"),
        ("https://h/a/m.onnx?k=1", "https://h/a/w%20w.bin?k=1"),
    ],
)
def test_siblings(url: str, expected: str) -> None:
    assert urls.sibling(url, "w w.bin") == expected


@pytest.mark.parametrize(
    ("url", "glob", "folder"),
    [
        ("s3://b/zoo/*.onnx", True, "s3://b/zoo/"),
        ("s3://b/zoo/**/m[12].onnx", True, "s3://b/zoo/"),
        ("s3://b/z?o/m.onnx", True, "s3://b/"),
        ("s3://b/zoo/m.onnx", False, "s3://b/zoo/m.onnx"),
        ("https://h/m.onnx?a=*", False, ""),
    ],
)
def test_patterns(url: str, glob: bool, folder: str) -> None:
    assert urls.has_glob(url) == glob
    assert not folder or urls.fixed_folder(url) == folder

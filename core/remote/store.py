"""The file systems behind URLs: finding, fetching and putting files; all dealings with fsspec."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from onnx_pare.errors import InputError, OutputError, UsageError
from onnx_pare.remote import urls

log = logging.getLogger(__name__)

INSTALL = "Install what reads URLs: pip install 'onnx-pare[cluster]'"
# packages of their own that fsspec needs, by scheme, as pip calls them
PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("hdfs", "arrow_hdfs"), "pyarrow"),
    "smb": "smbprotocol",
}
# stores that show a file once it is whole; elsewhere it is written under another name, then renamed
_WHOLE_FILES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory"}
# what tells two versions of a file apart, as the file systems call it
_VERSION_KEYS = (
    *("size", "ETag", "etag", "md5Hash", "Content-MD5", "content_md5", "generation", "VersionId"),
    *("LastModified", "Last-Modified", "last_modified", "updated", "modified", "mtime", "created"),
)
_CONNECT_S, _SILENCE_S = 30, 60


@dataclass(frozen=True)
class Entry:
    """A file that a URL names or that lies below it.

    Attributes:
        url: The URL of the file itself.
        name: Its path below the folder (or the fixed part of the pattern) that was asked for.
        size_bytes: Its size; None where the server does not say.
        version: What differs between two versions of it, as far as its store tells.
        told: Whether the store tells more than the size.
    """

    url: str
    name: str
    size_bytes: int | None
    version: str
    told: bool


def find(url: str, error: type[InputError]) -> list[Entry]:
    """Return the file at `url`, all files below it, or those that match it as a pattern, sorted by name.

    Raises:
        InputError: Of the class `error`: there is nothing, it cannot be read, or a name leaves the folder.
    """
    if urls.is_http(url) and not urls.is_web_file(url):
        raise error(f"{urls.shown(url)}: a web server lists no folders", hint="Name the files themselves.")
    system, path = _open(url, error)
    folder = urls.fixed_folder(url) if urls.has_glob(url) else url
    with _reading(url, error):
        if urls.has_glob(url):
            found = system.glob(path, detail=True)
            base = system._strip_protocol(folder)
        else:
            status = system.info(path)
            if status.get("type", "file") == "file":
                return [_entry(url, urls.file_name(url), status)]
            found, base = system.find(path, detail=True), path
    files = {_below(name, base): status for name, status in found.items() if status.get("type") == "file"}
    for name in files:
        _check_inside(name, url, error)
    return [_entry(f"{folder.rstrip('/')}/{name}", name, files[name]) for name in sorted(files)]


def find_below(url: str, error: type[InputError]) -> list[Entry]:
    """Return all files below the folder `url`, as `find` does; none if there is no such folder."""
    system, path = _open(url, error)
    with _reading(url, error):
        there = system.exists(path)
    return find(url, error) if there else []


def size_bytes(url: str, error: type[InputError]) -> int | None:
    """Return the size of the file at `url`; None if there is none.

    Raises:
        InputError: Of the class `error`: that cannot be found out.
    """
    system, path = _open(url, error)
    with _reading(url, error):
        try:
            status = system.info(path)
        except FileNotFoundError:
            return None
    return int(status.get("size") or 0) if status.get("type", "file") == "file" else None


def fetch(url: str, target: Path, error: type[InputError]) -> None:
    """Copy the file at `url` to the local path `target`, in pieces, and see that it arrived whole.

    Raises:
        InputError: Of the class `error`: there is no such file, it cannot be read, or it was cut short.
        OutputError: The local disk has no room for it.
    """
    system, path = _open(url, error)
    with _reading(url, error):
        size = system.info(path).get("size")
        if size is not None:
            check_room(target.parent, size, url)
        system.get_file(path, str(target))
    arrived = target.stat().st_size
    if size is not None and arrived != size:
        raise error(
            f"{urls.shown(url)}: cut short: {arrived} of {size} bytes arrived", hint="Try again later."
        )
    log.info("%s: fetched %d bytes", urls.shown(url), arrived)


def check_room(folder: Path, size_bytes: int, url: str) -> None:
    """Find out whether a local folder has room for what `url` names.

    Raises:
        OutputError: It has not.
    """
    free = shutil.disk_usage(folder).free
    if size_bytes > free:
        raise OutputError(
            f"{urls.shown(url)}: has {size_bytes} bytes, but only {free} are free in {folder}",
            hint="Free some space, or name another folder for temporary files in TMPDIR.",
        )


def check_target(url: str, *, overwrite: bool) -> None:
    """Find out before any work whether a file may be put at `url`; whether the store takes it shows then.

    Raises:
        OutputError: It is a web address or a folder, there is such a file (and `overwrite` is not set), or
            the store cannot be reached.
    """
    if urls.is_http(url):
        hint = "Write to a local path or an object store."
        raise OutputError(f"{urls.shown(url)}: a web server takes no files", hint=hint)
    if url.endswith("/"):
        raise OutputError(f"{urls.shown(url)}: is a folder", hint="Give the name of the file to write.")
    if not overwrite and size_bytes(url, OutputError) is not None:
        raise OutputError(
            f"{urls.shown(url)}: exists already", hint="Add --overwrite, or choose another name with -o."
        )


def put(source: Path, url: str) -> None:
    """Write the local file `source` to `url`: either all of it is there afterwards or what was before.

    Raises:
        OutputError: The store does not take it.
    """
    system, path = _open(url, OutputError)
    with _reading(url, OutputError, "written"):
        if urls.scheme(url) in _WHOLE_FILES:
            system.put_file(str(source), path)
        else:
            _put_and_rename(system, source, path)
        size = system.info(path).get("size")
    if size is not None and size != source.stat().st_size:
        raise OutputError(f"{urls.shown(url)}: only {size} of {source.stat().st_size} bytes were written")


def put_text(text: str, url: str) -> None:
    """Write `text` in UTF-8 to `url`, as `put` does.

    Raises:
        OutputError: The store does not take it.
    """
    with tempfile.TemporaryDirectory(prefix="onnx-pare-") as folder:
        source = Path(folder) / "text"
        source.write_text(text, encoding="utf-8")
        put(source, url)


def _put_and_rename(system: Any, source: Path, path: str) -> None:
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name[:40]}.{secrets.token_hex(4)}.part"
    system.makedirs(folder, exist_ok=True)
    try:
        system.put_file(str(source), temporary)
        system.mv(temporary, path)
    except BaseException:
        if system.exists(temporary):
            system.rm_file(temporary)
        raise


def _open(url: str, error: type[InputError]) -> tuple[Any, str]:
    """Return the file system behind a URL, and the path of the URL in it.

    Raises:
        UsageError: fsspec, or the package it needs for this scheme, is not installed; or nothing reads it.
        InputError: Of the class `error`: the server cannot be reached.
    """
    if "::" in url:
        raise UsageError(f"{urls.shown(url)}: chained URLs are not read", hint="Name the file itself.")
    scheme = urls.scheme(url)
    try:
        from fsspec.core import url_to_fs
    except ImportError as missing:
        raise UsageError(f"{urls.shown(url)}: URLs need the package fsspec", hint=INSTALL) from missing
    try:
        system, path = url_to_fs(url, **_options(url))
    except ImportError as missing:
        package = PACKAGES.get(scheme, getattr(missing, "name", None) or scheme)
        raise UsageError(
            f"{urls.shown(url)}: {scheme}:// needs the package {package}", hint=f"pip install {package}"
        ) from missing
    except ValueError as unknown:
        raise UsageError(f"{urls.shown(url)}: {_said(unknown)}") from unknown
    except Exception as unreachable:  # each backend raises what its own libraries do
        raise _failure(url, error, unreachable, "read") from unreachable
    return system, str(path)


def _options(url: str) -> dict[str, Any]:
    if not urls.is_http(url):
        return {}
    from aiohttp import ClientTimeout

    # by default a file that takes more than five minutes fails
    timeout = ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}, "use_listings_cache": False}


@contextmanager
def _reading(url: str, error: type[InputError], done: str = "read") -> Iterator[None]:
    """Turn what the backends raise, each its own kinds, into an error that names `url`."""
    try:
        yield
    except InputError:
        raise
    except Exception as failed:
        raise _failure(url, error, failed, done) from failed


def _failure(url: str, error: type[InputError], failed: Exception, done: str) -> InputError:
    if isinstance(failed, FileNotFoundError):
        return error(f"{urls.shown(url)}: no such file or folder", hint="Check the spelling.")
    if isinstance(failed, PermissionError):
        hint = "Credentials come from the environment, as the store's own tools take them."
        return error(f"{urls.shown(url)}: cannot be {done}: permission denied", hint=hint)
    return error(f"{urls.shown(url)}: cannot be {done}: {_said(failed)}")


def _said(error: Exception) -> str:
    said = urls.shown(" ".join(str(error).split()))[:300]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _entry(url: str, name: str, status: Mapping[str, Any]) -> Entry:
    known = {key: status[key] for key in _VERSION_KEYS if status.get(key) is not None}
    version = "|".join(f"{key}={value}" for key, value in known.items())
    return Entry(url, name, status.get("size"), version, told=bool(known.keys() - {"size"}))


def _below(path: str, base: str) -> str:
    return path.removeprefix(base.rstrip("/")).lstrip("/")


def _check_inside(name: str, url: str, error: type[InputError]) -> None:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or "\\" in name or "\0" in name:
        raise error(f"{urls.shown(url)}: holds a file whose name leaves its folder: {name!r}")

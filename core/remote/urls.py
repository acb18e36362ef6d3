"""URLs as text: which names are some, what they are called, and what of them may be shown."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import quote

from onnx_pare.errors import UsageError

# two characters at least: `C://` is a Windows drive
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_LOCAL = {"file", "local"}
_HTTP = {"http", "https"}
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://)[^/\s@]*@")
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://[^\s?#'\"]*)[?#][^\s'\"]+")
_GLOB = re.compile(r"[*?\[]")


def scheme(name: str) -> str:
    """Return the scheme of a URL in lower case, `` for a local path."""
    match = _SCHEME.match(name)
    return match[1].lower() if match else ""


def is_url(name: str) -> bool:
    """Return whether a name is a URL of files that must be fetched; `file://` is none."""
    return scheme(name) not in {"", *_LOCAL}


def local(name: str) -> str:
    """Return the path that a `file://` URL names; any other name as it is.

    Raises:
        UsageError: The URL names a host or a relative path.
    """
    if scheme(name) not in _LOCAL:
        return name
    path = name[len(scheme(name)) + len("://") :]
    if not path.startswith("/"):
        raise UsageError(f"{shown(name)}: not a local path", hint="Write file:///folder/model.onnx.")
    return path


def shown(text: str) -> str:
    """Return text without what may be secret in the URLs it holds: user, password, and query.

    Keys and signatures of object stores travel in queries.
    """
    return _QUERY.sub(r"\1?***", _USER.sub(r"\1***@", text))


def is_http(url: str) -> bool:
    """Return whether a URL is one of a web server, which neither lists folders nor takes files."""
    return scheme(url) in _HTTP


def is_web_file(url: str) -> bool:
    """Return whether a web address names one file, as far as can be told: no folder, no pattern."""
    _, _, path = _path(url).partition("/")
    return bool(path) and not path.endswith("/") and "*" not in path


def has_glob(url: str) -> bool:
    """Return whether a URL is a pattern for files; the `?` of a web address begins its query."""
    return not is_http(url) and bool(_GLOB.search(_after_scheme(url)))


def file_name(url: str) -> str:
    """Return the last part of a URL's path."""
    return PurePosixPath(_path(url)).name


def location(url: str) -> str:
    """Return a URL without the query of a web address."""
    return url[: len(url) - len(_after_scheme(url)) + len(_path(url))]


def sibling(url: str, name: str) -> str:
    """Return the URL of the file `name` in the folder of the file `url`; its query stays: it may be a key."""
    path, start = _path(url), url[: len(url) - len(_after_scheme(url))]
    encoded = quote(name) if is_http(url) else name
    return f"{start}{path.rpartition('/')[0]}/{encoded}{_after_scheme(url)[len(path) :]}"


def fixed_folder(url: str) -> str:
    """Return the folder of a pattern that its first `*`, `?` or `[` lies below."""
    start = len(url) - len(_after_scheme(url))
    match = _GLOB.search(url, start)
    return url[: url.rindex("/", 0, match.start()) + 1] if match else url


def _after_scheme(url: str) -> str:
    return url[len(scheme(url)) + len("://") :]


def _path(url: str) -> str:
    """Return host and path of a URL, without the query of a web address."""
    rest = _after_scheme(url)
    return re.split(r"[?#]", rest, maxsplit=1)[0] if is_http(url) else rest

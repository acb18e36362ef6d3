"""Where commands that read models write their JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx_pare.errors import UsageError
from onnx_pare.remote import urls


def check_json_target(json: str, models: Sequence[str], flag: str = "--json") -> None:
    """Find out before the work whether a flag's JSON can be written; empty and `-` (stdout) can.

    Raises:
        UsageError: It is one of the models.
        OutputError: It cannot be written.
    """
    from onnx_pare.graph.save import check_writable, same_file

    if json in ("", "-"):
        return
    if urls.is_url(json):
        from onnx_pare.remote.store import check_target

        check_target(json, overwrite=True)
        itself = json in models
    else:
        path = Path(urls.local(json))
        check_writable(path, overwrite=True)
        itself = any(same_file(path, Path(urls.local(model))) for model in models if not urls.is_url(model))
    if itself:
        raise UsageError(f"{flag} {urls.shown(json)}: is the model itself", hint="Choose another name.")

"""Connecting to a Dask cluster, or starting one on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import ClusterError, UsageError
from onnx_pare.zoo import seat

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local:"
INSTALL = "Install it: pip install 'onnx-pare[cluster]'"
PATIENCE_S = 30
MAX_LOCAL = 1024


@contextmanager
def open_client(address: str, scratch: Path) -> Iterator[Client]:
    """Connect to the scheduler at `address`; for `local:N` to one of N processes here, ended afterwards.

    Args:
        address: `tcp://scheduler:8786`, `tls://…`, or `local:4`.
        scratch: Where the processes of a local cluster keep their files.

    Raises:
        UsageError: It is no address, or Dask is not installed.
        ClusterError: No scheduler answers.
    """
    if find_spec("distributed") is None:
        raise UsageError(f"--cluster {address}: needs the package distributed", hint=INSTALL)
    with ExitStack() as stack:
        if address.startswith(LOCAL):
            where = stack.enter_context(_local(_count(address), scratch))
        elif "://" in address:
            where = address
        else:
            raise UsageError(f"--cluster {address}: no address", hint="Give tcp://HOST:8786, or local:4.")
        yield stack.enter_context(_connect(where, address))


def _connect(where: Any, address: str) -> Client:
    from distributed import Client

    _hush()
    try:
        return Client(where, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:  # ValueError: a scheme nobody knows
        hint = "Start one: `dask scheduler`, and `dask worker tcp://HOST:8786` on each machine."
        raise ClusterError(f"--cluster {address}: no scheduler answers: {error}", hint=hint) from error


def _hush() -> None:
    """Keep Dask's own log to itself: what it comes to is in the outcome of each model, or an error."""
    for name in logging.root.manager.loggerDict:
        if name.partition(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _count(address: str) -> int:
    text = address.removeprefix(LOCAL)
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_LOCAL):
        raise UsageError(
            f"--cluster {address}: no number of processes", hint="For example: --cluster local:4"
        )
    return int(text)


def _local(count: int, scratch: Path) -> Any:
    """Return a cluster of processes on this machine; what models may take is limited by our supervisors."""
    import dask
    from distributed import LocalCluster

    with dask.config.set({"temporary-directory": str(scratch)}):  # the scheduler's too
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            preload=[seat.__name__],
            silence_logs=logging.CRITICAL,
        )

"""What a batch may take, as written on the command line and where nothing is: sizes such as 4GB, seconds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_pare.zoo.task import Limits

# a model that takes longer is most likely to hang
TIMEOUT_S = 3600.0
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40
}  # fmt: skip
_SIZE = re.compile(
    r"\s*(?P<number>[0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(?P<unit>(?:[kmgt]i?)?)b?\s*", re.IGNORECASE
)


def limits(timeout_s: float | None, memory: str | None, jobs: int) -> Limits:
    """Return the limits of each model; 0 is none.

    Raises:
        UsageError: The size is none.
    """
    from onnx_pare.zoo.place import memory_share
    from onnx_pare.zoo.task import Limits

    seconds = TIMEOUT_S if timeout_s is None else timeout_s
    memory_bytes = memory_share(jobs) if memory is None else size_bytes(memory, "--memory-limit")
    return Limits(seconds or None, memory_bytes or None)


def size_bytes(text: str, flag: str) -> int:
    """Read a size: `4GB`, `4G` (10^9), `512MiB`, `4294967296`.

    Raises:
        UsageError: It is none.
    """
    from onnx_pare.errors import UsageError

    given = _SIZE.fullmatch(text)
    if given is None:
        raise UsageError(f"{flag} {text}: is not a size", hint="For example: 4GB, 512MiB.")
    return int(float(given["number"]) * _UNITS[given["unit"].lower()])

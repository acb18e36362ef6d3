"""How long calibration takes, and what it holds in memory."""

from __future__ import annotations


def estimate(samples: int, batch: int, seconds: float, batch_bytes: int) -> str:
    """Return what lies ahead, for example `512 samples: about 40 s, 0.3 GB beside the model`.

    Args:
        samples: How many there are.
        batch: How many the first batch held.
        seconds: What it took.
        batch_bytes: Size of its tensors in view, which onnxruntime and numpy each hold once.
    """
    return (
        f"{samples} samples: about {_duration(seconds * samples / batch)}, {_size(2 * batch_bytes)}"
        " beside the model"
    )


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"

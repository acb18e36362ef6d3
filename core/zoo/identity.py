"""What a result depends on, as one hash: a model is done again only when this has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare import __version__

if TYPE_CHECKING:
    from onnx_pare.pipeline.plan import Job
    from onnx_pare.pipeline.recipe import Recipe


def key(job: Job, digests: Mapping[str, str]) -> str:
    """Return the hash of everything that decides what comes out of a job.

    The contents of the model and its external data, the recipe with all defaults, the contents of its data
    and profiles, shapes, the seed, the baseline, and the version of onnx-pare. Paths and the command line are
    not in it.

    Args:
        job: The run.
        digests: Content hashes of what `named_files` yields for its recipe, by path.

    Raises:
        OSError: The model cannot be read.
    """
    return _hash({"model": list(_content(job.model)), **_settings(job, digests)})


def origin(job: Job, digests: Mapping[str, str], version: str) -> str:
    """Return the like of `key` for a model that was not fetched: by the version that its store tells."""
    return _hash({"version": version, **_settings(job, digests)})


def _hash(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _settings(job: Job, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return what decides beside the model."""
    from onnx_pare.graph.load import sha256

    return {
        "tool": __version__,
        "recipe": _by_content(job.recipe, digests),
        "shapes": {name: list(dims) for name, dims in sorted(job.shapes.items())},
        "seed": job.seed,
        "baseline": sha256(job.baseline) if job.baseline is not None and job.baseline.is_file() else None,
    }


def _content(path: Path) -> Iterator[str]:
    """Yield hashes of a model file and of its external data; of what is refused, why it is."""
    import onnx
    from google.protobuf.message import DecodeError

    from onnx_pare.errors import ModelError
    from onnx_pare.graph import lean, protos, weights
    from onnx_pare.graph.load import sha256

    yield sha256(path)
    if path.stat().st_size == 0 or not lean.refers_to_files(path):
        return
    try:
        proto = lean.parse_lean(path)
    except (DecodeError, ModelError):
        return
    read: set[str] = set()
    for tensor in protos.tensors(proto):
        location = weights.external_file(tensor)
        external = tensor.data_location == onnx.TensorProto.EXTERNAL and location != path.name
        if not external or location in read:
            continue
        try:
            weights.check_tensor(tensor, path)
        except ModelError as error:
            yield error.message.replace(str(path), path.name)
        else:
            read.add(location)
            yield sha256(path.parent / location)


def named_files(recipe: Recipe) -> Iterator[Path]:
    """Yield the data and the profiles that a recipe names by path."""
    for path in (recipe.calibration_path, recipe.evaluation_path):
        if path is not None:
            yield path
    for profile in recipe.benchmark.profiles:
        if profile.endswith((".yaml", ".yml")):
            yield recipe.folder / profile


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names, links followed.

    Raises:
        OSError: Something cannot be read.
    """
    from onnx_pare.graph.load import sha256

    if not path.is_dir():
        return sha256(path)
    whole = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        whole.update(
            f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode(errors="surrogateescape")
        )
    return whole.hexdigest()


def _by_content(recipe: Recipe, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the recipe with contents in place of paths, so that data may move."""
    resolved = recipe.resolved()
    if recipe.calibration_path is not None:
        resolved["calibration"]["data"] = digests[str(recipe.calibration_path)]
    if recipe.evaluation_path is not None:
        resolved["evaluation"]["data"] = digests[str(recipe.evaluation_path)]
    resolved["benchmark"]["profiles"] = [
        digests.get(str(recipe.folder / profile), profile) for profile in recipe.benchmark.profiles
    ]
    return resolved

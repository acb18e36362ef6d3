"""The YAML files of devices and of kinds of runtimes: found by name, read, checked."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from onnx_pare.documents.document import PROFILE, Document
from onnx_pare.documents.explain import explain
from onnx_pare.documents.section import Model, known_keys, validate
from onnx_pare.documents.suggest import suggest
from onnx_pare.documents.yaml12 import read, read_file
from onnx_pare.errors import ProfileError
from onnx_pare.hw_profiles.schema import Costs, Device

SUFFIX = ".yaml"
# the packages that hold them
DEVICES, COSTS = "onnx_pare.hw_profiles", "onnx_pare.hw_profiles.costs"


def device_names() -> list[str]:
    """Return the names of the devices that ship, sorted."""
    return _names(DEVICES)


def costs_names() -> list[str]:
    """Return the names of the kinds of runtimes that ship, sorted."""
    return _names(COSTS)


@cache
def shipped_device(name: str) -> Device:
    """Return the device of that name, one of `device_names()`."""
    return _build(Device, _read(DEVICES, name))


def device_file(path: Path) -> Device | None:
    """Return the device in a file, None if there is no such file.

    Raises:
        ProfileError: It is no profile; each problem has a line of its own.
    """
    document = read_file(str(path), PROFILE)
    return None if document is None else _build(Device, document)


@cache
def costs(name: str) -> Costs:
    """Return the costs of a kind of runtime.

    Raises:
        ProfileError: There is none of that name.
    """
    if name not in costs_names():
        raise ProfileError(f"unknown costs '{name}'{suggest(name, costs_names())}")
    return _build(Costs, _read(COSTS, name))


def _names(package: str) -> list[str]:
    found = (file.name for file in files(package).iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))


def _read(package: str, name: str) -> Document:
    content = files(package).joinpath(f"{name}{SUFFIX}").read_bytes()
    return read(content, f"{name}{SUFFIX}", PROFILE)


def _build(model: type[Model], document: Document) -> Model:
    try:
        return validate(model, document.data)
    except ValidationError as error:
        lines = explain(error, document, lambda path: known_keys(model, path))
    raise ProfileError("\n".join(lines))

"""Hardware profiles by name: what a model can be benchmarked against.

`local` is this machine, measured in onnxruntime; all others are predicted. A name is that of a device that
ships or the path of a YAML file, and may name a runtime: `raspberry-pi-4@ncnn`, `./my-board.yaml@tflite`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onnx_pare.errors import ProfileError, UsageError

if TYPE_CHECKING:
    from onnx_pare.hw_profiles.schema import Costs, Device, Fit, Runtime

Kind = Literal["measured", "predicted"]
# between a device and its runtime
AT = "@"


@dataclass(frozen=True)
class Profile:
    """Hardware with a runtime on it.

    Attributes:
        name: As it was asked for, on the command line or in a recipe.
        kind: Whether its latencies are measured or predicted.
        title: What it is, in a few words.
        runtime: The runtime it stands for.
        device: What is known about it; None where it is measured.
    """

    name: str
    kind: Kind
    title: str
    runtime: str
    device: Device | None = None

    @property
    def known(self) -> Device:
        """The device.

        Raises:
            ProfileError: It is measured, not predicted.
        """
        if self.device is None:
            raise ProfileError(f"{self.name}: is measured, there is nothing to predict it from")
        return self.device

    @property
    def on(self) -> Runtime:
        """What is known about the runtime on this device."""
        return self.known.runtimes[self.runtime]

    @property
    def costs(self) -> Costs:
        """What classes of operators cost in this runtime.

        Raises:
            ProfileError: They are not known.
        """
        from onnx_pare.hw_profiles import files

        try:
            return files.costs(self.on.costs)
        except ProfileError as error:
            raise ProfileError(f"{self.name}: {error.message}", hint=error.hint) from error


LOCAL = Profile("local", "measured", "this machine", "onnxruntime")


def names() -> list[str]:
    """Return the names of all profiles, `local` first."""
    from onnx_pare.hw_profiles.files import device_names

    return [LOCAL.name, *device_names()]


def resolve(asked: Sequence[str], folder: Path = Path()) -> list[Profile]:
    """Return the profiles of these names, in order, each once.

    Args:
        asked: The names.
        folder: Where relative paths start; files that are not there are looked for in the current folder.

    Raises:
        UsageError: A device or runtime is unknown.
        ProfileError: A file is no profile.
    """
    found = [find(name, folder) for name in dict.fromkeys(asked)]
    for profile in found:
        if profile.device is not None:
            _ = profile.costs
    return found


def find(name: str, folder: Path = Path()) -> Profile:
    """Return the profile of one name: `local`, a device, the path of a YAML file; `@RUNTIME` may follow.

    Raises:
        UsageError: The device or runtime is unknown.
        ProfileError: The file is no profile.
    """
    device_name, at, runtime = name.rpartition(AT) if AT in name else (name, "", "")
    if device_name == LOCAL.name:
        if at:
            raise UsageError(
                f"'{name}': {LOCAL.name} is measured, in {LOCAL.runtime}; leave out '{at}{runtime}'"
            )
        return LOCAL
    return of_device(name, _device(device_name, folder), runtime if at else None)


def of_device(name: str, device: Device, runtime: str | None = None) -> Profile:
    """Return a device with one of its runtimes, the first by default.

    Raises:
        UsageError: It has no such runtime.
    """
    from onnx_pare.documents.suggest import suggest

    if runtime is None:
        runtime = next(iter(device.runtimes))
    if runtime not in device.runtimes:
        near = suggest(runtime, device.runtimes)
        raise UsageError(
            f"'{name}': unknown runtime '{runtime}'{near}",
            hint=f"It has: {', '.join(device.runtimes)}.",
        )
    return Profile(name, "predicted", device.title, runtime, device)


def calibrated() -> Profile:
    """Return this machine as `pare profiles calibrate` found it: `local`, but predicted.

    Raises:
        UsageError: It was not calibrated.
    """
    from onnx_pare.hw_profiles.files import device_file
    from onnx_pare.hw_profiles.local import local_profile_path

    path = local_profile_path()
    device = device_file(path)
    if device is None:
        raise UsageError(f"this machine was not calibrated: no {path}", hint="Run: pare profiles calibrate")
    return of_device(LOCAL.name, device)


def _device(name: str, folder: Path) -> Device:
    from onnx_pare.documents.suggest import suggest
    from onnx_pare.hw_profiles.files import SUFFIX, device_file, device_names, shipped_device

    if name in device_names():
        return shipped_device(name)
    if name.endswith((SUFFIX, ".yml")) or Path(name).name != name:
        device = device_file(folder / name) or device_file(Path(name))
        if device is None:
            raise UsageError(f"{name}: no such file", hint="Give a profile's name, or the path of its YAML.")
        return device
    near = suggest(name, names())
    raise UsageError(
        f"unknown profile '{name}'{near if near.startswith(',') else ''}",
        hint="`pare profiles list` names all; the path of a YAML file is fine too (docs/profiles.md).",
    )


def describe(profile: Profile) -> dict[str, Any]:
    """Return all that is known about a profile, as JSON values; for `local`, what this machine is."""
    facts: dict[str, Any] = {
        "name": profile.name,
        "kind": profile.kind,
        "title": profile.title,
        "runtime": profile.runtime,
    }
    if profile.device is None:
        return facts | _machine()
    known = profile.device.model_dump(mode="json", exclude_none=True)
    return facts | {
        "device_kind": known["kind"],
        "facts": {key: value for key, value in known["facts"].items() if value not in ([], {})},
        "sources": known["sources"],
        "runtimes": known["runtimes"],
        "validated": any(fit.validation for on in profile.device.runtimes.values() for fit in on.fits),
    }


def best_fit(fits: Sequence[Fit]) -> Fit | None:
    """Return the fit that stands for a runtime in a list: validated, float32, fewest threads first."""
    checked = [fit for fit in fits if fit.validation]
    return min(checked, key=lambda fit: (fit.dtype != "float32", fit.threads), default=None)


def _machine() -> dict[str, Any]:
    import onnxruntime as ort

    from onnx_pare.hw_profiles.cpu import features

    cpu = features()
    return {
        "runtime_version": ort.__version__,
        "providers": ort.get_available_providers(),
        "cpu": cpu.name,
        "family": cpu.family,
        "cores": cpu.cores,
        "features": None if cpu.flags is None else list(cpu.flags),
    }

"""`pare doctor`: what is installed, what this CPU is good at, and what would be missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from onnx_pare.cli.console import JsonOption

if TYPE_CHECKING:
    from onnx_pare.hw_profiles.cpu import CpuFeatures

DISTRIBUTION = "onnx-pare"
# packages that are imported by another name than they are installed by
MODULES: Mapping[str, str] = {"pillow": "PIL", "pyyaml": "yaml"}
EXTRAS: Mapping[str, str] = {
    "cluster": "distributed and fsspec, for `--cluster` and for models and data at URLs",
    "dev": "the tools behind `make lint typecheck test`; no command needs them",
    "fit": "scipy, to fit profiles to published latencies; no command needs it",
    "plot": "matplotlib, for `pare bench --plot` and `--roofline`",
    "train": "scikit-learn and torch, to retrain the demo network from its source; no command needs them",
}
PRESENCE: Mapping[bool | None, str] = {True: "yes", False: "no", None: "unknown"}


def doctor(
    json: JsonOption = "",
) -> None:
    """Show versions, onnxruntime's providers, what this CPU is good at, and what is missing."""
    from onnx_pare.cli import console

    facts = examine()
    if json:
        console.write_json(facts, json)
    if json != "-":
        for line in render(facts):
            console.out().print(line, markup=False)
    if facts["problems"]:
        raise typer.Exit(2)


def examine() -> dict[str, Any]:
    """Return all that `pare doctor` shows, as JSON values; `problems` says what to install."""
    import platform

    from onnx_pare import __version__
    from onnx_pare.hw_profiles.cpu import features

    packages = [_package(name, limits) for name, limits in _required().items()]
    return {
        "schema": "onnx-pare/doctor/1",
        "tool": {"name": DISTRIBUTION, "version": __version__},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "providers": _providers(packages),
        "cpu": _cpu(features()),
        "extras": [{"name": name, "adds": adds} for name, adds in EXTRAS.items()],
        "problems": [f"{p['name']}: {p['problem']}" for p in packages if p["problem"]],
    }


def render(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `examine` found, line by line."""
    cpu = facts["cpu"]
    yield f"{facts['tool']['name']} {facts['tool']['version']}, Python {facts['python']}, {facts['platform']}"
    yield ""
    for package in facts["packages"]:
        needs = f"  PROBLEM: {package['problem']}" if package["problem"] else ""
        yield f"  {package['name']:<12} {package['version'] or '-':<10}{needs}".rstrip()
    yield f"  onnxruntime providers: {', '.join(facts['providers']) or 'none'}; onnx-pare uses the CPU"
    yield ""
    yield f"CPU: {cpu['name']}, {cpu['cores']} cores"
    for feature in cpu["features"]:
        yield f"  {feature['name']:<12} {PRESENCE[feature['present']]:<8} {feature['meaning']}"
    yield ""
    for extra in facts["extras"]:
        yield f"{DISTRIBUTION}[{extra['name']}] would add {extra['adds']}"
    yield ""
    yield from facts["problems"] or ["Nothing is missing."]
    if facts["problems"]:
        yield f"Repair with: python -m pip install --upgrade --force-reinstall {DISTRIBUTION}"


def _required() -> dict[str, str]:
    """Return the packages that onnx-pare's own metadata requires, and the versions it takes (`>=1.1,<2`)."""
    import re
    from importlib.metadata import requires

    lines = [line for line in requires(DISTRIBUTION) or [] if "extra ==" not in line]
    pairs = (re.match(r"([\w.-]+)\s*([^;\s]*)", line) for line in lines)
    return dict(sorted((match[1], match[2]) for match in pairs if match))


def _package(name: str, limits: str) -> dict[str, Any]:
    """Return a required package's version and what is wrong with it, if anything."""
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version

    entry: dict[str, Any] = {"name": name, "version": None, "problem": None}
    try:
        entry["version"] = version(name)
        import_module(MODULES.get(name, name.replace("-", "_")))
    except PackageNotFoundError:
        entry["problem"] = "not installed"
    except Exception as error:  # a broken binary package may raise anything
        entry["problem"] = f"installed, but cannot be imported: {type(error).__name__}: {error}"
    else:
        if not accepts(limits, entry["version"]):
            entry["problem"] = f"onnx-pare needs {limits}"
    return entry


def accepts(limits: str, version: str) -> bool:
    """Return whether a version is within limits such as `>=1.1,<2`; other operators are not looked at."""
    found = _numbers(version)
    for limit in limits.split(","):
        if limit.startswith(">=") and found < _numbers(limit[2:]):
            return False
        if limit.startswith("<") and not limit.startswith("<=") and found >= _numbers(limit[1:]):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    import re

    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))


def _providers(packages: list[dict[str, Any]]) -> list[str]:
    if any(package["name"] == "onnxruntime" and package["problem"] for package in packages):
        return []
    import onnxruntime as ort

    return list(ort.get_available_providers())


def _cpu(cpu: CpuFeatures) -> dict[str, Any]:
    from onnx_pare.hw_profiles.cpu import of_family

    return {
        "name": cpu.name,
        "family": cpu.family,
        "cores": cpu.cores,
        "features": [
            {"name": feature.name, "present": cpu.has(feature.name), "meaning": feature.meaning}
            for feature in of_family(cpu.family)
        ],
    }

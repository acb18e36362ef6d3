"""Hardware profiles by name: what a model can be benchmarked against.

This version knows one, `local`: this machine, measured in onnxruntime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from onnx_pare.errors import UsageError

Kind = Literal["measured", "predicted"]


@dataclass(frozen=True)
class Profile:
    """Hardware with a runtime on it.

    Attributes:
        name: Its name on the command line and in recipes.
        kind: Whether its latencies are measured or predicted.
        title: What it is, in a few words.
        runtime: The runtime it stands for.
    """

    name: str
    kind: Kind
    title: str
    runtime: str


LOCAL = Profile("local", "measured", "this machine", "onnxruntime")
PROFILES: Mapping[str, Profile] = {LOCAL.name: LOCAL}


def resolve(names: Sequence[str]) -> list[Profile]:
    """Return the profiles of these names, in order, each once.

    Raises:
        UsageError: A name is unknown.
    """
    for name in names:
        if name not in PROFILES:
            raise UsageError(
                f"unknown profile '{name}'; known: {', '.join(PROFILES)}",
                hint="This version measures on the machine it runs on; it predicts no other device yet.",
            )
    return [PROFILES[name] for name in dict.fromkeys(names)]


def describe(profile: Profile) -> dict[str, Any]:
    """Return all that is known about a profile, as JSON values; for `local`, what this machine is."""
    facts: dict[str, Any] = {
        "name": profile.name,
        "kind": profile.kind,
        "title": profile.title,
        "runtime": profile.runtime,
    }
    return facts | (_machine() if profile is LOCAL else {})


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

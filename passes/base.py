"""What a pass is: options from the recipe, one `apply`, and a promise the pipeline checks."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from onnx_pare.progress import Progress, Silent

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples
    from onnx_pare.calibration.observers import Observer


class PassOptions(BaseModel):
    """Base of every pass's options: the fields are the YAML keys, with their ranges and defaults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True)
class Outcome:
    """What a pass did.

    Attributes:
        model: The model it made; the one it was given, edited in place, or a new one.
        changed: How many things it changed (nodes, tensors, weights: the pass says which in its notes).
            0 means that the model is byte-identical to the one given.
        notes: Facts for the report, JSON values only, units in the names.
        warnings: What the user should know, one sentence each.
    """

    model: ir.Model
    changed: int
    notes: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """What passes share in one run; nothing is global.

    Attributes:
        samples: Calibration samples, read lazily and never all in memory.
        scratch: A private folder, removed after the run.
        seed: Seed of every random choice.
        threads: Threads a pass may use for onnxruntime sessions.
        progress: Where to tell that work advances.
    """

    samples: Samples
    scratch: Path
    seed: int = 0
    threads: int = 1
    progress: Progress = field(default_factory=Silent)

    def rng(self) -> np.random.Generator:
        """Return a fresh random generator that starts from the run's seed."""
        import numpy as np

        return np.random.default_rng(self.seed)

    def observe(self, model: ir.Model, observers: Mapping[str, Observer], label: str = "calibrating") -> None:
        """Show every activation of the named tensors over the samples to its observer.

        See `calibration.collect.observe`, also for what is raised.
        """
        self.observe_over(model, observers, self.samples, label)

    def observe_over(
        self,
        model: ir.Model,
        observers: Mapping[str, Observer],
        samples: Samples,
        label: str = "calibrating",
    ) -> None:
        """Do so over other samples."""
        from onnx_pare.calibration.collect import observe

        observe(
            model,
            observers,
            samples,
            scratch=self.scratch,
            threads=self.threads,
            progress=self.progress,
            label=label,
        )


class Pass(ABC):
    """One graph rewrite.

    A subclass lives in `passes/<name>.py`, is decorated with `@register`, and states in its docstring what it
    does (first line) and what it preserves. The pipeline hands `apply` its own copy of the model, and checks
    what comes back: checker-clean, loads in onnxruntime, same names, types and shapes of inputs and outputs.
    """

    name: ClassVar[str]
    Options: ClassVar[type[PassOptions]] = PassOptions
    #: outputs must stay the same up to float rounding
    lossless: ClassVar[bool] = False
    #: reads calibration samples, at least with some options
    calibrates: ClassVar[bool] = False
    #: a second run changes nothing
    idempotent: ClassVar[bool] = True

    def __init__(self, options: PassOptions | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()

    def reads_samples(self) -> bool:
        """Tell whether `apply` reads calibration samples with these options."""
        return self.calibrates

    @abstractmethod
    def apply(self, model: ir.Model, context: Context) -> Outcome:
        """Rewrite the model.

        Raises:
            InputError: The model or the data cannot be used with these options.
            PassError: The rewrite failed.
        """


P = TypeVar("P", bound=type[Pass])
_registered: dict[str, type[Pass]] = {}


def register(cls: P) -> P:
    """Register a pass under the name of its file."""
    cls.name = cls.__module__.rpartition(".")[2]
    _registered[cls.name] = cls
    return cls


@cache
def registry() -> Mapping[str, type[Pass]]:
    """Return all passes by name, importing every file of the folder."""
    package = importlib.import_module("onnx_pare.passes")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "base":
            importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_registered.items()))


def summary(cls: type[Pass]) -> str:
    """Return the first line of a pass's docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0]

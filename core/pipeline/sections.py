"""The parts of a recipe: what each may hold, its ranges and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

from onnx_pare.calibration.preprocess import PRESETS, Preprocessing
from onnx_pare.documents.document import show
from onnx_pare.documents.section import Section, Text, validate
from onnx_pare.documents.suggest import suggest
from onnx_pare.passes import base
from onnx_pare.pipeline.conditions import read_gate

VERSION = 1


class Calibration(Section):
    """Data that calibrating passes look at."""

    data: Text | None = Field(
        default=None,
        description="A folder of images, an .npz, a folder of .npy, or a folder of ONNX test_data_set_*;"
        " relative to the recipe. Without it, seeded synthetic input is used, and the report says so.",
    )
    samples: int = Field(default=128, ge=1, le=1 << 20, description="How many samples are read, at most.")


class Evaluation(Section):
    """Labelled data that accuracy is measured on, before and after."""

    data: Text = Field(
        description="An .npz with the input's name (or x) and y, or a folder of images per class;"
        " relative to the recipe."
    )
    metric: Literal["top1"] = Field(default="top1", description="What is measured.")


class Benchmark(Section):
    """How latency is measured or predicted."""

    profiles: tuple[Text, ...] = Field(
        default=("local",),
        description="Hardware profiles; 'local' is measured on this machine. An empty list: none.",
    )
    runs: int = Field(default=50, ge=1, le=1_000_000, description="Timed runs of each model, at most.")
    threads: int = Field(default=1, ge=1, le=1024, description="Threads inside one operator.")
    batch: int = Field(
        default=1, ge=1, le=1 << 20, description="Samples per run, where the model leaves that open."
    )


class Step(Section):
    """One pass and its options.

    Attributes:
        name: The pass, a key of the registry.
        options: Its options, defaults filled in; an instance of the pass's own class.
    """

    name: str
    options: base.PassOptions

    def build(self) -> base.Pass:
        """Return the pass, ready to apply."""
        return base.registry()[self.name](self.options)


def pass_name(entry: Any) -> str | None:
    """Return the name in an entry of `passes`: a name, or a mapping with one key; None if it is neither."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, dict) and len(entry) == 1:
        return str(next(iter(entry)))
    return None


def _read_step(entry: Any) -> Step:
    if isinstance(entry, Step):
        return entry
    name = pass_name(entry)
    if name is None:
        said = f"a mapping with {len(entry)} keys" if isinstance(entry, dict) else show(entry)
        raise ValueError(f"should be the name of a pass, or one name with its options, not {said}")
    passes = base.registry()
    if name not in passes:
        raise ValueError(f"unknown pass {show(name)}{suggest(name, passes)}")
    options = entry[name] if isinstance(entry, dict) else None
    if options is not None and not isinstance(options, dict):
        raise ValueError(f"the options of {name} should be a mapping, not {show(options)}")
    return Step(name=name, options=validate(passes[name].Options, options or {}))


def _write_step(step: Step) -> dict[str, Any]:
    return {step.name: step.options.model_dump(mode="json")}


def _read_preprocess(value: Any) -> str | Preprocessing | None:
    if value is None or isinstance(value, Preprocessing):
        return value
    if isinstance(value, dict):
        return validate(Preprocessing, value)
    if not isinstance(value, str) or value not in PRESETS:
        known = suggest(value if isinstance(value, str) else "", PRESETS)
        raise ValueError(f"should be a preset or a mapping, not {show(value)}{known}")
    return value


def _write_preprocess(value: str | Preprocessing | None) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Preprocessing) else value


def _known(version: int) -> int:
    if version != VERSION:
        raise ValueError(f"this onnx-pare reads version {VERSION}, not {version}")
    return version


def _readable(gate: str) -> str:
    read_gate(gate)
    return gate


Version = Annotated[int, AfterValidator(_known), WithJsonSchema({"const": VERSION})]
Gates = tuple[Annotated[str, AfterValidator(_readable)], ...]
# schema.py writes the schema of these two, which depends on the passes and presets there are
Passes = tuple[
    Annotated[Step, PlainValidator(_read_step), PlainSerializer(_write_step), WithJsonSchema({})], ...
]
Preprocess = Annotated[
    str | Preprocessing | None,
    PlainValidator(_read_preprocess),
    PlainSerializer(_write_preprocess),
    WithJsonSchema({}),
]

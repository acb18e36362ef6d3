"""The report of an earlier run, read from its JSON: the part that can be compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onnx_pare.documents.document import Document, Place, show
from onnx_pare.documents.explain import explain
from onnx_pare.documents.json_input import read_json
from onnx_pare.documents.section import validate
from onnx_pare.errors import ReportError
from onnx_pare.pipeline.machine import Machine
from onnx_pare.pipeline.report import SCHEMA

NOUN = "report of onnx-pare"
# larger ones are not from here, and their ratios are no floats
Count = Annotated[int, Field(ge=0, le=1 << 62)]
Milliseconds = Annotated[float, Field(ge=0)]


class Part(BaseModel):
    """Base of all parts: other types are errors, keys that are not looked at may be any."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Tool(Part):
    """Who wrote it."""

    version: str


class Model(Part):
    """The model it is about."""

    sha256: str


class Costs(Part):
    """What a model costs."""

    size_bytes: Count
    params: Count
    macs: Count
    peak_activation_bytes: Count


class Fidelity(Part):
    """The outputs against the original's."""

    top1_agreement: float | None
    sqnr_db: float | None


class Accuracy(Part):
    """Accuracy on labelled data."""

    before: float
    after: float


class Latency(Part):
    """Latency on one profile."""

    profile: str
    kind: Literal["measured", "predicted"]
    after_ms: Milliseconds
    speedup: float


class EarlierReport(Part):
    """What gates may compare with, and what it was found on; `machine` is missing in early versions."""

    tool: Tool
    model: Model
    recipe: dict[str, Any]
    before: Costs
    after: Costs
    fidelity: Fidelity
    accuracy: Accuracy | None
    latency: tuple[Latency, ...]
    machine: Machine | None = None


class PassRun(Part):
    """A pass that ran."""

    name: str
    seconds: float
    changed: int
    sqnr_db: float | None
    top1_agreement: float | None


class GateRun(Part):
    """A gate that was held against the numbers."""

    expr: str
    passed: bool
    reason: str


class Written(Part):
    """A model that was written."""

    sha256: str


class ToldReport(EarlierReport):
    """All that is told of a run elsewhere: in the test view of a CI system."""

    passes: tuple[PassRun, ...]
    gates: tuple[GateRun, ...]
    warnings: tuple[str, ...]
    output: Written | None


Kind = TypeVar("Kind", bound=EarlierReport)


def read_report(path: Path) -> EarlierReport:
    """Read what can be compared with of the report at `path`.

    Raises:
        ReportError: There is none, or it is none, of another version, or damaged.
    """
    return _as(EarlierReport, _read(path), path)


def read_values(path: Path) -> dict[str, Any]:
    """Read the JSON values of the report at `path`; those of `ToldReport` are what they should be.

    Raises:
        ReportError: There is none, or it is none, of another version, or damaged.
    """
    data = _read(path)
    _as(ToldReport, data, path)
    return data


def _as(kind: type[Kind], data: Mapping[str, Any], path: Path) -> Kind:
    known = {key: data[key] for key in kind.model_fields if key in data}
    try:
        return validate(kind, known)
    except ValidationError as error:
        lines = explain(error, Document(known, Place(str(path))), lambda keys: ())
    raise ReportError("\n".join(lines), hint=f"This is no {NOUN}, or a damaged one.")


def _read(path: Path) -> dict[str, Any]:
    data = read_json(path, noun=NOUN, error=ReportError)
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        said = "has no schema" if schema is None else f"its schema is {show(schema)}"
        raise ReportError(
            f"{path}: not a {NOUN} that can be read: {said}, not '{SCHEMA}'",
            hint="Give the file that `optimize --report-json` wrote.",
        )
    return dict(data)

"""What the YAML files of a device and of a kind of runtime hold; docs/profiles.md says it in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from onnx_pare.cost.fusion import RULES
from onnx_pare.cost.op_classes import OP_CLASSES
from onnx_pare.documents.section import Section, Text
from onnx_pare.documents.suggest import suggest

DeviceKind = Literal["cpu", "gpu", "npu", "mcu"]
# what models compute in, as kernels call it
Dtype = Literal["float32", "float16", "bfloat16", "int8"]

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
PerClass = dict[str, Positive]

# figures that nobody should have to believe
_DERIVED = {
    "peak_gops": "peak_derivation",
    "memory_gb_per_s": "memory_derivation",
    "link_gb_per_s": "link_derivation",
}


Value = TypeVar("Value")


def _get(mapping: Mapping[Any, Value], dtype: str) -> Value | None:
    return mapping.get(dtype)


def _known_classes(names: dict[str, object]) -> None:
    for name in names:
        if name not in OP_CLASSES:
            raise ValueError(f"unknown class of operators '{name}'{suggest(name, OP_CLASSES)}")


class Cores(Section):
    """Cores of one kind."""

    count: Count
    name: Text = Field(description="What its maker calls the core: Cortex-A72, Zen 3.")
    clock_ghz: Positive
    float32_flops_per_cycle: Positive | None = Field(
        default=None, description="Vector width times pipes times two operations of a multiply-add."
    )


class Facts(Section):
    """What is known of a device without measuring; leave out what does not apply."""

    cores: tuple[Cores, ...] = Field(default=(), description="CPU cores, the fastest first.")
    peak_gops: dict[Dtype, Positive] = Field(
        default_factory=dict,
        description="Dense peak of all cores, 2 operations per multiply-accumulate, in 10⁹/s.",
    )
    peak_derivation: Text | None = None
    memory_gb_per_s: Positive | None = Field(default=None, description="Peak bandwidth of main memory.")
    memory_derivation: Text | None = None
    caches_kib: dict[str, Positive] = Field(default_factory=dict)
    onchip_kib: Positive | None = Field(
        default=None, description="Memory on the chip that holds weights or activations."
    )
    ram_mib: Positive | None = None
    sram_kib: Positive | None = Field(default=None, description="A microcontroller's, for activations.")
    flash_kib: Positive | None = Field(default=None, description="A microcontroller's, for weights.")
    link_gb_per_s: Positive | None = Field(
        default=None, description="What weights that do not fit on the chip are streamed over."
    )
    link_derivation: Text | None = None
    int8_dot_product: bool | None = Field(
        default=None, description="Whether there are instructions that sum 8-bit products in 32 bits."
    )
    note: Text | None = None

    @property
    def core_count(self) -> int | None:
        """All CPU cores; None if they are not given."""
        return sum(cores.count for cores in self.cores) or None

    def peak(self, dtype: str) -> float | None:
        """Return the peak of a data type, in 10⁹ operations per second; None if it is not known."""
        return _get(self.peak_gops, dtype)

    @model_validator(mode="after")
    def _derived(self) -> Facts:
        for key, why in _DERIVED.items():
            if getattr(self, key) and not getattr(self, why):
                raise ValueError(f"{key} needs {why}: where it comes from")
        return self


class Validation(Section):
    """Error on models that were held out of the fit."""

    error_percent: NotNegative = Field(description="Mean absolute percentage error.")
    median_percent: NotNegative | None = None
    within_20_percent: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None, description="Models predicted within ±20 %, in per cent of all."
    )
    models: Count
    held_out: Text = Field(description="What was held out at a time: model families, models, devices.")


class Fit(Section):
    """How fast a device is in one runtime, data type and number of threads: fitted to measurements."""

    dtype: Dtype
    threads: Count = 1
    gmacs_per_s: Positive = Field(description="F: 10⁹ MACs per second of the cheapest class.")
    gb_per_s: Positive = Field(description="B: 10⁹ bytes per second.")
    overhead_us: NotNegative = Field(description="o: microseconds per kernel.")
    factors: PerClass = Field(
        default_factory=dict, description="Class of operators -> what it costs more here than the costs say."
    )
    spread: NotNegative = Field(description="Standard deviation of log(measured / predicted), held out.")
    batch: tuple[Count, Count] | None = Field(default=None, description="Smallest and largest measured.")
    measured_models: Count
    validation: Validation | None = None

    @field_validator("factors")
    @classmethod
    def _classes(cls, value: PerClass) -> PerClass:
        _known_classes(dict(value))
        return value


class Runtime(Section):
    """A runtime on a device."""

    costs: Text = Field(description="The kind of runtime: a file in hw_profiles/costs/, without .yaml.")
    computes_in: dict[Dtype, Dtype] = Field(
        default_factory=dict, description="What it computes models of a data type in, where that differs."
    )
    fits: tuple[Fit, ...] = ()

    def inside(self, dtype: str) -> str:
        """Return what it computes models of a data type in."""
        return _get(self.computes_in, dtype) or dtype

    @field_validator("fits")
    @classmethod
    def _each_once(cls, fits: tuple[Fit, ...]) -> tuple[Fit, ...]:
        keys = [(fit.dtype, fit.threads) for fit in fits]
        for dtype, threads in keys:
            if keys.count((dtype, threads)) > 1:
                raise ValueError(f"two fits for {dtype} with {threads} threads")
        return fits


class Device(Section):
    """A device: its facts, and how fast runtimes are on it. The first runtime is the default."""

    title: Text
    kind: DeviceKind
    facts: Facts = Facts()
    sources: tuple[Text, ...] = Field(default=(), description="Public pages, repositories, tables.")
    runtimes: dict[str, Runtime] = Field(min_length=1)


class OpCost(Section):
    """What a class of operators costs; see the formula."""

    compute: NotNegative = Field(default=1.0, description="c: of one MAC or element, in units of 1/F.")
    memory: NotNegative = Field(default=1.0, description="m: of a byte of activations, in units of 1/B.")
    weights: NotNegative = Field(default=1.0, description="w: of a byte of weights, in units of 1/B.")
    launch: NotNegative = Field(default=1.0, description="l: overhead in units of o.")
    inner: NotNegative = Field(default=0.0, description="a: what few input channels lose.")
    outer: NotNegative = Field(default=0.0, description="b: what few output channels lose.")
    rows: NotNegative = Field(default=0.0, description="s: what small maps lose.")


class FromFacts(Section):
    """How a device that nobody measured does, on average over those that were."""

    peak_share: Share = Field(description="F over half the peak operations per second.")
    memory_share: Share | None = Field(
        default=None, description="B over the memory's peak bandwidth, where that tells B best."
    )
    bytes_per_mac: Positive | None = Field(
        default=None, description="B over F, where that does: most traffic stays in caches."
    )
    macs_per_launch: NotNegative = Field(description="o times F: MACs in the time of one launch.")
    spread: NotNegative = Field(
        description="Standard deviation of log(measured / predicted) on devices held out."
    )

    @model_validator(mode="after")
    def _one_memory(self) -> FromFacts:
        if (self.memory_share is None) == (self.bytes_per_mac is None):
            raise ValueError("from_facts needs either memory_share or bytes_per_mac")
        return self


class ThreadExponent(Section):
    """How F and B grow with the number of threads: as its power."""

    compute: Annotated[float, Field(ge=0, le=1)]
    memory: Annotated[float, Field(ge=0, le=1)]


class Unseen(Section):
    """What is assumed of classes of operators that the fit never saw."""

    cost: OpCost = OpCost()
    spread: Positive = Field(
        default=0.7,
        description="Standard deviation of the log of their time: 0.7 is a factor of 2.5 at 80 %.",
    )


class Costs(Section):
    """What classes of operators cost in a kind of runtime, and how it does on devices in general."""

    title: Text
    fusion: Text = Field(description="Which operators run as one kernel: a rule set.")
    classes: dict[Dtype, dict[str, OpCost]]
    from_facts: dict[Dtype, FromFacts] = Field(default_factory=dict)
    thread_exponent: ThreadExponent | None = None
    all_cores: bool = Field(
        default=False,
        description="Whether it was measured on all cores only, and is predicted for them.",
    )
    unseen: Unseen = Unseen()

    def general(self, dtype: str) -> FromFacts | None:
        """Return how devices do in a data type in general; None if that was never fitted."""
        return _get(self.from_facts, dtype)

    def table(self, dtype: str) -> dict[str, OpCost] | None:
        """Return what classes cost in a data type; None if that was never fitted."""
        return _get(self.classes, dtype)

    @field_validator("fusion")
    @classmethod
    def _rules(cls, name: str) -> str:
        if name not in RULES:
            raise ValueError(f"unknown rule set '{name}'{suggest(name, RULES)}")
        return name

    @field_validator("classes")
    @classmethod
    def _classes(cls, value: dict[Dtype, dict[str, OpCost]]) -> dict[Dtype, dict[str, OpCost]]:
        for classes in value.values():
            _known_classes(dict(classes))
        return value

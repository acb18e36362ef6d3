"""The rates of a device for a data type and a number of threads: from its fits, or from its facts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, log
from typing import TYPE_CHECKING

from onnx_pare.errors import ProfileError
from onnx_pare.hw_profiles.dtypes import MAIN
from onnx_pare.hw_profiles.predictor import ClassCost, Rates

if TYPE_CHECKING:
    from onnx_pare.hw_profiles.profiles import Profile
    from onnx_pare.hw_profiles.schema import Facts, Fit, FromFacts, ThreadExponent

GIGA, MICRO = 1e9, 1e-6
# the normal distribution holds 80 % within so many standard deviations
Z80 = 1.2815515655446004


@dataclass(frozen=True)
class Basis:
    """What kernels of one data type are predicted from.

    Attributes:
        dtype: What they are predicted as.
        rates: F, B, o and factors.
        costs: Class of operators -> cost; without those that were never seen.
        spread: Standard deviation of log(measured / predicted).
        error_percent: Mean absolute error of the fit on held-out models; None if it was not validated.
        assumed: Whether `dtype` is not what they compute in, for want of numbers.
        batch: Smallest and largest batch measured; None if not known.
        notes: What else was assumed, in sentences.
    """

    dtype: str
    rates: Rates
    costs: Mapping[str, ClassCost]
    spread: float
    error_percent: float | None = None
    assumed: bool = False
    batch: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def basis(profile: Profile, dtype: str, threads: int) -> Basis:
    """Return what kernels of a data type are predicted from.

    A data type that nobody measured on this device is not assumed to be faster: its kernels are predicted as
    float32, and the notes say so.

    Raises:
        ProfileError: Neither fits nor facts say anything about the device's speed.
    """
    from_any = _from_fits if profile.on.fits else _from_facts
    own = from_any(profile, dtype, threads)
    if own is not None:
        return own
    for other in (MAIN, "int8", "float16"):
        found = from_any(profile, other, threads)
        if found is not None:
            return replace(found, assumed=True, notes=(*found.notes, _instead(profile, dtype, other)))
    raise ProfileError(
        f"{profile.name}: neither fits nor facts say how fast {profile.runtime} is on it",
        hint="docs/profiles.md says which facts a prediction needs: peak_gops and memory_gb_per_s.",
    )


def _instead(profile: Profile, dtype: str, other: str) -> str:
    if other == MAIN:
        return f"{dtype} was never measured with {profile.runtime}: predicted to take as long as {other}"
    return f"{profile.runtime} is known for {other} only: what is {dtype} is predicted as if it were {other}"


def _from_fits(profile: Profile, dtype: str, threads: int) -> Basis | None:
    runtime = profile.on
    wanted = [fit for fit in runtime.fits if fit.dtype == dtype]
    wanted = wanted or [fit for fit in runtime.fits if fit.dtype == runtime.inside(dtype)]
    if not wanted:
        return None
    fit, notes = _at_threads(profile, wanted, threads)
    rates = Rates(fit.gmacs_per_s * GIGA, fit.gb_per_s * GIGA, fit.overhead_us * MICRO, dict(fit.factors))
    return Basis(
        dtype,
        rates,
        _costs(profile, dtype),
        fit.spread,
        fit.validation.error_percent if fit.validation else None,
        batch=fit.batch,
        notes=notes,
    )


def _at_threads(profile: Profile, fits: Sequence[Fit], threads: int) -> tuple[Fit, tuple[str, ...]]:
    """Return the fit for a number of threads: measured, interpolated, or extrapolated."""
    if profile.known.kind != "cpu":
        return fits[0], _no_threads(profile, threads)
    if profile.costs.all_cores:
        return fits[0], (f"{profile.runtime} was measured on all cores only: predicted for them",)
    cores = profile.known.facts.core_count
    notes: tuple[str, ...] = ()
    if cores is not None and threads > cores:
        notes, threads = (f"{threads} threads on {cores} cores are predicted as {cores}",), cores
    known = sorted(fits, key=lambda fit: fit.threads)
    exact = next((fit for fit in known if fit.threads == threads), None)
    if exact is not None:
        return exact, notes
    below = [fit for fit in known if fit.threads < threads]
    above = [fit for fit in known if fit.threads > threads]
    if below and above:
        said = f"{_threads(threads)}: interpolated between {below[-1].threads} and {above[0].threads}"
        return _between(below[-1], above[0], threads), (*notes, said)
    nearest = below[-1] if below else above[0]
    said = f"{_threads(threads)}: extrapolated from {nearest.threads}, not measured"
    return _scaled(nearest, threads, profile.costs.thread_exponent), (*notes, said)


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _no_threads(profile: Profile, threads: int) -> tuple[str, ...]:
    if threads == 1:
        return ()
    return (f"the number of threads means nothing to a {profile.known.kind}",)


def _between(low: Fit, high: Fit, threads: int) -> Fit:
    """Interpolate logarithms, linear in the logarithm of the number of threads."""
    part = log(threads / low.threads) / log(high.threads / low.threads)

    def mixed(a: float, b: float) -> float:
        return exp((1 - part) * log(a) + part * log(b)) if a > 0 and b > 0 else (1 - part) * a + part * b

    classes = dict.fromkeys((*low.factors, *high.factors))
    return low.model_copy(
        update={
            "threads": threads,
            "gmacs_per_s": mixed(low.gmacs_per_s, high.gmacs_per_s),
            "gb_per_s": mixed(low.gb_per_s, high.gb_per_s),
            "overhead_us": mixed(low.overhead_us, high.overhead_us),
            "factors": {c: mixed(low.factors.get(c, 1.0), high.factors.get(c, 1.0)) for c in classes},
            "spread": max(low.spread, high.spread),
        }
    )


def _scaled(fit: Fit, threads: int, exponent: ThreadExponent | None) -> Fit:
    """Let F and B grow with a power of the number of threads.

    Where that was never fitted, they grow with something between not at all and in proportion: the middle is
    taken, and the interval made wide enough for both.
    """
    compute, memory = (exponent.compute, exponent.memory) if exponent else (0.5, 0.5)
    more = threads / fit.threads
    doubt = 0.0 if exponent else 0.5 * abs(log(more)) / Z80
    return fit.model_copy(
        update={
            "threads": threads,
            "gmacs_per_s": fit.gmacs_per_s * more**compute,
            "gb_per_s": fit.gb_per_s * more**memory,
            "spread": hypot(fit.spread, doubt),
        }
    )


def _from_facts(profile: Profile, dtype: str, threads: int) -> Basis | None:
    facts, costs = profile.known.facts, profile.costs
    inside = profile.on.inside(dtype)
    share, peak = costs.general(inside) or costs.general(dtype), facts.peak(inside)
    if share is None or peak is None or (share.memory_share and facts.memory_gb_per_s is None):
        return None
    used, notes = _threads_used(profile, threads)
    exponent = costs.thread_exponent
    compute, memory = (exponent.compute, exponent.memory) if exponent else (1.0, 0.0)
    one = share.peak_share * peak / 2 * GIGA * part_of_peak(facts, 1)
    many = share.peak_share * peak / 2 * GIGA * part_of_peak(facts, used) * used ** (compute - 1)
    rates = Rates(
        work_per_s=many,
        bytes_per_s=_bytes_per_s(share, facts, one) * used**memory,
        overhead_s=share.macs_per_launch / one,
        factors={},
    )
    notes = (*notes, "not validated: predicted from the device's facts alone")
    return Basis(dtype, rates, _costs(profile, dtype), share.spread, notes=notes)


def _bytes_per_s(share: FromFacts, facts: Facts, work_per_s: float) -> float:
    if share.bytes_per_mac is not None:
        return share.bytes_per_mac * work_per_s
    return (share.memory_share or 0.0) * (facts.memory_gb_per_s or 0.0) * GIGA


def _threads_used(profile: Profile, threads: int) -> tuple[int, tuple[str, ...]]:
    cores = profile.known.facts.core_count
    if profile.known.kind != "cpu":
        return 1, _no_threads(profile, threads)
    if cores is not None and threads > cores:
        return cores, (f"{threads} threads on {cores} cores are predicted as {cores}",)
    return threads, ()


def part_of_peak(facts: Facts, threads: int) -> float:
    """Return what the `threads` fastest cores have of the peak of all; 1 where cores do not say."""
    each = sorted(
        (
            cores.clock_ghz * cores.float32_flops_per_cycle
            for cores in facts.cores
            if cores.float32_flops_per_cycle
            for _ in range(cores.count)
        ),
        reverse=True,
    )
    return sum(each[:threads]) / sum(each) if each else 1.0


def _costs(profile: Profile, dtype: str) -> Mapping[str, ClassCost]:
    """Return the class costs for a data type, or else for what the runtime computes it in, or float32."""
    costs = profile.costs
    found = costs.table(dtype) or costs.table(profile.on.inside(dtype)) or costs.table(MAIN) or {}
    return {name: ClassCost(**cost.model_dump()) for name, cost in found.items()}

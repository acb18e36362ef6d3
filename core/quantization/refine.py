"""Keeping of several methods those that help, by the outputs of int8 models built with and without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_pare.bench.judge import Judge
from onnx_pare.bench.tally import json_db
from onnx_pare.calibration.peaks import Peaks
from onnx_pare.quantization.draft import Draft, Manner
from onnx_pare.quantization.equalization import equalizable, equalize

if TYPE_CHECKING:
    from onnx_pare.calibration.data import Samples

#: what is better by less is not
WORTH_DB = 0.25
#: samples that candidates are compared on, and at most this share of all
CHECKED, CHECKED_SHARE = 24, 4
#: samples read many times are held in memory up to this size
HELD_BYTES = 48 << 20
#: samples that equalization is decided on
FEW = 32


@dataclass(frozen=True)
class Split:
    """Calibration samples in two parts, so that methods are judged on samples they have not seen.

    Attributes:
        fit: What ranges and moments are taken from.
        check: What candidates are compared on; the same where there are too few for two parts.
    """

    fit: Samples
    check: Samples

    @classmethod
    def of(cls, samples: Samples) -> Split:
        """Set a quarter, at most `CHECKED`, apart for checking."""
        count = min(len(samples) // CHECKED_SHARE, CHECKED)
        if count < 2:
            return cls(samples, samples.part(0, CHECKED).held(HELD_BYTES))
        fit, check = samples.apart(count)
        return cls(fit.held(HELD_BYTES), check.held(HELD_BYTES))


#: what may be left out, by the name of its option, and how
LEFT_OUT: Mapping[str, Callable[[Manner], Manner]] = {
    "calibration": lambda manner: replace(manner, ranges="minmax") if manner.ranges == "auto" else manner,
    "round": lambda manner: replace(manner, layers=replace(manner.layers, adaptive=False)),
    "correct_bias": lambda manner: replace(manner, layers=replace(manner.layers, correct=False)),
}


def equalized(draft: Draft, judge: Judge, manner: Manner) -> tuple[Draft, dict[str, Any]]:
    """Return the draft with its channels equalized if that helps, or as it is, and what was found.

    Both are calibrated on a few samples, for comparison.
    """
    channels = equalizable(draft.model)
    owners = set(draft.place(draft.model).owner.values())
    peaks = {value.name or "": Peaks() for value in channels.of if value in owners}
    if not channels.free().any() or not peaks:
        return draft, {}
    draft.observe(draft.model, peaks, draft.samples)
    candidate = draft.model.clone()
    scaled = equalize(candidate, equalizable(candidate), peaks)
    if not scaled:
        return draft, {}
    few = [replace(one, samples=draft.samples.part(0, FEW), histograms={}, moments={}, _ranges={})
           for one in (draft, replace(draft, model=candidate))]  # fmt: skip
    for one in few:
        one.calibrate(moments=False)
    plain_db, equalized_db = (judge.sqnr_db(one.build(manner)) for one in few)
    kept = equalized_db > plain_db + WORTH_DB
    notes = {
        "equalized_channels": scaled if kept else 0,
        "equalization": {
            "sqnr_db_without": json_db(plain_db),
            "sqnr_db_with": json_db(equalized_db),
            "kept": kept,
        },
    }
    return (replace(draft, model=candidate, histograms={}, moments={}, _ranges={}) if kept else draft), notes


def refined(
    draft: Draft, judge: Judge, manner: Manner, float_nodes: frozenset[str]
) -> tuple[Manner, dict[str, Any]]:
    """Return the manner without those of `LEFT_OUT` that do harm, and the SQNR found with and without."""
    best_db = judge.sqnr_db(draft.build(manner, float_nodes))
    without: dict[str, float | None] = {}
    dropped: list[str] = []
    for option, leave_out in LEFT_OUT.items():
        simpler = leave_out(manner)
        if simpler == manner:
            continue
        found_db = judge.sqnr_db(draft.build(simpler, float_nodes))
        without[option] = json_db(found_db)
        if found_db > best_db + WORTH_DB:
            manner, best_db = simpler, found_db
            dropped.append(option)
    return manner, {"sqnr_db": json_db(best_db), "without": without, "dropped": dropped}

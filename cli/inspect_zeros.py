"""What `pare inspect` shows of the zeros that `annotate_relu_sparsity` measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from onnx_pare.cli import columns

if TYPE_CHECKING:
    from onnx_pare.cost.count import Cost, NodeCost
    from onnx_pare.sparsity.share import Measurement

COLUMNS = columns.Columns(
    ("node", "op", "reads 0", "makes 0", "p10–p90", "dead", "MACs", "effective"),
    (False, False, True, True, True, True, True, True),
    56,
)


def table(rows: Sequence[NodeCost], width: int | None) -> Iterator[str]:
    """Yield the table of the nodes of which something was measured; none if nothing was."""
    measured = [(row.name, row.op, *_figures(row)) for row in rows if _is_measured(row)]
    if measured:
        yield from columns.table(COLUMNS, measured, width)


def totals(cost: Cost, measurement: Measurement | None) -> Iterator[str]:
    """Yield how many MACs are left when zeros are skipped, and what the zeros of activations rest on."""
    from onnx_pare.cli.units import count, percent

    work = cost.work
    if work.effective != work.total:
        yield f"on nonzeros  {count(work.effective, 'MACs')}  ({work.effective:,} MACs)"
    if measurement is None:
        return
    if work.total:
        weights, activations, both = (
            percent(1 - left / work.total)
            for left in (work.nonzero_weight, work.nonzero_activation, work.effective)
        )
        yield f"skipping     zero weights saves {weights}, zero activations {activations}, both {both}"
    overall, samples = percent(measurement.zero_fraction), measurement.samples
    yield f"zeros        {overall} of all activations, on {samples:,} samples: {measurement.source}"


def node_json(row: NodeCost) -> dict[str, Any]:
    """Return the keys of a node; null where nothing was measured or counted."""
    from onnx_pare.sparsity.metadata import NEGATIVE, ZERO

    return {
        "effective_macs": row.effective_macs,
        "input_zero_fraction": row.input_zero_fraction,
        "zeros": row.zeros.facts(ZERO) if row.zeros else None,
        "negatives": row.negatives.facts(NEGATIVE) if row.negatives else None,
    }


def measurement_json(measurement: Measurement | None) -> dict[str, Any] | None:
    """Return what the zeros were measured on, null if they were not."""
    return asdict(measurement) if measurement else None


def _is_measured(row: NodeCost) -> bool:
    return any(found is not None for found in (row.input_zero_fraction, row.zeros, row.negatives))


def _figures(row: NodeCost) -> tuple[str, ...]:
    """Return the columns after node and operator; `<0` marks what is negative rather than zero."""
    from onnx_pare.cli.units import count

    share, zeros = row.zeros or row.negatives, row.zeros
    spread = (None, None) if share is None else (share.p10, share.p90)
    return (
        _percent(row.input_zero_fraction),
        ("" if zeros else "<0 ") + _percent(share.fraction) if share else "",
        "" if None in spread else f"{100 * (spread[0] or 0):.0f}–{100 * (spread[1] or 0):.0f} %",
        f"{len(zeros.dead_channels)}/{len(zeros.per_channel)}" if zeros and zeros.per_channel else "",
        count(row.macs) if row.macs else "",
        count(row.effective_macs) if row.macs and row.effective_macs is not None else "",
    )


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.1f} %"

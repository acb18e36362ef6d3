"""`pare inspect`: what a model costs, node by node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnx_pare.cli import columns, inspect_zeros
from onnx_pare.cli.console import JsonOption

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.console import Console

    from onnx_pare.cost.count import Cost, NodeCost
    from onnx_pare.sparsity.share import Measurement

COLUMNS = columns.Columns(
    ("node", "op", "MACs", "params", "weights", "output", "dtype", "zeros"),
    (False, False, True, True, True, False, False, True),
    56,
)


def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ONNX file, or its URL.")],
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=DIMS", help="Sizes of an input, as in input=1x3x224x224; repeatable."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Batch; by default the model's own, or 1 if it is free.")
    ] = None,
    json: JsonOption = "",
) -> None:
    """Count MACs, parameters, bytes and activation memory of a model, node by node."""
    from onnx_pare.cli import console
    from onnx_pare.cli.models import check_json_target
    from onnx_pare.cost.count import count
    from onnx_pare.errors import about
    from onnx_pare.graph.load import load_model, size_bytes
    from onnx_pare.graph.shapes import infer, input_shapes, parse_shapes
    from onnx_pare.remote.stage import staged
    from onnx_pare.sparsity.metadata import read_measurement

    given = parse_shapes(shape or [])
    check_json_target(json, [model])
    with staged() as stage:
        path = stage.model(model)
        loaded, size = load_model(path), size_bytes(path)
        _check_batch(loaded, batch)
        with about(path):
            inputs = input_shapes(loaded, given, batch or 1)
            cost = count(loaded, infer(loaded, inputs))
            measurement = read_measurement(loaded)
    if json:
        console.write_json(to_json(cost, size, measurement), json)
    if json != "-":
        out = console.out()
        width = out.width if out.is_terminal else None
        for lines in (table(cost.rows, width), inspect_zeros.table(cost.rows, width)):
            _print_table(out, lines)
        for line in totals(cost, inputs, size, measurement):
            out.print(line, markup=False, soft_wrap=True)


def _print_table(out: Console, lines: Iterable[str]) -> None:
    """Print a table with its header in bold and an empty line after it, if it has any lines."""
    style = "bold"
    for line in lines:
        out.print(line, style=style, markup=False, soft_wrap=True)
        style = ""
    if not style:
        out.print()


def to_json(cost: Cost, size_bytes: int, measurement: Measurement | None) -> dict[str, Any]:
    """Return the document of `pare inspect --json`; `macs` is null where a node could not be counted."""
    return {
        "schema": "onnx-pare/inspect/1",
        "totals": {**cost.totals(), "size_bytes": size_bytes},
        "nodes": [_node_json(row) for row in cost.rows],
        "uncounted_ops": cost.uncounted_ops,
        "sparsity": inspect_zeros.measurement_json(measurement),
    }


def table(rows: Sequence[NodeCost], width: int | None) -> Iterator[str]:
    """Yield the aligned lines of the table, its header first; cut to `width` columns, if that is given."""
    yield from columns.table(COLUMNS, [(row.name, row.op, *_figures(row)) for row in rows], width)


def totals(
    cost: Cost, inputs: Mapping[str, Sequence[int]], size_bytes: int, measurement: Measurement | None
) -> Iterator[str]:
    """Yield the lines of the totals."""
    from onnx_pare.cli.units import count, percent, size

    macs, params = cost.macs, cost.params
    yield f"input        {', '.join(f'{name} {_dims(shape)}' for name, shape in inputs.items())}"
    exact = f"({macs:,} MACs, {2 * macs:,} FLOPs)"
    yield f"MACs         {count(macs, 'MACs')} = {count(2 * macs, 'FLOPs')}  {exact}"
    yield from inspect_zeros.totals(cost, measurement)
    zeros = 1 - cost.nonzero_params / params if params else 0.0
    yield f"parameters   {params:,}, of them {percent(zeros)} zero"
    yield f"weights      {size(cost.weight_bytes)}, file {size(size_bytes)}"
    yield f"activations  {size(cost.activation_bytes)} in all, {size(cost.peak_activation_bytes)} at the peak"
    yield f"nodes        {cost.nodes:,}, of them {len(cost.rows):,} left when constants are folded"
    for entry in cost.uncounted:
        yield f"NOT COUNTED  {entry.op}, {entry.nodes}×: {entry.reason}"


def _node_json(row: NodeCost) -> dict[str, Any]:
    return {
        "name": row.name,
        "op": row.op,
        "macs": row.macs,
        "params": row.params,
        "weight_bytes": row.weight_bytes,
        "read_bytes": row.read_bytes,
        "written_bytes": row.written_bytes,
        "output_shape": None if row.output_shape is None else list(row.output_shape),
        "dtype": row.dtype,
        "weight_sparsity": row.weight_sparsity,
        **inspect_zeros.node_json(row),
    }


def _figures(row: NodeCost) -> tuple[str, ...]:
    from onnx_pare.cli.units import count, size

    return (
        "?" if row.macs is None else count(row.macs) if row.macs else "",
        count(row.params) if row.params else "",
        size(row.weight_bytes) if row.weight_bytes else "",
        "?" if row.output_shape is None else _dims(row.output_shape),
        row.dtype,
        f"{100 * row.weight_sparsity:.1f} %" if row.params else "",
    )


def _dims(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _check_batch(model: ir.Model, batch: int | None) -> None:
    from onnx_pare.errors import UsageError
    from onnx_pare.graph.signature import signature

    first = {port.name: port.shape[0] for port in signature(model).inputs if port.shape}
    fixed = [f"{name} {dim}" for name, dim in first.items() if isinstance(dim, int) and dim != batch]
    if batch is not None and len(fixed) == len(first):
        raise UsageError(f"--batch {batch}: the model's batch is fixed: {', '.join(fixed)}")

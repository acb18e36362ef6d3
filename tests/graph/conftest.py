"""`prove`: channel groups of a small model, and the proof that they are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.edit import constant, set_constant
from onnx_pare.graph.groups import Group, Groups, find_groups
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Feeds, Session
from onnx_pare.graph.signature import signature
from onnx_pare.graph.surgery import remove_channels
from onnx_pare.graph.verify import problems

Prove = Callable[..., tuple[Groups, ir.Model]]


def filled(text: str, path: Path, opset: int = 17) -> ir.Model:
    """Return the model that ONNX text describes; weights that are only declared get seeded numbers."""
    from onnx import helper, numpy_helper, parser

    version = 10 if opset > 20 else 8
    proto = parser.parse_model(f'<ir_version: {version}, opset_import: ["": {opset}]> {text}')
    rng = np.random.default_rng(0)
    made = {name for node in proto.graph.node for name in node.output}
    for value in [value for value in proto.graph.value_info if value.name not in made]:
        kind = value.type.tensor_type
        array = np.abs(rng.standard_normal([dim.dim_value for dim in kind.shape.dim])) + 0.2
        array *= rng.choice([-1, 1], array.shape) if not value.name.startswith("var") else 1
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(dtype), value.name))
        proto.graph.value_info.remove(value)
    path.write_bytes(proto.SerializeToString())
    return load_model(path)


def run(model: ir.Model, path: Path, samples: list[Feeds]) -> list[Any]:
    """Return what a model computes on samples."""
    write_model(model, path)
    session = Session(path)
    return [array for feeds in samples for array in session.run(feeds)]


def silence(groups: Groups, units: dict[int, list[int]]) -> None:
    """Set to zero what reads these units; where two computed tensors are summed over, what makes them."""
    for index, chosen in units.items():
        group = groups[index]
        makers = (*group.producers, *group.others) if group.contracted else ()
        for part in (*group.consumers, *makers):
            array = np.array(constant(part.value))
            np.moveaxis(array, part.axis, 0)[np.isin(part.unit_of, chosen)] = 0
            set_constant(part.value, array)


def _makers(group: Group) -> str:
    return "+".join(dict.fromkeys(part.node.name or "" for part in group.producers))


@pytest.fixture
def prove(tmp_path: Path) -> Prove:
    """Return the verb `prove(text, expected, opset=17)`.

    The model's groups must be `expected`: of each the layers that make it, and its units, as in
    `Conv_0+Conv_2: 4`. Removing half of each group's units, silenced before, must leave the outputs as they
    are. Returns the groups and the model that is left.
    """

    def check(text: str, *expected: str, opset: int = 17) -> tuple[Groups, ir.Model]:
        model = filled(text, tmp_path / "model.onnx", opset)
        ports, groups = signature(model), find_groups(model)
        assert [f"{_makers(group)}: {group.units}" for group in groups.values()] == list(expected)
        units = {i: list(range(0, group.units - 1, 2)) for i, group in groups.items()}
        silence(groups, units)
        samples = list(synthetic_samples(model, count=2, seed=0))
        before = run(model, tmp_path / "before.onnx", samples)
        cuts = remove_channels(model, groups, units)
        assert bool(cuts) == any(units.values())
        after = run(model, tmp_path / "after.onnx", samples)
        assert problems(tmp_path / "after.onnx", ports, signature(model)) == []
        for a, b in zip(before, after, strict=True):
            assert np.ptp(a) > 0
            np.testing.assert_allclose(b, a, rtol=0, atol=1e-5 * np.abs(a).max())
        return groups, model

    return check

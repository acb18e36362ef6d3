from __future__ import annotations

import itertools
import random

import onnx_ir as ir
import pytest

from onnx_pare.graph.shapes import infer
from onnx_pare.quantization import kernels
from onnx_pare.quantization.division import divide
from onnx_pare.quantization.kernel_costs import KernelCosts, Row
from onnx_pare.quantization.placement import place

from .conftest import with_weights

CHEAP = Row(overhead_us=1.0, element_ns=0.0)


def costs(*, float_us: dict[str, float], int8_us: dict[str, float], border_us: float) -> KernelCosts:
    """Return a table of fixed times by kind of work; what is not given takes 1 µs."""
    rows = [
        {"other": CHEAP, **{kind: Row(us, 0.0) for kind, us in given.items()}}
        for given in (float_us, int8_us)
    ]
    return KernelCosts("test", True, rows[0], rows[1], Row(border_us, 0.0), Row(border_us, 0.0))


def divided(model: ir.Model, table: KernelCosts, border: float = 1.0) -> tuple[set[str], float]:
    shapes = infer(model, {"x": (1, 4, 8, 8)})
    found = divide(model.graph, shapes, place(model.graph), table, border=border)
    return set(found.float_nodes), found.divided_us


def named(text: str, **shapes: tuple[int, ...]) -> ir.Model:
    model = with_weights(text, **shapes)
    for node in model.graph:
        node.name = node.outputs[0].name
    return model


CHAIN = """g (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w, float[4, 1, 1, 1] d) => (float[1, 4, 8, 8] y) {
    a = Conv(x, w)
    b = Conv <group = 4> (a, d)
    y = Conv(b, w)
}"""


@pytest.fixture
def chain() -> ir.Model:
    return named(CHAIN, w=(4, 4, 1, 1), d=(4, 1, 1, 1))


def test_what_is_faster_in_integers_runs_in_integers(chain: ir.Model):
    table = costs(float_us={"pointwise": 20.0}, int8_us={}, border_us=2.0)
    assert divided(chain, table) == (set(), 3 * 1.0 + 2 * 2.0)


def test_a_slow_kernel_is_left_float_if_that_pays_for_two_borders(chain: ir.Model):
    slow = {"uneven depthwise": 6.0}
    cheap = costs(float_us={"pointwise": 20.0}, int8_us=slow, border_us=2.0)
    dear = costs(float_us={"pointwise": 20.0}, int8_us=slow, border_us=3.0)
    assert divided(chain, cheap)[0] == {"b"}
    assert divided(chain, dear)[0] == set()
    assert divided(chain, cheap, border=1.5)[0] == set()


def test_all_is_float_where_borders_cost_more_than_integers_gain(chain: ir.Model):
    assert divided(chain, costs(float_us={"pointwise": 3.0}, int8_us={}, border_us=9.0))[0] == {"a", "b", "y"}


def test_a_tensor_is_converted_once_for_all_its_readers():
    model = named(
        """g (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w, float[4, 1, 1, 1] d)
            => (float[1, 4, 8, 8] y, float[1, 4, 8, 8] z) {
            a = Conv(x, w)
            b = Conv <group = 4> (a, d)
            c = Conv <group = 4> (a, d)
            y = Conv(b, w)
            z = Conv(c, w)
        }""",
        w=(4, 4, 1, 1),
        d=(4, 1, 1, 1),
    )
    table = costs(float_us={"pointwise": 50.0}, int8_us={"uneven depthwise": 9.5}, border_us=4.0)
    # x, a, b, c, y and z are converted, 4 µs each; the five convolutions take 1 µs each
    assert divided(model, table) == ({"b", "c"}, 6 * 4 + 5)


def test_silu_is_free_behind_its_own_sigmoid_where_both_are_float():
    model = named(
        """g (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[1, 4, 8, 8] y) {
            a = Conv(x, w)
            b = Sigmoid(a)
            m = Mul(a, b)
            y = Conv(m, w)
        }""",
        w=(4, 4, 1, 1),
    )
    table = costs(
        float_us={"Sigmoid": 2.0, "Mul": 50.0, "pointwise": 50.0},
        int8_us={"Sigmoid": 9.0, "Mul": 9.0},
        border_us=1.0,
    )
    assert divided(model, table) == ({"b", "m"}, 1 + 1 + 1 + 2 + 1 + 1 + 1)


@pytest.mark.parametrize("seed", range(25))
def test_no_other_division_of_a_random_graph_is_cheaper(seed: int):
    rng = random.Random(seed)
    model = named(_random_graph(rng), w=(4, 4, 1, 1), d=(4, 1, 1, 1))
    kinds = ("pointwise", "uneven depthwise", "Sigmoid", "Concat")
    times = [{kind: float(rng.randint(1, 9)) for kind in kinds} for _ in range(2)]
    border_us = float(rng.randint(0, 5))
    floats, us = divided(model, costs(float_us=times[0], int8_us=times[1], border_us=border_us))
    placement = place(model.graph)
    units = [node for node in model.graph if placement.runs_in_integers(node)]
    price = {
        frozenset(chosen): _price(model, units, set(chosen), times, border_us)
        for size in range(len(units) + 1)
        for chosen in itertools.combinations([node.name or "" for node in units], size)
    }
    assert us == pytest.approx(min(price.values()))
    assert price[frozenset(floats)] == pytest.approx(us)


def _random_graph(rng: random.Random) -> str:
    made = ["x"]
    lines = []
    for number in range(6):
        read = rng.choice(made[-3:])
        body = rng.choice([f"Conv({read}, w)", f"Conv <group = 4> ({read}, d)", f"Sigmoid({read})"])
        made.append(f"t{number}")
        lines.append(f"t{number} = {body}")
    return (
        "g (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w, float[4, 1, 1, 1] d) => (float[1, 4, 8, 8] t5) { "
        + " ".join(lines)
        + " }"
    )


def _price(
    model: ir.Model, units: list[ir.Node], floats: set[str], times: list[dict[str, float]], border_us: float
) -> float:
    """Add the times of a division up, straight from its definition."""
    kinds = {"Conv": "pointwise"}
    total = 0.0
    for node in units:
        depthwise = node.attributes.get_int("group", 1) > 1
        kind = "uneven depthwise" if depthwise else kinds.get(node.op_type, node.op_type)
        total += times[0 if node.name in floats else 1][kind]
    integer = {node for node in units if node.name not in floats}
    for value in [*model.graph.inputs, *(node.outputs[0] for node in model.graph)]:
        readers = [use.node for use in value.uses()]
        maker_is_integer = value.producer() in integer
        leaves = value.is_graph_output() or any(reader not in integer for reader in readers)
        enters = any(reader in integer and value in kernels.data_inputs(reader) for reader in readers)
        total += border_us * (maker_is_integer and leaves)
        total += border_us * (not maker_is_integer and enters)
    return total

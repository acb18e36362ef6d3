"""Which inputs of a model are its own state: what an output of the run before becomes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.graph.signature import Port, signature

if TYPE_CHECKING:
    import onnx_ir as ir

    Slots = frozenset[tuple[ir.Node, int]]

# recurrent operators: their inputs 5 and 6 are the initial states, outputs 1 and 2 what these became
RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
SLOT_OF_OUTPUT = {0: 5, 1: 5, 2: 6}
MOVERS = frozenset(
    {"Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
STATE_WORDS = frozenset(
    {"c", "cache", "carry", "cell", "gru", "h", "hidden", "lstm", "mem", "memory", "rnn", "state", "states"}
)
ROLE_WORDS = frozenset(
    {"cur", "current", "final", "in", "init", "initial", "input", "last", "n", "new", "next", "old", "out"}
    | {"output", "past", "present", "prev", "previous", "updated", "x"}
)


@dataclass(frozen=True)
class State:
    """The input that holds a state, and the output that gives the next one."""

    input: str
    output: str


def find_states(model: ir.Model) -> tuple[State, ...]:
    """Return the states of a model, in the order of its inputs.

    An input and an output belong together if their types and shapes agree and either

    - the input ends, moved and cut only, in the initial states of recurrent operators, and the output is put
      together from the final states of exactly the same ones; or
    - their names say state, memory, `h`, `c` or the like, and are equal but for words such as in, out, next,
      new, prev and n: `state` and `stateN`, `h0` and `hn`, `lstm_cell_in` and `lstm_cell_out`.

    In both cases no other input or output may fit as well. A model all of whose inputs would be states has
    none.
    """
    ports = signature(model)
    values = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    found: dict[str, str] = {}
    rules: tuple[tuple[Callable[[Port], object], Callable[[Port], object]], ...] = (
        (lambda port: _read_by(values[port.name]), lambda port: _made_by(values[port.name])),
        (_stem, _stem),
    )
    for of_input, of_output in rules:
        outputs = [(of_output(port), port) for port in ports.outputs if port.name not in found.values()]
        inputs = [(of_input(port), port) for port in ports.inputs if port.name not in found]
        fitting = [(i, o) for key, i in inputs for own, o in outputs if key and key == own and _agree(i, o)]
        often = Counter(port.name for pair in fitting for port in pair)
        found |= {i.name: o.name for i, o in fitting if often[i.name] == often[o.name] == 1}
    if len(found) == len(ports.inputs):
        return ()
    return tuple(State(port.name, found[port.name]) for port in ports.inputs if port.name in found)


def _agree(a: Port, b: Port) -> bool:
    """Tell whether types agree, and shapes wherever both are fixed."""
    if a.dtype != b.dtype or a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return False
    pairs = zip(a.shape, b.shape, strict=True)
    return all(m == n or not (isinstance(m, int) and isinstance(n, int)) for m, n in pairs)


def _stem(port: Port) -> tuple[str, ...] | None:
    """Return the words of a state's name without those that tell the old one from the new; else None."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", port.name)
    spaced = re.sub(r"(?<![A-Za-z])([hc])_?(n|x|0)(?![A-Za-z0-9])", r"\1", spaced)
    words = [word for word in re.findall(r"[a-z]+|[0-9]+", spaced.lower()) if word not in ROLE_WORDS]
    return tuple(words) if STATE_WORDS & set(words) else None


def _read_by(value: ir.Value) -> Slots | None:
    """Return the initial states that a value ends in; None if anything computes with it on the way."""
    found: set[tuple[ir.Node, int]] = set()
    for node, index in value.uses():
        if node.op_type in RECURRENT and index in SLOT_OF_OUTPUT.values():
            found.add((node, index))
        elif node.op_type in MOVERS and (index == 0 or node.op_type == "Concat"):
            for moved in node.outputs:
                slots = _read_by(moved)
                if slots is None:
                    return None
                found |= slots
        elif node.op_type != "Shape":
            return None
    return frozenset(found)


def _made_by(value: ir.Value) -> Slots | None:
    """Return the initial states whose successors a value is put together from; None if of anything else."""
    node, index = value.producer(), value.index()
    if node is None or index is None:
        return None
    if node.op_type in RECURRENT:
        return frozenset({(node, SLOT_OF_OUTPUT[index])})
    if node.op_type not in MOVERS:
        return None
    found: set[tuple[ir.Node, int]] = set()
    for source in node.inputs if node.op_type == "Concat" else node.inputs[:1]:
        slots = None if source is None else _made_by(source)
        if slots is None:
            return None
        found |= slots
    return frozenset(found)

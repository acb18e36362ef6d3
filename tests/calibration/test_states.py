from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from onnx_pare.calibration.states import find_states
from onnx_pare.graph.load import load_model

HEADER = '<ir_version: 8, opset_import: ["": 17]> g'
ADD = "{{ {out} = Add({state}, x) }}"


def states(text: str) -> dict[str, str]:
    return {state.input: state.output for state in find_states(ir.from_onnx_text(f"{HEADER} {text}"))}


@pytest.mark.parametrize(
    ("state", "out"),
    [
        ("state", "stateN"),
        ("state", "new_state"),
        ("h", "hn"),
        ("h0", "hn"),
        ("h_in", "h_out"),
        ("c_0", "c_n"),
        ("lstm_cell_in", "lstm_cell_out"),
        ("prev_hidden", "next_hidden"),
        ("conv1_cache", "conv1_cache_out"),
        ("memory", "MemoryOut"),
    ],
)
def test_names_tell_states(state: str, out: str):
    text = f"(float[1, 4] x, float[1, 4] {state}) => (float[1, 4] y, float[1, 4] {out})"
    assert states(f"{text} {{ y = Mul({state}, x) {out} = Add({state}, x) }}") == {state: out}


@pytest.mark.parametrize(
    "ports",
    [
        "(float[1, 4] x, float[1, 4] image) => (float[1, 4] y, float[1, 4] image_out)",
        "(float[1, 4] x, float[1, 4] state) => (float[1, 4] y, float[1, 5] state_out)",
        "(float[1, 4] x, float[1, 4] state) => (float[1, 4] y, float[4] state_out)",
        "(float[1, 4] x, float[1, 4] state) => (float[1, 4] y, float16[1, 4] state_out)",
        "(float[1, 4] x, float[1, 4] state_1) => (float[1, 4] y, float[1, 4] state_2)",
        "(float[1, 4] x, float[1, 4] state) => (float[1, 4] state_out, float[1, 4] new_state)",
        "(float[1, 4] state) => (float[1, 4] y, float[1, 4] state_out)",
    ],
)
def test_what_is_no_state(ports: str):
    assert states(f"{ports} {{ }}") == {}


LSTM = """(float[3, 1, 2] x, float[1, 1, 4] a, float[1, 1, 4] b, float[1, 16, 2] w, float[1, 16, 4] r)
    => (float[3, 1, 1, 4] y, float[1, 1, 4] p, float[1, 1, 4] q)"""


def test_recurrent_operators_tell_states_whatever_the_names():
    text = f"{LSTM} {{ y, q, p = LSTM <hidden_size=4> (x, w, r, , , a, b) }}"
    assert states(text) == {"a": "q", "b": "p"}


def test_a_state_that_is_computed_with_is_left_to_its_name():
    assert states(f"{LSTM} {{ d = Neg(a) y, q, p = LSTM <hidden_size=4> (x, w, r, , , d, b) }}") == {"b": "p"}


def test_states_packed_into_one_tensor():
    text = """(float[3, 1, 2] x, float[2, 1, 4] s, float[1, 16, 2] w, float[1, 16, 4] r)
        => (float[3, 1, 1, 4] y, float[2, 1, 4] t, float[2, 1, 4] u)
        { a, b = Split <axis=0> (s) y, q, p = LSTM <hidden_size=4> (x, w, r, , , a, b)
          t = Concat <axis=0> (q, p) u = Neg(t) }"""
    assert states(text) == {"s": "t"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("silero_vad_16k", {"state": "stateN"}),
        ("dtln_1", {"input_3": "tf_op_layer_stack_2"}),
        ("nnsplit_en", {}),
        ("resnet20_cifar10", {}),
        ("basic_pitch", {}),
    ],
)
def test_real_models(name: str, expected: dict[str, str], shared: Path):
    found = find_states(load_model(shared / "models" / f"{name}.onnx"))
    assert {state.input: state.output for state in found} == expected

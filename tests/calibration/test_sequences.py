from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.collect import observe
from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.observers import Histogram
from onnx_pare.calibration.sequences import SYNTHETIC_STEPS
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import DataError
from onnx_pare.graph.load import load_model
from onnx_pare.progress import Silent

# the state sums up what was fed
TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[{batch}, 2] x, float[{state}] state)
    => (float[{batch}, 2] y, float[{state}] stateN) {{ {body} }}"""
SUM = "stateN = Add(state, x) y = Neg(stateN)"


def model(batch: str = "N", state: str | None = None, body: str = SUM) -> ir.Model:
    return ir.from_onnx_text(TEXT.format(batch=batch, state=state or f"{batch}, 2", body=body))


def data(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "data.npz", **{key: array.astype(np.float32) for key, array in arrays.items()})
    return folder / "data.npz"


ROWS = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize("size", [1, 4, 32])
@pytest.mark.parametrize("batch", ["N", "1", "4"])
def test_a_state_that_the_data_leaves_out_is_carried_through_it(batch: str, size: int, tmp_path: Path):
    samples = open_samples(data(tmp_path, x=ROWS), model(batch))
    fed = [(feeds["state"][:count], feeds["x"][:count]) for feeds, count in samples.batches(size)]
    found, rows = (np.concatenate(parts) for parts in zip(*fed, strict=True))
    np.testing.assert_array_equal(rows, ROWS)
    np.testing.assert_array_equal(found, np.cumsum(ROWS, axis=0) - ROWS)
    (said,) = samples.warnings
    assert said.endswith("'state': it starts at zero and is carried from sample to sample")


def test_a_state_along_another_axis(tmp_path: Path):
    net = model(state="2, N, 2", body="a = Constant <value_ints=[0]> ()  u = Unsqueeze(x, a) "
                "stateN = Add(state, u) y = Neg(x)")  # fmt: skip
    (feeds, count), *_ = open_samples(data(tmp_path, x=ROWS), net).batches(32)
    assert (feeds["state"].shape, count) == ((2, 6, 2), 6)
    np.testing.assert_array_equal(feeds["state"][1], np.cumsum(ROWS, axis=0) - ROWS)


def test_a_state_that_is_given_is_taken(tmp_path: Path):
    samples = open_samples(data(tmp_path, x=ROWS, state=ROWS + 1), model())
    (feeds, _), *_ = samples.batches(32)
    np.testing.assert_array_equal(feeds["state"], ROWS + 1)
    assert samples.warnings == ()


def test_fewer_samples_are_a_stretch_of_them(tmp_path: Path):
    samples = open_samples(data(tmp_path, x=ROWS), model(), limit=3)
    (feeds, count), *_ = samples.batches(32)
    assert count == len(samples) == 3
    np.testing.assert_array_equal(np.diff(feeds["x"], axis=0), np.full((2, 2), 2.0))


def test_synthetic_states_start_over():
    samples = synthetic_samples(model(), count=2 * SYNTHETIC_STEPS + 1)
    rows = [(feeds["x"][0], feeds["state"][0]) for feeds in samples]
    x, state = (np.array(parts) for parts in zip(*rows, strict=True))
    for start in (0, SYNTHETIC_STEPS):
        part = slice(start, start + SYNTHETIC_STEPS)
        np.testing.assert_allclose(state[part], np.cumsum(x[part], axis=0) - x[part], atol=1e-5)
    assert not state[-1].any()
    assert samples.source == f"synthetic (seed 0), state 'state' carried over {SYNTHETIC_STEPS} runs"


def test_a_state_that_cannot_be_carried_is_noise_and_said_so():
    net = model(batch="1", state="1, M", body="stateN = Concat <axis=1> (state, x) y = Neg(x)")
    samples = synthetic_samples(net, count=2, shapes={"state": (1, 2)})
    assert all(feeds["state"].any() for feeds in samples)
    (said,) = samples.warnings
    assert said == (
        "the state 'state' is noise, as it cannot be carried over: synthetic (seed 0): output 'stateN' has"
        " shape (1, 4), its state 'state' (1, 2)"
    )


def test_data_without_a_state_that_cannot_be_carried_is_refused(tmp_path: Path):
    net = model(batch="1", state="1, M", body="stateN = Concat <axis=1> (state, x) y = Neg(x)")
    with pytest.raises(DataError, match="the shape of the state 'state' is open"):
        open_samples(data(tmp_path, x=ROWS), net)
    with pytest.raises(DataError, match=r"data\.npz: output 'stateN' has shape \(1, 4\)"):
        open_samples(data(tmp_path, x=ROWS), net, shapes={"state": (1, 2)})


@pytest.mark.parametrize(
    ("name", "shapes", "state"),
    [
        ("silero_vad_16k", {"input": (1, 576), "state": (2, 1, 128)}, "state"),
        ("dtln_1", None, "input_3"),
    ],
)
def test_real_recurrent_models_get_real_states(name, shapes, state, shared: Path, tmp_path: Path):
    net = load_model(shared / "models" / f"{name}.onnx")
    samples = synthetic_samples(net, count=40, shapes=shapes)
    seen = {state: Histogram()}
    observe(net, seen, samples, scratch=tmp_path, threads=1, progress=Silent())
    low, high = seen[state].extremes.range()
    assert seen[state].zeros >= 3 * np.prod(next(iter(samples))[state].shape)
    # cells of a long short-term memory move by at most 1 in a run
    assert 1 < max(-low, high) <= SYNTHETIC_STEPS

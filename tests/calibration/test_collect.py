from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration import collect
from onnx_pare.calibration.collect import exposed, observe
from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.observers import MinMax
from onnx_pare.errors import DataError
from onnx_pare.graph.save import serialize
from onnx_pare.graph.session import Session
from onnx_pare.progress import Silent

TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[{batch}, 3] x) => (float[{batch}, 3] y)
    {{ n = Neg(x) r = Relu(n) y = Exp(r) }}"""


def model(batch: str = "N") -> ir.Model:
    return ir.from_onnx_text(TEXT.format(batch=batch))


def data(folder: Path, array: np.ndarray) -> Path:
    np.savez(folder / "data.npz", x=array.astype(np.float32))
    return folder / "data.npz"


def ranges(net: ir.Model, path: Path, *names: str) -> dict[str, tuple[float, float]]:
    samples = open_samples(path, net)
    observers = {name: MinMax() for name in names}
    observe(net, observers, samples, scratch=path.parent, threads=1, progress=Silent())
    return {name: observer.range() for name, observer in observers.items()}


@pytest.mark.parametrize("group_bytes", [1, collect.GROUP_BYTES])
@pytest.mark.parametrize("batch", ["N", "1", "4"])
def test_every_sample_is_seen_once_whatever_the_batch_and_in_however_many_runs(
    batch: str, group_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(collect, "GROUP_BYTES", group_bytes)
    values = np.arange(18).reshape(6, 3) - 10.0
    found = ranges(model(batch), data(tmp_path, values), "x", "n", "r", "y")
    assert found["x"] == (-10, 7)
    assert found["n"] == (-7, 10)
    assert found["r"] == (0, 10)
    assert found["y"] == pytest.approx((1, np.exp(10)), rel=1e-6)


def test_padding_of_the_last_batch_is_not_counted(tmp_path: Path):
    class Counting:
        def __init__(self) -> None:
            self.rows = 0

        def update(self, array: np.ndarray) -> None:
            self.rows += len(array)

    net = model("4")
    counting = {"n": Counting(), "x": Counting()}
    samples = open_samples(data(tmp_path, np.ones((6, 3))), net)
    observe(net, counting, samples, scratch=tmp_path, threads=1, progress=Silent())
    assert [observer.rows for observer in counting.values()] == [6, 6]


def test_a_weight_that_callers_may_override_shows_its_default(tmp_path: Path):
    net = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x, float[3] w) => (float[N, 3] y)
        <float[3] w = {-1.0, 2.0, 5.0}> { y = Mul(x, w) }"""
    )
    assert ranges(net, data(tmp_path, np.ones((2, 3))), "w", "y") == {"w": (-1, 5), "y": (-1, 5)}
    assert ranges(net, data(tmp_path, np.ones((2, 3))), "w") == {"w": (-1, 5)}


def test_the_model_is_not_changed_and_no_file_stays(tmp_path: Path):
    net = model()
    before = serialize(net)
    with exposed(net, ["n", "y", "x"], tmp_path) as path:
        assert Session(path).outputs == ("y", "n")
    assert serialize(net) == before
    assert list(tmp_path.iterdir()) == []


def test_data_the_model_does_not_run_on_is_named(tmp_path: Path):
    net = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]> g (int64[N] x) => (float[N] y) <float[2] w = {1.0, 2.0}>
        { y = Gather(w, x) }"""
    )
    np.savez(tmp_path / "data.npz", x=np.array([0, 7]))
    with pytest.raises(DataError, match=r"data\.npz: the model does not run on it"):
        ranges(net, tmp_path / "data.npz", "y")


def test_how_long_it_takes_is_said_after_the_first_batch(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    labels = []

    class Recording(Silent):
        def task(self, label, total):
            labels.append((label, total))
            return super().task(label, total)

    net = model()
    samples = open_samples(data(tmp_path, np.ones((70, 3))), net)
    with caplog.at_level("INFO", logger="onnx_pare"):
        observe(net, {"n": MinMax()}, samples, scratch=tmp_path, threads=1, progress=Recording())
    assert labels == [(caplog.messages[0], 70)]
    assert re.fullmatch(r"calibrating 70 samples: about 0\.\d s, 0\.0 MB beside the model", labels[0][0])

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from onnx_pare.pipeline.plan import Job
from onnx_pare.pipeline.recipe import Recipe, load_recipe
from onnx_pare.zoo import identity
from onnx_pare.zoo.identity import digest, key, named_files

from .conftest import save_net


@pytest.fixture
def job(tmp_path: Path, recipe: Recipe) -> Job:
    return Job(save_net(tmp_path / "net.onnx"), recipe)


def key_of(job: Job) -> str:
    return key(job, {str(path): digest(path) for path in named_files(job.recipe)})


@pytest.mark.parametrize(
    "change",
    [
        lambda job, text: replace(job, seed=1),
        lambda job, text: replace(job, shapes={"x": (1, 16)}),
        lambda job, text: replace(job, recipe=load_recipe(text, ["calibration.samples=3"])),
        lambda job, text: replace(job, model=save_net(job.model, 17)),
    ],
)
def test_what_decides_the_result_is_in_it(
    job: Job, recipe_file: Path, change: Callable[[Job, str], Job]
) -> None:
    before = key_of(job)
    assert key_of(change(job, str(recipe_file))) != before


def test_the_version_is_in_it(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(job)
    monkeypatch.setattr(identity, "__version__", "99")
    assert key_of(job) != before


def test_where_things_lie_is_not(job: Job, tmp_path: Path) -> None:
    moved = replace(
        job, model=job.model.rename(tmp_path / "moved.onnx"), command="x", output=tmp_path / "o.onnx"
    )
    assert key_of(moved) == key_of(replace(job, model=moved.model))


def test_external_data_counts_and_is_never_read_elsewhere(job: Job, tmp_path: Path) -> None:
    proto = onnx.load(str(job.model))
    tensor = proto.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    job.model.write_bytes(proto.SerializeToString())
    (tmp_path / "w.bin").write_bytes(data)
    keys = [key_of(job)]
    (tmp_path / "w.bin").write_bytes(data[::-1])
    keys.append(key_of(job))
    os.unlink(tmp_path / "w.bin")  # noqa: PTH108
    os.mkfifo(tmp_path / "w.bin")  # reading it would never end
    keys.append(key_of(job))
    tensor.external_data[0].value = "/etc/passwd"
    job.model.write_bytes(proto.SerializeToString())
    keys.append(key_of(job))
    assert len(set(keys)) == 4


def test_data_and_profiles_count_by_content(job: Job, recipe_file: Path, tmp_path: Path) -> None:
    for name in ("data", "copy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.npy").write_bytes(b"0")

    def of(data: str) -> str:
        return key_of(replace(job, recipe=load_recipe(str(recipe_file), [f"calibration.data={data}"])))

    assert of("data") == of("copy")
    (tmp_path / "copy" / "0.npy").write_bytes(b"1")
    assert of("data") != of("copy")
    (tmp_path / "copy" / "0.npy").write_bytes(b"0")
    (tmp_path / "copy" / "0.npy").rename(tmp_path / "copy" / "1.npy")
    assert of("data") != of("copy")


def test_a_file_that_is_no_model_has_a_key(job: Job) -> None:
    job.model.write_bytes(b"no model")
    before = key_of(job)
    job.model.write_bytes(b"no model either")
    assert key_of(job) != before


def test_a_missing_model_has_none(job: Job) -> None:
    job.model.unlink()
    with pytest.raises(FileNotFoundError):
        key_of(job)

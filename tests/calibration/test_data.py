from __future__ import annotations

import numpy as np
import onnx
import pytest
from PIL import Image

from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.errors import DataError

RAW = PRESETS["raw"]
X = np.arange(40, dtype=np.float32).reshape(10, 4)


def feeds_of(samples, name="x"):
    return np.concatenate([feeds[name] for feeds in samples])


@pytest.fixture
def flat(make_model):
    return make_model("float[N, 4] x")


@pytest.fixture
def pair(make_model):
    model = make_model("float[N, 4] a, float[N, 2] b")
    model.graph.inputs[1].name = "b/0"
    return model


def save_images(folder, count=6, size=(8, 8)):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", size, (i, 2 * i, 3 * i)).save(folder / f"{i}.png")
    return folder


# images


@pytest.fixture
def image_model(make_model):
    return make_model("float[N, 3, 8, 8] x")


def test_images_in_a_folder_and_those_within_sorted(image_model, tmp_path):
    save_images(tmp_path / "b", 2)
    Image.new("RGB", (9, 30), (50, 50, 50)).save(tmp_path / "a.JPG")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._a.jpg").write_text("no image either")
    samples = open_samples(tmp_path, image_model, preprocess=RAW)
    assert (len(samples), samples.source, samples.random, samples.warnings) == (3, str(tmp_path), False, ())
    assert [feeds["x"][0, 0, 0, 0] for feeds in samples] == [50, 0, 1]
    assert [feeds["x"].shape for feeds, _ in samples.batches(2)] == [(2, 3, 8, 8), (1, 3, 8, 8)]


def test_a_limit_draws_by_seed_and_keeps_the_order(image_model, tmp_path):
    save_images(tmp_path, 10)

    def drawn(seed):
        samples = open_samples(tmp_path, image_model, preprocess=RAW, limit=4, seed=seed)
        return [int(feeds["x"][0, 0, 0, 0]) for feeds in samples]

    assert drawn(1) == drawn(1) == sorted(set(drawn(1)))
    assert len(drawn(1)) == 4
    assert drawn(1) != drawn(2)


def test_images_that_do_not_decode_are_left_out_and_named(image_model, tmp_path):
    save_images(tmp_path, 3)
    (tmp_path / "1.png").write_text("no image")
    samples = open_samples(tmp_path, image_model, preprocess=RAW)
    assert len(samples) == len(list(samples)) == 2
    (warning,) = samples.warnings
    assert "1 of 3 images do not decode: 1.png (cannot identify" in warning
    for name in ("0.png", "2.png"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(DataError, match=r"3 of 3 images do not decode: 0\.png .*2\.png"):
        open_samples(tmp_path, image_model, preprocess=RAW)


def test_a_single_image(image_model, tmp_path):
    save_images(tmp_path, 1)
    assert len(open_samples(tmp_path / "0.png", image_model, preprocess=RAW)) == 1


def test_images_feed_one_input_only(pair, tmp_path):
    with pytest.raises(DataError, match="images feed one input, the model has 2: a, b/0"):
        open_samples(save_images(tmp_path), pair, preprocess=RAW)


def test_images_for_a_free_size(make_model, tmp_path):
    model = make_model("float[N, 3, H, W] x")
    save_images(tmp_path, 2)
    save_images(tmp_path / "z", 2, size=(5, 6))
    shapes = [feeds["x"].shape for feeds, _ in open_samples(tmp_path, model, preprocess=RAW).batches(8)]
    assert shapes == [(2, 3, 8, 8), (2, 3, 6, 5)]
    given = open_samples(tmp_path, model, preprocess=PRESETS["imagenet"], shapes={"x": (1, 3, 4, 6)})
    assert [feeds["x"].shape for feeds, _ in given.batches(8)] == [(4, 3, 4, 6)]


# arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_by_the_inputs_name_or_x(make_model, flat, tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, x=X, y=np.arange(10))
    samples = open_samples(path, flat)
    np.testing.assert_array_equal(feeds_of(samples), X)
    assert (len(samples), samples.warnings) == (10, ())
    named = make_model("float[N, 4] image")
    np.testing.assert_array_equal(feeds_of(open_samples(path, named), "image"), X)
    save(path, image=X + 1, x=X)
    samples = open_samples(path, named, limit=3, seed=4)
    assert len(samples) == 3
    assert set(feeds_of(samples, "image")[:, 0]) <= set(X[:, 0] + 1)
    assert samples.warnings == (f"{path}: not used: x",)


def test_an_npz_for_several_inputs(pair, tmp_path):
    np.savez(tmp_path / "a.npz", **{"a": X, "b/0": X[:, :2] + 1})
    samples = open_samples(tmp_path / "a.npz", pair)
    for feeds, _ in samples.batches(4):
        np.testing.assert_array_equal(feeds["a"][:, :2] + 1, feeds["b/0"])
    np.savez(tmp_path / "a.npz", **{"a": X, "b/0": X[:9, :2]})
    with pytest.raises(DataError, match="different numbers of samples: 'a' 10, 'b/0' 9"):
        open_samples(tmp_path / "a.npz", pair)


def test_missing_inputs_are_named_with_what_was_found(flat, pair, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=X, b0=X[:, :2])
    with pytest.raises(
        DataError, match=r"nothing for the input 'b/0' \(float32, N×2\); found 'a', 'b0'"
    ) as e:
        open_samples(path, pair)
    assert "Did you mean 'b/0' by 'b0'?" in e.value.hint
    np.savez(path, X)
    with pytest.raises(DataError, match="found 'arr_0'") as e:
        open_samples(path, flat)
    assert "(or 'x', as it is the only one)" in e.value.hint
    np.savez(path)
    with pytest.raises(DataError, match="found nothing"):
        open_samples(path, flat)


def test_small_arrays_are_searched_for_nan_at_once_and_large_ones_when_read(flat, tmp_path, monkeypatch):
    spoiled = X.copy()
    spoiled[7, 1] = np.nan
    np.savez(tmp_path / "a.npz", x=spoiled)
    with pytest.raises(DataError, match=r"a\.npz: 'x': sample 7 \(counted from 0\) holds NaN"):
        open_samples(tmp_path / "a.npz", flat)
    monkeypatch.setattr("onnx_pare.calibration.array_sets.CHECKED_AT_ONCE_BYTES", 0)
    samples = open_samples(tmp_path / "a.npz", flat)
    with pytest.raises(DataError, match="sample 7"):
        list(samples)


def test_a_folder_of_npy_files_of_samples_and_batches(flat, tmp_path):
    (tmp_path / "more").mkdir()
    np.save(tmp_path / "0.npy", X[0])
    np.save(tmp_path / "1.npy", X[1:6])
    np.save(tmp_path / "more" / "2.npy", X[6:])
    samples = open_samples(tmp_path, flat)
    np.testing.assert_array_equal(feeds_of(samples), X)
    some = open_samples(tmp_path, flat, limit=5, seed=3)
    assert set(feeds_of(some)[:, 0]) < set(X[:, 0])
    assert len(feeds_of(some)) == 5
    np.testing.assert_array_equal(feeds_of(open_samples(tmp_path / "1.npy", flat)), X[1:6])


def test_npy_files_and_folders_for_several_inputs(pair, tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b_0.npy", X[:, :2])
    assert len(open_samples(tmp_path, pair)) == 10
    (tmp_path / "a.npy").unlink()
    (tmp_path / "b_0.npy").unlink()
    for name, array in (("a", X), ("b_0", X[:, :2])):
        (tmp_path / name).mkdir()
        for i in range(3):
            np.save(tmp_path / name / f"{i}.npy", array[i : i + 2])
    assert len(open_samples(tmp_path, pair)) == 6
    (tmp_path / "a" / "0.npy").unlink()
    with pytest.raises(DataError, match="different numbers of files: 'a' 2, 'b/0' 3"):
        open_samples(tmp_path, pair)
    with pytest.raises(DataError, match=r"nothing for the inputs 'a' .*, 'b/0'"):
        open_samples(tmp_path / "b_0" / "1.npy", pair)


def save_test_set(folder, *arrays):
    folder.mkdir(parents=True)
    for i, array in enumerate(arrays):
        (folder / f"input_{i}.pb").write_bytes(onnx.numpy_helper.from_array(array).SerializeToString())
    (folder / "output_0.pb").write_bytes(b"")


def test_onnx_test_data_sets(pair, tmp_path):
    for i in range(11):
        save_test_set(tmp_path / f"test_data_set_{i}", X[:1] + i, X[:1, :2] + i)
    samples = open_samples(tmp_path, pair)
    assert [feeds["a"][0, 0] for feeds in samples] == list(range(11))
    assert len(open_samples(tmp_path / "test_data_set_3", pair)) == 1
    (tmp_path / "test_data_set_10" / "input_1.pb").unlink()
    with pytest.raises(
        DataError, match=r"test_data_set_10: nothing for the input 'b/0' .* found 'input_0\.pb'"
    ):
        open_samples(tmp_path, pair)


def test_a_fixed_batch_and_a_scalar(make_model, tmp_path):
    model = make_model("float[4, 4] a, int64 sr")
    np.savez(tmp_path / "a.npz", a=X, sr=np.int64(16000))
    batches = list(open_samples(tmp_path / "a.npz", model).batches(1))
    assert [count for _, count in batches] == [4, 4, 2]
    assert all(feeds["a"].shape == (4, 4) and feeds["sr"] == 16000 for feeds, _ in batches)


# what cannot be read


def test_missing_empty_and_unknown(flat, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file or folder") as caught:
        open_samples(tmp_path / "nowhere", flat)
    assert "a folder of images" in caught.value.hint
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: the folder is empty"):
        open_samples(tmp_path / "empty", flat)
    (tmp_path / "a.npz").touch()
    with pytest.raises(DataError, match=r"a\.npz: the file is empty"):
        open_samples(tmp_path / "a.npz", flat)
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"a\.csv: not a known kind"):
        open_samples(tmp_path / "a.csv", flat)
    (tmp_path / "empty" / "a.txt").write_text("1")
    with pytest.raises(DataError, match="holds no images"):
        open_samples(tmp_path / "empty", flat)
    np.savez(tmp_path / "empty" / "a.npz", x=X)
    with pytest.raises(DataError) as caught:
        open_samples(tmp_path / "empty", flat)
    assert "Give the file itself" in caught.value.hint


def test_images_beside_arrays_are_ambiguous(image_model, tmp_path):
    save_images(tmp_path, 1)
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(DataError, match=r"holds images \(0\.png\) and arrays \(a\.npy\)"):
        open_samples(tmp_path, image_model, preprocess=RAW)


def test_a_limit_below_one(flat, tmp_path):
    np.savez(tmp_path / "a.npz", x=X)
    with pytest.raises(DataError, match="0 samples asked for"):
        open_samples(tmp_path / "a.npz", flat, limit=0)

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onnx_pare.calibration.labelled import class_count, open_labelled
from onnx_pare.calibration.preprocess import PRESETS
from onnx_pare.errors import DataError
from onnx_pare.graph.load import load_model
from onnx_pare.graph.session import Session

X = np.arange(20, dtype=np.float32).reshape(5, 4)
Y = np.array([3, 1, 4, 1, 5])


@pytest.fixture
def flat(make_model):
    return make_model("float[N, 4] x", "float[N, 6] y")


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    return write


@pytest.mark.parametrize(
    "y",
    [Y, Y.astype(np.uint8), Y[:, None], np.eye(6)[Y], np.eye(6, dtype=np.int8)[Y]],
    ids=lambda y: f"{y.dtype}",
)
def test_labels_are_indices_or_one_hot(flat, save, y):
    labelled = open_labelled(save(x=X, y=y), flat)
    np.testing.assert_array_equal(labelled.labels, Y)
    assert labelled.labels.dtype == np.int64
    assert len(labelled.samples) == 5
    assert labelled.samples.warnings == ()


def test_a_limit_keeps_labels_beside_their_samples(flat, save):
    labelled = open_labelled(save(x=X, y=Y), flat, limit=3, seed=1)
    for feeds, label in zip(labelled.samples, labelled.labels, strict=True):
        assert Y[int(feeds["x"][0, 0]) // 4] == label


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "holds no labels 'y'; found 'x'"),
        ({"x": X, "y": Y[:4]}, "4 labels in 'y' for 5 samples"),
        ({"x": X, "y": Y + 1}, "label 6 is out of range; labels are 0 to 5, as the model has 6 classes"),
        ({"x": X, "y": Y - 2}, "label -1 is out of range"),
        ({"x": X, "y": Y / 1.0}, "type float64"),
        ({"x": X, "y": np.ones((5, 6))}, "not one-hot"),
        ({"x": X, "y": Y[:0]}, "'y' is empty"),
        ({"x": X, "y": np.array(["abcde"])}, "not numbers"),
    ],
)
def test_labels_that_do_not_fit(flat, save, arrays, message):
    with pytest.raises(DataError, match=message):
        open_labelled(save(**arrays), flat)


def test_the_number_of_classes(make_model):
    assert class_count(make_model("float[N, 4] x", "float[N, 10, 1, 1] y")) == 10
    assert class_count(make_model("float[N, 4] x", "float[N, C] y")) is None
    assert class_count(make_model("float[N, 4] x", "float[N, 10, 5] y")) is None


# folders of images


def save_classes(folder, *names):
    for value, name in enumerate(names):
        (folder / name).mkdir()
        for i in range(2):
            Image.new("RGB", (4, 4), (value, 0, 0)).save(folder / name / f"{i}.png")


@pytest.fixture
def image_model(make_model):
    return make_model("float[N, 3, 4, 4] x", "float[N, 3] y")


def classes(path, model, **options):
    labelled = open_labelled(path, model, preprocess=PRESETS["raw"], **options)
    reds = [int(feeds["x"][0, 0, 0, 0]) for feeds in labelled.samples]
    return list(zip(reds, labelled.labels.tolist(), strict=True))


def test_folders_in_order_of_their_names(image_model, tmp_path):
    save_classes(tmp_path, "cat", "ant", "bee")
    assert classes(tmp_path, image_model) == [(1, 0), (1, 0), (2, 1), (2, 1), (0, 2), (0, 2)]
    assert set(classes(tmp_path, image_model, limit=3)) <= {(1, 0), (2, 1), (0, 2)}


def test_folders_named_by_index(image_model, tmp_path):
    save_classes(tmp_path, "02", "1")
    assert classes(tmp_path, image_model) == [(1, 1), (1, 1), (0, 2), (0, 2)]
    save_classes(tmp_path, "7")
    with pytest.raises(DataError, match="label 7 is out of range"):
        classes(tmp_path, image_model)


def test_names_need_as_many_folders_as_classes(image_model, tmp_path):
    save_classes(tmp_path, "ant", "bee")
    with pytest.raises(DataError, match="2 class folders, but the model has 3 classes") as caught:
        classes(tmp_path, image_model)
    assert "index" in caught.value.hint


def test_an_image_that_does_not_decode_takes_its_label_along(image_model, tmp_path):
    save_classes(tmp_path, "ant", "bee", "cat")
    (tmp_path / "bee" / "0.png").write_text("no image")
    assert classes(tmp_path, image_model) == [(0, 0), (0, 0), (1, 1), (2, 2), (2, 2)]


def test_no_labels(image_model, flat, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_labelled(tmp_path / "nowhere", flat)
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(DataError, match=r"a\.npy: holds no labels"):
        open_labelled(tmp_path / "a.npy", flat)
    with pytest.raises(DataError, match="holds no folder for each class"):
        open_labelled(tmp_path, image_model, preprocess=PRESETS["raw"])
    for name in "abc":
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="no images in the folders"):
        open_labelled(tmp_path, image_model, preprocess=PRESETS["raw"])


# real models: the accuracy published with them, on the first 300 samples drawn by seed 0


@pytest.mark.parametrize(
    ("name", "data", "preset", "published"),
    [
        ("resnet20_cifar10", "cifar10", "imagenet", 0.905),
        ("alibaba_mobilenet_cifar10", "cifar10", "imagenet", 0.827),
        ("mlperf_tiny_resnet8_cifar10", "cifar10", "raw", 0.860),
        ("mlperf_tiny_kws_dscnn", "kws", None, 0.915),
    ],
)
def test_accuracy_of_real_models(shared, name, data, preset, published):
    path = shared / "models" / f"{name}.onnx"
    labelled = open_labelled(
        shared / "data" / f"{data}_validation.npz",
        load_model(path),
        preprocess=PRESETS.get(preset),
        limit=300,
    )
    session, guesses = Session(path), []
    for feeds, count in labelled.samples.batches(50):
        guesses += session.run(feeds)[0].argmax(axis=-1)[:count].tolist()
    accuracy = np.mean(np.array(guesses) == labelled.labels)
    assert abs(accuracy - published) < 0.05

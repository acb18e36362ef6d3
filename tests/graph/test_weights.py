"""Contents that do not fit, and external data that lies elsewhere, are found before anything is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_pare.errors import ModelError
from onnx_pare.graph.load import load_model

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)


def model_with(tensor: onnx.TensorProto, path: Path) -> Path:
    tensor.name = "w"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [2])],
        [value("y", TensorProto.FLOAT, [2])],
        [tensor],
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )
    return path


def external(location: str, **fields: object) -> onnx.TensorProto:
    tensor = TensorProto(dims=WEIGHT.shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **fields}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def refused(tensor: onnx.TensorProto, folder: Path, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        load_model(model_with(tensor, folder / "m.onnx"))
    assert "tensor 'w'" in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for models with a good data file in it, and one outside of it."""
    inside = tmp_path / "models"
    (inside / "sub").mkdir(parents=True)
    for file in (inside / "w.bin", inside / "sub" / "w.bin", tmp_path / "outside.bin"):
        file.write_bytes(WEIGHT.tobytes())
    return inside


@pytest.mark.parametrize(
    "tensor", [external("w.bin"), external("sub/w.bin", offset=0, length=24), external("./w.bin", length=24)]
)
def test_data_inside_the_folder_is_read(tensor: onnx.TensorProto, folder: Path) -> None:
    weight = load_model(model_with(tensor, folder / "m.onnx")).graph.initializers["w"].const_value
    assert weight is not None
    np.testing.assert_array_equal(weight.numpy(), WEIGHT)


@pytest.mark.parametrize(
    "location",
    ["../outside.bin", "sub/../../outside.bin", "sub/../w.bin", "/etc/hostname", "", "a\0b", "C:\\w.bin",
     "..\\outside.bin", "\\\\host\\share\\w.bin"],
)  # fmt: skip
def test_paths_that_leave_the_folder(location: str, folder: Path) -> None:
    refused(external(location), folder, "leaves the model's folder")


@pytest.mark.parametrize("location", ["w.bin/", "w.bin/.", "."])
def test_paths_that_name_a_folder(location: str, folder: Path) -> None:
    refused(external(location), folder, "names a folder")


def test_links_that_leave_the_folder(folder: Path) -> None:
    (folder / "link.bin").symlink_to("../outside.bin")
    (folder / "up").symlink_to("..")
    (folder / "loop.bin").symlink_to("loop.bin")
    os.link(folder.parent / "outside.bin", folder / "hard.bin")
    refused(external("link.bin"), folder, "link that leaves the model's folder")
    refused(external("up/outside.bin"), folder, "link that leaves the model's folder")
    refused(external("hard.bin"), folder, "is a hard link")
    refused(external("loop.bin"), folder, "cannot be read")


def test_links_inside_the_folder_are_followed(folder: Path) -> None:
    (folder / "link.bin").symlink_to("sub/w.bin")
    load_model(model_with(external("link.bin"), folder / "m.onnx"))


def test_what_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    refused(external("missing.bin"), folder, "is missing")
    refused(external("w.bin/deeper"), folder, "cannot be read")
    refused(external("sub"), folder, "is not a regular file")
    refused(external("fifo"), folder, "is not a regular file")
    refused(external("n" * 400), folder, "cannot be read")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"offset": 1}, "too short: needs 25 bytes, has 24"),
        ({"offset": 9223372036854775807}, "too short"),
        ({"offset": -8}, "offset '-8' is not a possible number"),
        ({"offset": "1e3"}, "is not a possible number"),
        ({"length": "٣"}, "is not a possible number"),
        ({"length": 99999999999999999999999}, "is not a possible number"),
        ({"length": 23}, "gives 23 bytes, its type and shape need 24"),
        ({"length": 25}, "gives 25 bytes"),
    ],
)
def test_offsets_and_lengths(fields: dict[str, object], said: str, folder: Path) -> None:
    refused(external("w.bin", **fields), folder, said)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (TensorProto(dims=[1 << 62], data_type=1, raw_data=b"1234"), "impossible shape"),
        (TensorProto(dims=[1 << 32, 1 << 31], data_type=1), "impossible shape"),
        (TensorProto(dims=[0, 1 << 62], data_type=1), "impossible shape"),
        (TensorProto(dims=[1 << 30], data_type=1), "holds 0 bytes"),
        (TensorProto(dims=[-1], data_type=1, raw_data=b"1234"), "impossible shape"),
        (TensorProto(dims=[2], data_type=1, raw_data=b"1234"), "holds 4 bytes, its type and shape .* need 8"),
        (TensorProto(dims=[2], data_type=1, float_data=[1.0]), "holds 4 bytes"),
        (TensorProto(dims=[2], data_type=7, float_data=[1.0, 2.0]), "holds 0 bytes"),
        (TensorProto(dims=[2], data_type=8, string_data=[b"a"]), "holds 1 strings"),
        (TensorProto(dims=[2], data_type=99, raw_data=b"1234"), "unknown element type 99"),
        (TensorProto(dims=[2], data_type=0, raw_data=b"1234"), "unknown element type 0"),
    ],
)
def test_contents_that_do_not_fit(tensor: onnx.TensorProto, said: str, tmp_path: Path) -> None:
    refused(tensor, tmp_path, said)


@pytest.mark.parametrize(
    "name",
    ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64",
     "UINT64", "BOOL", "COMPLEX64", "COMPLEX128", "FLOAT8E4M3FN", "FLOAT8E5M2", "INT4", "UINT4"],
)  # fmt: skip
@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_type_in_both_forms(name: str, count: int, tmp_path: Path) -> None:
    kind = getattr(TensorProto, name)
    typed = helper.make_tensor("w", kind, [count], [1] * count)
    raw = numpy_helper.from_array(numpy_helper.to_array(typed), "w")
    for tensor in (typed, raw):
        weight = load_model(model_with(tensor, tmp_path / "m.onnx")).graph.initializers["w"].const_value
        assert weight is not None
        assert weight.numpy().shape == (count,)

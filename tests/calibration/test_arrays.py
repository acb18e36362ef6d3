from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import onnx
import pytest

from onnx_pare.calibration.arrays import open_npy, open_npz, open_proto
from onnx_pare.errors import DataError

X = np.arange(60, dtype=np.float32).reshape(5, 3, 4)


@pytest.fixture(params=["stored", "deflated", "npy", "fortran", "big endian", "proto"])
def array(request, tmp_path):
    if request.param == "proto":
        (tmp_path / "a.pb").write_bytes(onnx.numpy_helper.from_array(X).SerializeToString())
        return open_proto(tmp_path / "a.pb")
    if request.param == "npy":
        np.save(tmp_path / "a.npy", X)
        return open_npy(tmp_path / "a.npy")
    save = np.savez_compressed if request.param == "deflated" else np.savez
    content = {"fortran": np.asfortranarray(X), "big endian": X.astype(">f4")}.get(request.param, X)
    save(tmp_path / "a.npz", x=content)
    return open_npz(tmp_path / "a.npz")["x"]


def test_rows_are_those_of_the_array(array):
    assert array.shape == X.shape
    np.testing.assert_array_equal(array.whole(), X)
    for chosen in ([0, 1, 2, 3, 4], [1, 4], [3], []):
        np.testing.assert_array_equal(np.concatenate([X[:0], *array.rows(0, chosen)]), X[chosen])
    np.testing.assert_array_equal(np.concatenate(list(array.rows(1, [0, 2])), 1), X[:, [0, 2]])


def test_a_scalar(tmp_path):
    np.save(tmp_path / "a.npy", np.int64(16000))
    assert open_npy(tmp_path / "a.npy").whole() == 16000


def test_only_a_row_is_held_at_a_time(tmp_path):
    import tracemalloc

    np.savez(tmp_path / "a.npz", x=np.zeros((64, 1 << 16), np.float32))
    array = open_npz(tmp_path / "a.npz")["x"]
    tracemalloc.start()
    for _ in array.rows(0, range(64)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20  # of 16 MiB


def damaged(tmp_path, content, name="a.npz"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def npz_bytes(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_damaged_files_are_named(tmp_path):
    whole = npz_bytes(x=X)
    for content in (b"no zip", whole[: len(whole) // 2]):
        with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz file"):
            open_npz(damaged(tmp_path, content))
    npy = io.BytesIO()
    np.save(npy, X)
    braces = npy.getvalue().replace(b")", b"9")
    for content in (npy.getvalue()[:-1], npy.getvalue()[:20], b"\x93NUMPY\x09\x00", b"text", braces):
        with pytest.raises(DataError, match=r"a\.npy: not a readable array, or cut short"):
            open_npy(damaged(tmp_path, content, "a.npy"))
    flipped = bytearray(whole)
    flipped[400] ^= 255  # in the data: the checksum tells
    with pytest.raises(DataError, match=r"a\.npz: 'x': .*CRC"):
        open_npz(damaged(tmp_path, bytes(flipped)))["x"].whole()


@pytest.mark.parametrize("shape", [(1 << 60,), (-3, 4)])
def test_a_header_that_promises_too_much(tmp_path, shape):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with pytest.raises(DataError, match="needs more than"):
        open_npy(damaged(tmp_path, header.getvalue(), "a.npy"))


def test_a_header_without_end(tmp_path):
    header = (b"-" * 9000 + b"1").ljust(9999) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(DataError, match="not a readable array"):
        open_npy(damaged(tmp_path, content, "a.npy"))


def test_more_than_the_memory_is_not_read(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", X)
    monkeypatch.setattr("onnx_pare.calibration.arrays.memory_bytes", lambda: X.nbytes - 1)
    with pytest.raises(DataError, match=r"a\.npy: has 0\.0 GB, there are 0\.0 GB of memory"):
        open_npy(tmp_path / "a.npy").whole()


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs_packed_as_numpy_packs_none(tmp_path, packing):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", packing) as archive:
        archive.writestr("x.npy", bytes(1 << 20))
    with pytest.raises(DataError, match=r"'x\.npy' is compressed in a way that numpy does not use"):
        open_npz(tmp_path / "a.npz")


def test_a_member_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(DataError, match=r"'notes\.txt': not a readable array"):
        open_npz(tmp_path / "a.npz")


def test_pickles_are_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}, []], dtype=object))
    with pytest.raises(DataError, match="pickled Python objects"):
        open_npz(tmp_path / "a.npz")
    with pytest.raises(DataError, match="not a readable array"):
        open_npy(damaged(tmp_path, pickle.dumps(1), "a.npy"))


def test_text_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array(["a", "b"]))
    with pytest.raises(DataError, match="holds <U1, not numbers"):
        open_npz(tmp_path / "a.npz")


def test_protos_that_hold_no_tensor(tmp_path):
    for content in (b"", b"\xff\xff\xff\xff", b"text"):
        with pytest.raises(DataError, match="not a readable TensorProto"):
            open_proto(damaged(tmp_path, content, "a.pb"))

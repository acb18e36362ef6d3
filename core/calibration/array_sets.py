"""Sets of arrays on disk as samples: `.npz`, `.npy`, folders of `.npy`, ONNX test data sets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from onnx_pare.calibration.arrays import StoredArray, open_npy, open_npz, open_proto
from onnx_pare.calibration.fit import Feeder, feeder
from onnx_pare.calibration.inputs import ModelInputs
from onnx_pare.calibration.preprocess import Preprocessing
from onnx_pare.calibration.stream import Stream
from onnx_pare.errors import DataError
from onnx_pare.graph.session import Feeds

# keys of an .npz that name no input: the only input, and the labels
DATA_KEY, LABEL_KEY = "x", "y"
# arrays up to this size are searched for NaN before the work starts, larger ones as they are read
CHECKED_AT_ONCE_BYTES = 64 << 20


@dataclass(frozen=True)
class Piece:
    """Arrays for all inputs that belong together: an `.npz`, a test data set, one `.npy` of a folder."""

    label: str
    feeders: tuple[Feeder, ...]
    count: int

    def read(self, indices: Sequence[int]) -> Iterator[Feeds]:
        """Yield the samples at ascending positions."""
        names = [each.name for each in self.feeders]
        for rows in zip(*(each.rows(indices) for each in self.feeders), strict=True):
            yield dict(zip(names, rows, strict=True))


@dataclass(frozen=True)
class Pieces:
    """Some samples out of consecutive pieces, read again for every pass over them."""

    pieces: tuple[Piece, ...]
    chosen: Sequence[int]

    def __call__(self) -> Iterator[Feeds]:
        """Yield the chosen samples in order."""
        first, position = 0, 0
        for piece in self.pieces:
            last = position
            while last < len(self.chosen) and self.chosen[last] < first + piece.count:
                last += 1
            if last > position:
                yield from piece.read([index - first for index in self.chosen[position:last]])
            first, position = first + piece.count, last


def array_stream(
    source: str,
    pieces: Sequence[Piece],
    inputs: ModelInputs,
    chosen: Sequence[int],
    warnings: tuple[str, ...] = (),
) -> Stream:
    """Return the chosen samples; what can be checked cheaply is checked here.

    Raises:
        DataError: The first sample (or any, of small arrays) cannot be read or holds NaN or infinite values.
    """
    feeders = [each for piece in pieces for each in piece.feeders]
    cheap = sum(each.size_bytes for each in feeders) <= CHECKED_AT_ONCE_BYTES
    images = any(each.images for each in feeders)
    reader = Pieces(tuple(pieces), chosen)
    for _ in reader():
        if images or not cheap:
            break
    return Stream(source, False, inputs, len(chosen), reader, warnings)


def npz_piece(
    path: Path, inputs: ModelInputs, preprocess: Preprocessing | None
) -> tuple[Piece, tuple[str, ...]]:
    """Return the samples of an `.npz` file, and what in it was not used.

    Raises:
        DataError: A key is missing, or an array does not fit.
    """
    arrays = open_npz(path)
    single = inputs.names[0] if len(inputs.names) == 1 else None
    if single is not None and single not in arrays and DATA_KEY in arrays:
        arrays = {single if key == DATA_KEY else key: array for key, array in arrays.items()}
    unused = sorted(set(arrays) - set(inputs.names) - {LABEL_KEY})
    piece = fit_piece(str(path), arrays, inputs, preprocess)
    return piece, (f"{path}: not used: {', '.join(unused)}",) if unused else ()


def npy_pieces(folder: Path, inputs: ModelInputs, preprocess: Preprocessing | None) -> list[Piece]:
    """Return the samples of a folder of `.npy` files.

    One input: each file (also in folders within) is a sample or a batch. Several inputs: a file or a folder
    for each, called like the input; files of the same place in sorted order belong together. Characters of an
    input's name other than letters, digits and `._-` are written `_`.

    Raises:
        DataError: A file is damaged or does not fit, or the inputs have different numbers of files.
    """
    if len(inputs.names) == 1:
        by_input = {inputs.names[0]: _npy_files(folder)}
    else:
        by_input = {name: _npy_files_of(folder, name) for name in inputs.names}
    _require(str(folder), {name for name, files in by_input.items() if files}, inputs, _entries(folder))
    if len({len(files) for files in by_input.values()}) > 1:
        counts = ", ".join(f"'{name}' {len(files)}" for name, files in by_input.items())
        raise DataError(f"{folder}: the inputs have different numbers of files: {counts}")
    return [
        fit_piece(str(group[0]), dict(zip(by_input, map(open_npy, group), strict=True)), inputs, preprocess)
        for group in zip(*by_input.values(), strict=True)
    ]


def test_set_pieces(
    folders: Sequence[Path], inputs: ModelInputs, preprocess: Preprocessing | None
) -> list[Piece]:
    """Return the samples of ONNX test data sets, whose `input_0.pb` … feed the model's inputs in order.

    Raises:
        DataError: A file is missing, damaged or does not fit.
    """
    pieces = []
    for folder in folders:
        files = sorted(folder.glob("input_*.pb"), key=natural)
        numbered = {
            inputs.names[i]: f for f in files if (i := _number(f)) is not None and i < len(inputs.names)
        }
        arrays = {name: open_proto(file) for name, file in numbered.items()}
        _require(str(folder), arrays, inputs, [file.name for file in files])
        pieces.append(fit_piece(str(folder), arrays, inputs, preprocess))
    return pieces


def find_test_sets(folder: Path) -> list[Path]:
    """Return the folders `test_data_set_*` in `folder`, or `folder` itself if it is one, by number."""
    if any(folder.glob("input_*.pb")):
        return [folder]
    return sorted((path for path in folder.glob("test_data_set_*") if path.is_dir()), key=natural)


def fit_piece(
    label: str, arrays: Mapping[str, StoredArray], inputs: ModelInputs, preprocess: Preprocessing | None
) -> Piece:
    """Return arrays, by input name, as samples.

    Raises:
        DataError: One is missing or does not fit, or the numbers of samples differ.
    """
    _require(label, arrays, inputs, list(arrays))
    feeders = tuple(feeder(arrays[spec.name], spec, preprocess) for spec in inputs.specs)
    counts = {each.name: each.count for each in feeders if each.count is not None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"'{name}' {count}" for name, count in counts.items())
        raise DataError(f"{label}: the inputs have different numbers of samples: {listed}")
    return Piece(label, feeders, next(iter(counts.values()), 1))


def natural(path: Path) -> tuple[tuple[int, str], ...]:
    """Return a sort key that orders `set_2` before `set_10`."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name))


def _require(
    label: str, present: Mapping[str, object] | set[str], inputs: ModelInputs, found: list[str]
) -> None:
    missing = [spec for spec in inputs.specs if spec.name not in present]
    if not missing:
        return
    keys = ", ".join(f"'{name}'" for name in found) or "nothing"
    close = get_close_matches(missing[0].name, found, n=1)
    hint = f"Did you mean '{missing[0].name}' by '{close[0]}'? " if close else ""
    only = f" (or '{DATA_KEY}', as it is the only one)" if len(inputs.specs) == 1 else ""
    raise DataError(
        f"{label}: nothing for the input{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))};"
        f" found {keys}",
        hint=f"{hint}Every input needs an array under its name{only}.",
    )


def _number(file: Path) -> int | None:
    match = re.fullmatch(r"input_(\d+)", file.stem)
    return int(match[1]) if match else None


def _npy_files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*.npy") if f.is_file() and not f.name.startswith("."))


def _npy_files_of(folder: Path, name: str) -> list[Path]:
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    file = folder / f"{stem}.npy"
    return [file] if file.is_file() else _npy_files(folder / stem)


def _entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())[:20]

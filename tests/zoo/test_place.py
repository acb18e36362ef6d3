from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.zoo import place
from onnx_pare.zoo.place import Place, divide, measuring_lock

HERE = Path("scratch"), Path("lock")


@pytest.mark.parametrize(
    ("jobs", "threads", "cores", "expected"),
    [
        (1, 1, 4, [((0, 1, 2, 3), (), 4)]),
        (2, 1, 2, [((0,), (), 1), ((1,), (), 1)]),
        (2, 2, 5, [((0, 1), (), 2), ((2, 3), (), 2)]),
        (4, 1, 2, [((0,), (1,), 1)] * 4),
        (2, 3, 4, [((0,), (1, 2, 3), 1)] * 2),
        (4, 2, 2, [((0, 1), (), 2)]),
        (4, 0, 2, [((0, 1), (), 1)] * 4),
        (1, 1, 1, [((0,), (), 1)]),
        (3, 1, 1, [((0,), (), 1)]),
    ],
)
def test_nobody_works_where_another_measures(
    jobs: int, threads: int, cores: int, expected: list[tuple[tuple[int, ...], tuple[int, ...], int]]
) -> None:
    places = divide(jobs, threads, tuple(range(cores)), *HERE)
    assert [(one.cores, one.measuring, one.threads) for one in places.places] == expected
    kept = [set(one.measuring or one.cores) for one in places.places]
    for number, cores_kept in enumerate(kept):
        others = {core for index, one in enumerate(places.places) if index != number for core in one.cores}
        assert not threads or cores_kept.isdisjoint(others)
    assert bool(places.note) is (bool(threads) and jobs * threads > cores)


def test_json_and_back() -> None:
    here = Place("scratch", "cwd", "lock", (1, 2), (3,), 2)
    assert Place.from_json(here.to_json()) == here


def test_without_a_folder_of_the_user_the_lock_is_the_batch_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "local_profile_path", lambda: tmp_path / "data" / "local.yaml")
    assert measuring_lock(tmp_path) == tmp_path / "data" / "measuring.lock"
    (tmp_path / "file").touch()
    monkeypatch.setattr(place, "local_profile_path", lambda: tmp_path / "file" / "local.yaml")
    assert measuring_lock(tmp_path) == tmp_path / "measuring.lock"

from __future__ import annotations

import numpy as np

from onnx_pare.bench.batches import as_many, bytes_of, limited

FEEDS = {"x": np.zeros((2, 4), np.float32)}


def test_of_the_last_batch_fewer_samples_count() -> None:
    assert [count for _, count in limited([(FEEDS, 2)] * 3, 5)] == [2, 2, 1]
    assert list(limited([(FEEDS, 2)], 0)) == []


def test_a_block_ends_once_it_holds_enough_and_the_next_one_goes_on() -> None:
    samples = iter([(FEEDS, 1, [np.full(8, i, np.float32)]) for i in range(5)])  # 32 bytes in, 32 out
    blocks = [as_many(samples, 128) for _ in range(4)]
    assert [[int(outputs[0][0]) for _, _, outputs in block] for block in blocks] == [[0, 1], [2, 3], [4], []]


def test_what_is_no_array_has_a_size_too() -> None:
    assert bytes_of([np.zeros(3, np.float64), ["a sequence"]]) == 24 + (1 << 16)

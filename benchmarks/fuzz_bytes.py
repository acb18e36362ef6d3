"""Mutations of a file that know nothing of what it holds."""

from __future__ import annotations

from collections.abc import Callable
from random import Random


def flip_bits(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        # half of them near the start, where models keep their structure and not their weights
        at = rng.randrange(min(len(data), rng.choice([200, 2000, len(data)])))
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 4, 16])):
        changed[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(changed)


def truncate(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def repeat_piece(rng: Random, data: bytes) -> bytes:
    start, end = _piece(rng, data)
    return data[:end] + data[start:end] * rng.choice([1, 2, 50]) + data[end:]


def remove_piece(rng: Random, data: bytes) -> bytes:
    start, end = _piece(rng, data)
    return data[:start] + data[end:]


def swap_pieces(rng: Random, data: bytes) -> bytes:
    a, b = sorted([_piece(rng, data), _piece(rng, data)])
    if a[1] > b[0]:
        return data[::-1] if rng.random() < 0.1 else flip_bits(rng, data)
    return data[: a[0]] + data[b[0] : b[1]] + data[a[1] : b[0]] + data[a[0] : a[1]] + data[b[1] :]


def insert_noise(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice([1, 3, 40])) + data[at:]


def concatenate(rng: Random, data: bytes) -> bytes:
    """Protobuf merges messages that follow each other: every list is there twice."""
    return data + data


MUTATIONS: dict[str, Callable[[Random, bytes], bytes]] = {
    mutation.__name__: mutation
    for mutation in (
        flip_bits,
        set_bytes,
        truncate,
        repeat_piece,
        remove_piece,
        swap_pieces,
        insert_noise,
        concatenate,
    )
}


def _piece(rng: Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice([1, 2, 8, 100, 1000]))

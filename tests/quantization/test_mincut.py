from __future__ import annotations

import itertools
import random

import pytest

from onnx_pare.quantization.mincut import UNCUTTABLE, Network

Edge = tuple[int, int, int]


def cost(edges: list[Edge], source_side: set[int]) -> int:
    return sum(room for tail, head, room in edges if tail in source_side and head not in source_side)


def network(nodes: int, edges: list[Edge]) -> Network:
    made = Network()
    for _ in range(nodes):
        made.node()
    for edge in edges:
        made.edge(*edge)
    return made


@pytest.mark.parametrize("seed", range(60))
def test_no_other_cut_is_cheaper(seed: int):
    rng = random.Random(seed)
    nodes = rng.randint(1, 8)
    numbers = range(nodes + 2)
    edges = [
        (tail, head, rng.randint(0, 9))
        for tail, head in itertools.permutations(numbers, 2)
        if rng.random() < 0.5
    ]
    flow, side = network(nodes, edges).cut()
    inner = range(2, nodes + 2)
    choices = itertools.chain.from_iterable(itertools.combinations(inner, n) for n in range(nodes + 1))
    assert flow == min(cost(edges, {Network.SOURCE, *chosen}) for chosen in choices)
    assert cost(edges, side) == flow
    assert Network.SOURCE in side
    assert Network.SINK not in side


def test_of_equal_cuts_the_smaller_source_side_wins():
    assert network(1, [(0, 2, 5), (2, 1, 5)]).cut() == (5, {0})


def test_an_uncuttable_edge_is_not_cut():
    assert network(2, [(0, 2, UNCUTTABLE), (2, 3, 7), (3, 1, UNCUTTABLE)]).cut() == (7, {0, 2})


def test_a_long_chain_does_not_recurse():
    chain = [(i + 1, i + 2, 3) for i in range(1, 5000)]
    flow, _ = network(5000, [(0, 2, 9), *chain, (5001, 1, 9)]).cut()
    assert flow == 3

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from onnx_pare.documents.section import Section, known_keys, validate


class Leaf(Section):
    size: int = 1


class Tree(Section):
    leaves: tuple[Leaf, ...] = ()
    named: dict[str, Leaf] = Field(default_factory=dict)
    deep: dict[str, dict[str, Leaf]] = Field(default_factory=dict)


def test_lists_are_fine_for_tuples_and_other_types_are_not() -> None:
    assert validate(Tree, {"leaves": [{"size": 2}]}).leaves == (Leaf(size=2),)
    with pytest.raises(ValidationError):
        validate(Tree, {"leaves": [{"size": "2"}]})
    with pytest.raises(ValidationError):
        validate(Tree, {"leafs": []})


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ((), ("leaves", "named", "deep")),
        (("leaves", 0), ("size",)),
        (("named", "oak"), ("size",)),
        (("deep", "oak", "elm"), ("size",)),
    ],
)
def test_known_keys(path: tuple[str | int, ...], keys: tuple[str, ...]) -> None:
    assert known_keys(Tree, path) == keys

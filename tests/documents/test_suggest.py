from onnx_pare.documents.suggest import suggest


def test_the_nearest_name() -> None:
    assert suggest("sparsty", ["skip", "sparsity"]) == ", did you mean 'sparsity'?"
    assert suggest("Per-Channel", ["skip", "per_channel"]) == ", did you mean 'per_channel'?"


def test_all_names_if_none_is_near() -> None:
    assert suggest("zzz", ["b", "a", "b"]) == " (known: a, b)"
    assert suggest("zzz", []) == ""

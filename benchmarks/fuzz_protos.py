"""Mutations of a parsed model: what a file can say that parses, but that no exporter would write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

INTEGERS = [0, 1, -1, 2, 3, 7, 16, 255, 65_536, 2**31 - 1, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -1.0, 1e-40, 1e38, float("inf"), float("-inf"), float("nan")]
TEXTS = [
    "",
    "x",
    "y",
    "w1",
    "a/b",
    "..",
    "\0",
    "é\U0001f600",
    "a" * 5000,
    "%s%n",
    "[bold]",
    "-",
    "\n\x1b[31m",
]
LOCATIONS = ["", ".", "..", "/etc/passwd", "../weights.bin", "weights.bin/", "a\0b", "C:\\x", "nothing.bin"]
OPS = [
    *("Conv", "Gemm", "MatMul", "Relu", "Add", "Mul"),
    *("Reshape", "Transpose", "Concat", "Split", "Gather", "Slice"),
    *("Pad", "Resize", "Tile", "Expand", "Range", "ConstantOfShape"),
    *("Constant", "Shape", "If", "Loop", "Scan", "LSTM"),
    *("Softmax", "BatchNormalization", "QuantizeLinear", "Cast", "NonZero", "DequantizeLinear"),
    *("TopK", "Einsum", "Where", "OneHot", "Identity", "Dropout"),
    *("ConvTranspose", "MaxPool", "ReduceSum", "Clip", "StringNormalizer", "SequenceAt"),
    *("Optional", "RandomNormal", "CumSum", "ScatterND", "Unique", "QLinearConv"),
    *("NonMaxSuppression",),
]
NOT_UTF8 = "NOTUTF8NOTUTF8"
Mutation = Callable[[Random, Any, Any], None]


def any_field(rng: Random, proto: Any, donor: Any) -> None:
    """Change one field anywhere: an extreme value, or the like-named field of another model."""
    message, field = rng.choice(list(_fields(proto)))
    values = getattr(message, field.name)
    if field.is_repeated:
        _change_list(rng, values, field)
    elif rng.random() < 0.2:
        message.ClearField(field.name)
    elif field.type == field.TYPE_MESSAGE:
        alike = [m for m in _messages(donor) if m.DESCRIPTOR is values.DESCRIPTOR]
        values.CopyFrom(rng.choice(alike)) if alike else values.Clear()
    else:
        _set(message, field.name, _scalar(rng, field))


def splice_node(rng: Random, proto: Any, donor: Any) -> None:
    if donor.graph.node:
        node = rng.choice(donor.graph.node)
        nodes = [*proto.graph.node]
        nodes.insert(rng.randrange(len(nodes) + 1), node)
        _replace(proto.graph.node, nodes)


def splice_weight(rng: Random, proto: Any, donor: Any) -> None:
    if donor.graph.initializer:
        tensor = proto.graph.initializer.add()
        tensor.CopyFrom(rng.choice(donor.graph.initializer))
        if rng.random() < 0.7 and len(proto.graph.initializer) > 1:
            tensor.name = proto.graph.initializer[0].name
            del proto.graph.initializer[0]


def absurd_dim(rng: Random, proto: Any, donor: Any) -> None:
    types = [m for m in _messages(proto) if m.DESCRIPTOR.name == "TensorShapeProto"]
    tensors = [m for m in _messages(proto) if m.DESCRIPTOR.name == "TensorProto"]
    target = rng.choice([*types, *tensors] or [None])
    if target is None:
        return
    if target.DESCRIPTOR.name == "TensorShapeProto":
        dim = rng.choice(target.dim) if target.dim and rng.random() < 0.8 else target.dim.add()
        dim.dim_value = rng.choice(INTEGERS)
    elif target.dims and rng.random() < 0.8:
        target.dims[rng.randrange(len(target.dims))] = rng.choice(INTEGERS)
    else:
        target.dims.append(rng.choice(INTEGERS))


def all_dims(rng: Random, proto: Any, donor: Any) -> None:
    """Make an input large or odd in all its free ways at once."""
    for value in proto.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if rng.random() < 0.5:
                dim.dim_value = rng.choice([0, 1, 2, 3, 40, 1 << 31, 1 << 40])


def change_type(rng: Random, proto: Any, donor: Any) -> None:
    holders = [m for m in _messages(proto) if m.DESCRIPTOR.name in ("TensorProto", "Tensor")]
    if holders:
        holder = rng.choice(holders)
        name = "data_type" if holder.DESCRIPTOR.name == "TensorProto" else "elem_type"
        setattr(holder, name, rng.choice([*range(24), 99, -1]))


def other_kind_of_value(rng: Random, proto: Any, donor: Any) -> None:
    values = [*proto.graph.input, *proto.graph.output, *proto.graph.value_info]
    if values:
        kind = rng.choice(values).type
        inner = kind.tensor_type.elem_type
        kind.Clear()
        holder = getattr(kind, rng.choice(["sequence_type", "optional_type"]))
        holder.elem_type.tensor_type.elem_type = inner


def huge_contents(rng: Random, proto: Any, donor: Any) -> None:
    """Change small integer tensors: shapes, axes, repeats, indices."""
    small = [m for m in _messages(proto) if m.DESCRIPTOR.name == "TensorProto" and m.data_type == 7]
    if small:
        tensor = rng.choice(small)
        count = len(tensor.int64_data) or len(tensor.raw_data) // 8
        if 0 < count < 100:
            tensor.ClearField("raw_data")
            _replace(tensor.int64_data, [rng.choice(INTEGERS[:12]) for _ in range(count)])


def cycle(rng: Random, proto: Any, donor: Any) -> None:
    nodes = [node for node in proto.graph.node if node.input]
    if nodes:
        first, last = nodes[0], rng.choice(nodes)
        if last.output:
            first.input[rng.randrange(len(first.input))] = last.output[0]


def rewire(rng: Random, proto: Any, donor: Any) -> None:
    names = [name for node in proto.graph.node for name in (*node.input, *node.output)] or [""]
    nodes = [node for node in proto.graph.node if node.input]
    for node in rng.sample(nodes, min(len(nodes), rng.choice([1, 1, 3]))):
        node.input[rng.randrange(len(node.input))] = rng.choice([*names, *names, *TEXTS])


def rename(rng: Random, proto: Any, donor: Any) -> None:
    """Give a value another name everywhere, or a node one."""
    values = [name for node in proto.graph.node for name in (*node.input, *node.output) if name]
    old, new = rng.choice(values or ["x"]), rng.choice([*TEXTS, NOT_UTF8])
    for message in _messages(proto):
        for name in ("input", "output"):
            entries = getattr(message, name, ())
            if message.DESCRIPTOR.name in ("NodeProto", "FunctionProto"):
                _replace(entries, [new if entry == old else entry for entry in entries])
        if getattr(message, "name", None) == old:
            message.name = new


def edit_nodes(rng: Random, proto: Any, donor: Any) -> None:
    nodes = [*proto.graph.node]
    if not nodes:
        return
    at = rng.randrange(len(nodes))
    change = rng.choice(["twice", "gone", "shuffled", "fewer", "more"])
    if change == "fewer" and nodes[at].input:
        del nodes[at].input[rng.randrange(len(nodes[at].input))]
    elif change == "more":
        getattr(nodes[at], rng.choice(["input", "output"])).append(rng.choice(TEXTS))
    edited = {"twice": [*nodes, nodes[at]], "gone": nodes[:at] + nodes[at + 1 :]}.get(change, nodes)
    if change == "shuffled":
        rng.shuffle(edited)
    _replace(proto.graph.node, edited)


def other_operator(rng: Random, proto: Any, donor: Any) -> None:
    nodes = [m for m in _messages(proto) if m.DESCRIPTOR.name == "NodeProto"]
    if nodes:
        rng.choice(nodes).op_type = rng.choice(OPS)
    if nodes and rng.random() < 0.1:
        rng.choice(nodes).domain = rng.choice(["com.microsoft", "ai.onnx", "ai.onnx.ml", "my.own", "local"])


def odd_attribute(rng: Random, proto: Any, donor: Any) -> None:
    attributes = [m for m in _messages(proto) if m.DESCRIPTOR.name == "AttributeProto"]
    nodes = [m for m in _messages(proto) if m.DESCRIPTOR.name == "NodeProto"]
    if not attributes or rng.random() < 0.2:
        known = ["axis", "group", "pads", "strides", "kernel_shape", "dilations", "to", "perm", "value"]
        attribute = rng.choice(nodes).attribute.add(name=rng.choice(known)) if nodes else None
    else:
        attribute = rng.choice(attributes)
    if attribute is None:
        return
    kind = rng.choice(["type", "i", "f", "ints", "floats", "s", "name", "ref_attr_name"])
    if kind == "type":
        attribute.type = rng.randrange(15)
    elif kind in ("ints", "floats"):
        pool = INTEGERS if kind == "ints" else FLOATS
        size = rng.choice([0, 1, 2, 4, 4, 1000])
        _replace(getattr(attribute, kind), [rng.choice(pool) for _ in range(size)])
        attribute.type = attribute.INTS if kind == "ints" else attribute.FLOATS
    else:
        value = {"i": rng.choice(INTEGERS), "f": rng.choice(FLOATS), "s": rng.choice(TEXTS).encode()}
        _set(attribute, kind, value.get(kind, rng.choice(TEXTS)))
        attribute.type = {"i": 2, "f": 1, "s": 3}.get(kind, attribute.type)


def opsets(rng: Random, proto: Any, donor: Any) -> None:
    if rng.random() < 0.3:
        proto.ir_version = rng.choice(INTEGERS)
    elif proto.opset_import:
        opset = rng.choice(proto.opset_import)
        opset.version = rng.choice([*range(1, 30), 2**40, -5])
        if rng.random() < 0.2:
            opset.domain = rng.choice(["", "ai.onnx", "ai.onnx.ml", "my.own"])


def outside_data(rng: Random, proto: Any, donor: Any) -> None:
    tensors = [m for m in _messages(proto) if m.DESCRIPTOR.name == "TensorProto"]
    if tensors:
        tensor = rng.choice(tensors)
        tensor.data_location = 1
        tensor.ClearField("raw_data")
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=rng.choice([*LOCATIONS, "weights.bin", "weights.bin"]))
        for key in ("offset", "length", "checksum"):
            if rng.random() < 0.4:
                number = rng.choice([*INTEGERS, "", "x", "1e3", " 1", "0"])
                tensor.external_data.add(key=key, value=str(number))


def nest(rng: Random, proto: Any, donor: Any) -> None:
    """Put an If into an If into an If."""
    depth = rng.choice([2, 10, 17, 60, 300])
    graph = proto.graph
    for level in range(depth):
        node = graph.node.add(op_type="If", input=[rng.choice(["f", "x"])], output=[f"nest{level}"])
        for branch in ("then_branch", "else_branch")[: rng.choice([1, 2]) if level < 3 else 1]:
            attribute = node.attribute.add(name=branch, type=5)
            attribute.g.name = f"g{level}"
            attribute.g.output.add(name=f"nest{level + 1}").type.tensor_type.elem_type = 1
        graph = node.attribute[0].g


def functions(rng: Random, proto: Any, donor: Any) -> None:
    """Add functions that call themselves, each other, or double the nodes forty times over."""
    kind, count = rng.choice(["self", "ring", "doubling"]), rng.choice([1, 3, 12, 40])
    for index in range(count):
        following = {"self": index, "ring": (index + 1) % count}.get(kind, index + 1)
        function = proto.functions.add(domain="local", name=f"F{index}", input=["x"], output=["y"])
        function.opset_import.add(domain="", version=17)
        function.opset_import.add(domain="local", version=1)
        last = kind == "doubling" and index == count - 1
        op, domain = ("Relu", "") if last else (f"F{following}", "local")
        function.node.add(op_type=op, domain=domain, input=["x"], output=["h"])
        function.node.add(op_type=op, domain=domain, input=["h"], output=["y"])
    target = rng.choice(proto.graph.node) if proto.graph.node else proto.graph.node.add(output=["y"])
    target.op_type, target.domain = "F0", "local"
    _replace(target.input, target.input[:1])
    del target.attribute[:]


def sparse(rng: Random, proto: Any, donor: Any) -> None:
    entry = proto.graph.sparse_initializer.add()
    entry.dims.extend(rng.choice(INTEGERS) for _ in range(rng.choice([0, 1, 2])))
    entry.values.name, entry.values.data_type = rng.choice(["sp", "w1", "x", ""]), rng.choice([1, 7, 8, 10])
    entry.values.dims.append(2)
    entry.values.float_data.extend([1, 2])
    entry.indices.data_type = rng.choice([7, 1])
    entry.indices.dims.append(2)
    entry.indices.int64_data.extend(rng.choice(INTEGERS) for _ in range(2))


def blow_up(rng: Random, proto: Any, donor: Any) -> None:
    """Let the model make something far larger than itself."""
    size = rng.choice([2**20, 2**28, 2**33, 2**36, 2**45])
    outputs = [name for node in proto.graph.node for name in node.output] or ["x"]
    last = rng.choice([proto.graph.output[0].name if proto.graph.output else "y", *outputs])
    shape = proto.graph.initializer.add(name="huge", data_type=7, dims=[1])
    shape.int64_data.append(size)
    op = rng.choice(["ConstantOfShape", "Expand", "Tile", "Range", "Pad", "OneHot", "RandomNormalLike"])
    flat = proto.graph.initializer.add(name="minus", data_type=7, dims=[1])
    flat.int64_data.append(-1)
    proto.graph.node.add(op_type="Reshape", input=[last, "minus"], output=["flat"])
    inputs = {
        "ConstantOfShape": ["huge"],
        "Range": ["zero", "limit", "one"],
        "OneHot": ["minus", "huge", "two"],
    }
    for name, number in (("zero", 0), ("one", 1), ("limit", size)):
        proto.graph.initializer.add(name=name, data_type=7).int64_data.append(number)
    proto.graph.initializer.add(name="two", data_type=1, dims=[2]).float_data.extend([0, 1])
    pads = proto.graph.initializer.add(name="pads", data_type=7, dims=[2])
    pads.int64_data.extend([0, size])
    given = inputs.get(op, ["flat", "pads" if op == "Pad" else "huge"])
    proto.graph.node.add(op_type=op, input=given, output=["blown"])
    if rng.random() < 0.6:
        proto.graph.node.add(op_type="ReduceSum", input=["blown"], output=["reduced"])
        proto.graph.output.add(name="reduced").type.tensor_type.elem_type = 1
    else:
        proto.graph.output.add(name="blown").type.tensor_type.elem_type = 1


def extras(rng: Random, proto: Any, donor: Any) -> None:
    proto.metadata_props.add(key=rng.choice(TEXTS), value=rng.choice(TEXTS))
    proto.producer_name = proto.doc_string = rng.choice(TEXTS)
    if rng.random() < 0.3:
        proto.training_info.add().algorithm.node.add(op_type="Relu", input=["q"], output=["r"])
    if rng.random() < 0.3:
        proto.graph.quantization_annotation.add(tensor_name=rng.choice(TEXTS))


MUTATIONS: dict[str, Mutation] = {
    mutation.__name__: mutation
    for mutation in (
        *(any_field, splice_node, splice_weight, absurd_dim, all_dims, change_type, other_kind_of_value),
        *(huge_contents, cycle, rewire, rename, edit_nodes, other_operator, odd_attribute, opsets),
        *(outside_data, nest, functions, sparse, blow_up, extras),
    )
}
# those after which a model is often still one
VALID = {
    mutation.__name__: mutation
    for mutation in (
        splice_weight,
        all_dims,
        huge_contents,
        other_operator,
        odd_attribute,
        blow_up,
        rewire,
        extras,
    )
}


def mutate(rng: Random, data: bytes, donor: bytes, names: list[str]) -> bytes:
    """Apply the named mutations in turn, and return the model's bytes."""
    import onnx

    proto, other = onnx.ModelProto.FromString(data), onnx.ModelProto.FromString(donor)
    for name in names:
        MUTATIONS[name](rng, proto, other)
    content: bytes = proto.SerializeToString()
    return content.replace(NOT_UTF8.encode(), b"\xff\xfe\x80" + b"A" * (len(NOT_UTF8) - 3))


def _messages(message: Any) -> Iterator[Any]:
    """Yield the message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                yield from _messages(inner)


def _fields(proto: Any) -> Iterator[tuple[Any, Any]]:
    for message in _messages(proto):
        for field, _ in message.ListFields():
            yield message, field


def _scalar(rng: Random, field: Any) -> Any:
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.type == field.TYPE_BYTES:
        return rng.choice([b"", b"\xff\xfe", bytes(64), rng.choice(TEXTS).encode()])
    return rng.choice([*TEXTS, NOT_UTF8]) if field.type == field.TYPE_STRING else rng.choice(INTEGERS)


def _change_list(rng: Random, values: Any, field: Any) -> None:
    entries = list(values)
    at = rng.randrange(len(entries))
    change = rng.choice(["gone", "twice", "shuffled", "set"])
    if change == "set" and field.type != field.TYPE_MESSAGE:
        entries[at] = _scalar(rng, field)
        if isinstance(entries[at], int) and field.type in (field.TYPE_INT32, field.TYPE_ENUM):
            entries[at] = max(min(entries[at], 2**31 - 1), -(2**31))
    elif change == "twice":
        entries.insert(rng.randrange(len(entries) + 1), entries[at])
    elif change == "shuffled":
        rng.shuffle(entries)
    else:
        del entries[at]
    _replace(values, entries)


def _set(message: Any, name: str, value: Any) -> None:
    try:
        setattr(message, name, value)
    except ValueError:  # beyond 32 bits, or what an enumeration knows
        setattr(message, name, max(min(value, 1), 0))


def _replace(values: Any, entries: list[Any]) -> None:
    copies = [
        type(e).FromString(e.SerializeToString()) if hasattr(e, "SerializeToString") else e for e in entries
    ]
    del values[:]
    values.extend(copies)

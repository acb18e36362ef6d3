#!/usr/bin/env python3
"""Train the demo network on scikit-learn's handwritten digits and write core/demo/*.onnx and *.npz.

Needs `pip install '.[train]'`. Same versions, same machine, same seed: the same files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

FOLDER = Path(__file__).resolve().parents[1] / "core" / "demo"
SEED = 0
SIDE = 32  # pixels; the 8×8 originals are enlarged, so that a network has something to compute
VALIDATION, CALIBRATION = 400, 256  # images
EPOCHS, BATCH, PEAK_RATE = 40, 64, 6e-3
OPSET = 17


class Unit(nn.Sequential):
    """Convolution and batch normalization, padded to keep the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        )


class Digits(nn.Module):
    """Stem, residual block, depthwise-separable pair, residual block, head: a bit of each kind of layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Unit(1, 16)
        self.widen = Unit(16, 48)
        self.first_a, self.first_b = Unit(48, 48), Unit(48, 48)
        self.depthwise, self.pointwise = Unit(48, 48, groups=48), Unit(48, 64, kernel=1)
        self.second_a, self.second_b = Unit(64, 24), Unit(24, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [N,10] of images [N,1,32,32] in 0..1."""
        return _layers(x, self, Eager())


class Eager:
    """Runs the layers in torch."""

    def unit(self, name: str, x: torch.Tensor, layer: Unit) -> torch.Tensor:
        return layer(x)

    def relu(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)

    def add(self, name: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b

    def halve(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.max_pool2d(x, 2)

    def head(self, name: str, x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
        return layer(x.mean((2, 3)))


@dataclass
class Graph:
    """Writes the layers as ONNX nodes; values are names."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, op: str, name: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        output = output or f"{name}_out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def weight(self, name: str, tensor: torch.Tensor) -> str:
        self.weights.append(numpy_helper.from_array(tensor.detach().numpy().copy(), name))
        return name

    def unit(self, name: str, x: str, layer: Unit) -> str:
        conv, norm = layer
        pad = conv.padding[0]
        weight = self.weight(f"{name}.conv.weight", conv.weight)
        x = self.node("Conv", f"{name}/conv", [x, weight], kernel_shape=list(conv.kernel_size),
                      pads=[pad] * 4, strides=[1, 1], dilations=[1, 1], group=conv.groups)  # fmt: skip
        state = {"scale": norm.weight, "bias": norm.bias, "mean": norm.running_mean, "var": norm.running_var}
        parameters = [self.weight(f"{name}.bn.{key}", tensor) for key, tensor in state.items()]
        return self.node("BatchNormalization", f"{name}/bn", [x, *parameters], epsilon=norm.eps)

    def relu(self, name: str, x: str) -> str:
        return self.node("Relu", name, [x])

    def add(self, name: str, a: str, b: str) -> str:
        return self.node("Add", name, [a, b])

    def halve(self, name: str, x: str) -> str:
        return self.node("MaxPool", name, [x], kernel_shape=[2, 2], strides=[2, 2])

    def head(self, name: str, x: str, layer: nn.Linear) -> str:
        x = self.node("GlobalAveragePool", f"{name}/pool", [x])
        x = self.node("Flatten", f"{name}/flatten", [x], axis=1)
        weights = [self.weight(f"{name}.weight", layer.weight), self.weight(f"{name}.bias", layer.bias)]
        return self.node("Gemm", f"{name}/fc", [x, *weights], output="logits", transB=1)


def _layers(x: Any, net: Digits, do: Any) -> Any:
    """Apply the network to `x`, a tensor (`Eager`) or a name (`Graph`): its shape is written only here."""
    x = do.halve("stem/pool", do.relu("stem/relu", do.unit("stem", x, net.stem)))
    x = do.relu("widen/relu", do.unit("widen", x, net.widen))
    x = _residual("first", x, net.first_a, net.first_b, do)
    x = do.halve("first/pool", x)
    x = do.relu("depthwise/relu", do.unit("depthwise", x, net.depthwise))
    x = do.relu("pointwise/relu", do.unit("pointwise", x, net.pointwise))
    x = _residual("second", x, net.second_a, net.second_b, do)
    return do.head("head", x, net.head)


def _residual(name: str, x: Any, a: Unit, b: Unit, do: Any) -> Any:
    y = do.relu(f"{name}/a/relu", do.unit(f"{name}/a", x, a))
    return do.relu(f"{name}/relu", do.add(f"{name}/add", do.unit(f"{name}/b", y, b), x))


def enlarge(images: np.ndarray) -> np.ndarray:
    """Turn 8×8 images of 0..16 into uint8 images [n,32,32,1] of 0..255, bilinearly."""
    grey = np.rint(images * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in grey]
    return np.stack([np.asarray(image) for image in large])[..., None]


def to_input(images: np.ndarray) -> torch.Tensor:
    """Apply the preprocessing `unit`: uint8 NHWC to float NCHW in 0..1."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))


def shifted(x: torch.Tensor, random: torch.Generator, most: int = 2) -> torch.Tensor:
    """Move each image of a batch by up to `most` pixels."""
    padded = nn.functional.pad(x, [most] * 4)
    corners = torch.randint(0, 2 * most + 1, (len(x), 2), generator=random).tolist()
    return torch.stack(
        [image[:, r : r + SIDE, c : c + SIDE] for image, (r, c) in zip(padded, corners, strict=True)]
    )


def train(net: Digits, x: torch.Tensor, y: torch.Tensor, log: Callable[[str], None] = print) -> None:
    """Train with AdamW and one cycle of the learning rate."""
    random = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=5e-3)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    net.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x), generator=random)
        for i in range(len(x) // BATCH):
            rows = order[i * BATCH : (i + 1) * BATCH]
            loss = nn.functional.cross_entropy(net(shifted(x[rows], random)), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        log(f"epoch {epoch + 1}/{EPOCHS}: loss {loss.item():.4f}")
    net.eval()


def export(net: Digits, path: Path) -> None:
    """Write the network to `path` as ONNX, its batch size free."""
    graph = Graph()
    _layers("image", net, graph)
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "digits", inputs, outputs, graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="onnx-pare/scripts/train_demo.py",
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    images, labels = enlarge(digits.images), digits.target.astype(np.int64)
    # not shuffled: the source lists them writer by writer: the last are mostly by writers never trained on
    (x, x_held), (y, y_held) = (np.split(array, [-VALIDATION]) for array in (images, labels))
    calibration = np.random.default_rng(SEED).choice(len(x), CALIBRATION, replace=False)
    net = Digits()
    train(net, to_input(x), torch.from_numpy(y))
    with torch.no_grad():
        logits = net(to_input(x_held)).numpy()
    print(f"float top-1 on {len(y_held)} held-out images: {np.mean(logits.argmax(1) == y_held):.2%}")
    export(net, FOLDER / "digits.onnx")
    np.savez_compressed(FOLDER / "digits_calibration.npz", x=x[calibration])
    np.savez_compressed(FOLDER / "digits_validation.npz", x=x_held, y=y_held)
    check(logits, x_held)


def check(logits: np.ndarray, images: np.ndarray) -> None:
    """Compare the written file with the trained network."""
    import onnxruntime as ort

    session = ort.InferenceSession(FOLDER / "digits.onnx", providers=["CPUExecutionProvider"])
    (written,) = session.run(None, {"image": to_input(images).numpy()})
    np.testing.assert_allclose(written, logits, atol=1e-3)
    for file in sorted(FOLDER.glob("digits*")):
        print(f"{file.name}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()

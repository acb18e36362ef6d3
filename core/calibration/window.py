"""Where a layer looks: the patches of its input that its weights multiply, and the outputs they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
#: indices of drawn positions: of samples and spatial axes, or of rows
Places = tuple[Array, ...]


@dataclass(frozen=True)
class Window:
    """Where a convolution's kernel looks, over any number of spatial axes; no axes: the rows of a matrix.

    Attributes:
        kernel: Size of the kernel by axis.
        strides: Likewise.
        dilations: Likewise.
        pads: Zeros before and after each axis: the two lists of ONNX, one behind the other.
        groups: Groups of channels.
        same: Instead of `pads`, zeros for ⌈size / stride⌉ outputs; an odd one comes `after` or `before`.
    """

    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    groups: int = 1
    same: Literal["", "after", "before"] = ""

    @classmethod
    def of(cls, node: ir.Node, weight_shape: tuple[int, ...]) -> Window:
        """Return where a Conv looks; any other layer looks at the rows of a matrix."""
        if node.op_type != "Conv":
            return cls()
        axes = len(weight_shape) - 2
        given = node.attributes.get_string("auto_pad", "NOTSET")
        pads = node.attributes.get_ints("pads", [0] * 2 * axes) if given == "NOTSET" else [0] * 2 * axes
        same: dict[str, Literal["after", "before"]] = {"SAME_UPPER": "after", "SAME_LOWER": "before"}
        return cls(
            kernel=weight_shape[2:],
            strides=tuple(node.attributes.get_ints("strides", [1] * axes)),
            dilations=tuple(node.attributes.get_ints("dilations", [1] * axes)),
            pads=tuple(pads),
            groups=node.attributes.get_int("group", 1),
            same=same.get(given, ""),
        )

    @property
    def positions(self) -> int:
        """Kernel positions."""
        return int(np.prod(self.kernel, dtype=int))

    def draw(self, array: Array, count: int, rng: np.random.Generator) -> Places:
        """Return the places of up to `count` of the outputs that an input has, in ascending order."""
        if not self.kernel:
            return (_draw(int(np.prod(array.shape[:-1])), count, rng),)
        shape = (array.shape[0], *self._outputs(array.shape[2:]))
        return tuple(np.unravel_index(_draw(int(np.prod(shape)), count, rng), shape))

    def patches(self, array: Array, places: Places) -> Array:
        """Return the patches of an input at these places, shape (groups, places, inputs of a group).

        Inputs are in the order of the weight's memory: channel, then kernel position.
        """
        if not self.kernel:
            return np.asarray(array.reshape(-1, array.shape[-1])[places][None])
        axes = len(self.kernel)
        pads = self._padding(array.shape[2:])
        padded = np.pad(array, [(0, 0), (0, 0), *pads]) if any(map(any, pads)) else array
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, self._reach(), axis=tuple(range(2, 2 + axes))
        )
        every = (slice(None), slice(None))
        windows = windows[every + tuple(slice(None, None, step) for step in (*self.strides, *self.dilations))]
        drawn = windows[_where(places)]
        of_groups = drawn.reshape(len(drawn), self.groups, -1)
        return np.ascontiguousarray(of_groups.transpose(1, 0, 2))

    def outputs(self, array: Array, places: Places) -> Array:
        """Return the outputs at these places, shape (groups, places, outputs of a group)."""
        if not self.kernel:
            return np.asarray(array.reshape(-1, array.shape[-1])[places][None])
        drawn = array[_where(places)]
        of_groups = drawn.reshape(len(drawn), self.groups, -1)
        return np.ascontiguousarray(of_groups.transpose(1, 0, 2))

    def _reach(self) -> list[int]:
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    def _padding(self, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
        axes = len(self.kernel)
        if not self.same:
            return list(zip(self.pads[:axes], self.pads[axes:], strict=True))
        wanted = zip(sizes, self._reach(), self.strides, strict=True)
        total = [max((-(-size // s) - 1) * s + reach - size, 0) for size, reach, s in wanted]
        return [(t // 2, t - t // 2) if self.same == "after" else (t - t // 2, t // 2) for t in total]

    def _outputs(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        padded = [size + sum(pad) for size, pad in zip(sizes, self._padding(sizes), strict=True)]
        fits = zip(padded, self._reach(), self.strides, strict=True)
        return tuple((size - reach) // stride + 1 for size, reach, stride in fits)


def _where(places: Places) -> Any:
    """Return the index of all channels at these places."""
    return (places[0], slice(None), *places[1:])


def _draw(total: int, count: int, rng: np.random.Generator) -> Array:
    """Return `count` of `total` positions in ascending order, all if there are no more."""
    if count >= total:
        return np.arange(total)
    return np.sort(rng.choice(total, size=count, replace=False, shuffle=False))

"""What is known about the zeros of a tensor, and about how they were measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# bins of the histogram over channels, each a tenth wide
BINS = 10


@dataclass(frozen=True)
class Share:
    """How much of a tensor is exactly zero; or negative, where that is what was counted.

    Attributes:
        fraction: Over all elements, 0 to 1.
        channel_axis: The axis that counts channels; None if it has none.
        per_channel: The fraction of each channel.
        p10, p90: Percentiles over the samples, each with its own fraction, to 0.0005; None if rows of the
            tensor do not belong to single samples.
    """

    fraction: float
    channel_axis: int | None = None
    per_channel: tuple[float, ...] = ()
    p10: float | None = field(default=None, kw_only=True)
    p90: float | None = field(default=None, kw_only=True)

    @property
    def histogram(self) -> tuple[int, ...]:
        """How many channels have 0 to 10 %, 10 to 20 %, …, 90 to 100 %; a bin begins with its lower bound."""
        bins = [0] * BINS
        for fraction in self.per_channel:
            bins[min(int(round(fraction, 4) * BINS), BINS - 1)] += 1
        return tuple(bins)

    def facts(self, name: str) -> dict[str, Any]:
        """Return it as JSON values, `name` being what the fraction is called."""
        return {
            name: round(self.fraction, 6),
            f"{name}_p10": self.p10,
            f"{name}_p90": self.p90,
            "channels": len(self.per_channel),
            "histogram": list(self.histogram),
        }


@dataclass(frozen=True)
class Zeros(Share):
    """How much of an activation is exactly zero.

    Attributes:
        dead_channels: Channels that were zero everywhere in every sample.
    """

    dead_channels: tuple[int, ...] = ()

    def facts(self, name: str) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**super().facts(name), "dead_channels": list(self.dead_channels)}


@dataclass(frozen=True)
class Measurement:
    """What the zero fractions of a model were measured on.

    Attributes:
        samples: How many samples.
        source: Where they came from.
        random: Whether they were synthetic.
        zero_fraction: Over all annotated activations together.
        tool: Name and version of the program.
    """

    samples: int
    source: str
    random: bool
    zero_fraction: float
    tool: str

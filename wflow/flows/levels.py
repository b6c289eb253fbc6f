"""A problem of transport on ever coarser grids."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wflow.arrays import Array
from wflow.flows.convolution import Convolution, convolution
from wflow.flows.response import Local
from wflow.functionals import Interaction
from wflow.grid import Grid
from wflow.linalg.softmin import Axes

COARSEST = 8  # cells along an axis
EMPTY = -700.0  # log of the smallest ratio of weights on coarser grids


@dataclass(frozen=True, eq=False)
class Level:
    """The problem on one grid: the masses that move, the energy of where they go, interactions of what goes there with
    their coefficients, the spacing."""

    masses: Array
    energy: Local
    interactions: tuple[tuple[float, Interaction], ...]
    spacing: Array

    @property
    def coarser(self) -> "Level":
        """Half as many cells along the axes of more than `COARSEST`."""
        shape = tuple((n + 1) // 2 if n > COARSEST else n for n in self.masses.shape)
        shift = joined(self.energy.shift, shape) * (np.prod(shape) / self.masses.size)
        logs = tuple(_joined_logs(one, shape) for one in self.energy.logs)
        spacing = self.spacing * self.masses.shape / np.array(shape)
        return Level(joined(self.masses, shape), Local(self.energy.generators, logs, shift), self.interactions, spacing)

    @cached_property
    def _grid(self) -> Grid:
        return Grid(np.zeros(self.spacing.size), self.spacing * self.masses.shape, self.masses.shape)

    @cached_property
    def _convolutions(self) -> list[tuple[float, Convolution]]:
        return [(weight, convolution(self._grid, term.field)) for weight, term in self.interactions]

    def pull(self, b: Array) -> Array | float:
        """Σ c W * b of masses b, 0 without interactions."""
        return sum((weight * conv(b / self._grid.volume) for weight, conv in self._convolutions), start=0.0)

    def value(self, b: Array) -> float:
        """The energy of masses b."""
        return self.energy.value(b) + 0.5 * float(np.sum(b * self.pull(b)))

    @cached_property
    def span(self) -> float:
        """How far Σ c W varies between the cells of the box."""
        offsets = [h * np.arange(1.0 - n, n) for h, n in zip(self.spacing, self.masses.shape, strict=True)]
        places = np.stack([x.ravel() for x in np.meshgrid(*offsets, indexing="ij")], axis=1)
        return float(
            np.ptp(sum((weight * term.field.value(places) for weight, term in self.interactions), start=np.zeros(1)))
        )

    @property
    def widest(self) -> float:
        """The largest spacing; axes of one cell have no say."""
        return float(max([h for h, n in zip(self.spacing, self.masses.shape, strict=True) if n > 1] or self.spacing))

    def axes(self, unit: float) -> Axes:
        """Positions along each axis, in a unit of length."""
        return [np.arange(n) * float(h / unit) for h, n in zip(self.spacing, self.masses.shape, strict=True)]


def _joined_logs(logs: Array, shape: tuple[int, ...]) -> Array:
    top = logs.max()
    return top + np.log(joined(np.exp(np.maximum(logs - top, EMPTY)), shape))


def joined(values: Array, shape: tuple[int, ...]) -> Array:
    """Sums over the cells of a coarser grid, finer ones shared where its sides cut them."""
    for axis, n in enumerate(shape):
        lines = np.moveaxis(values, axis, -1)
        m = lines.shape[-1]
        edges, total = np.linspace(0.0, m, n + 1), np.zeros((*lines.shape[:-1], n))
        first = np.floor(edges[:-1]).astype(np.int64)
        for cell in (first, first + 1, first + 2):
            shares = np.minimum(edges[1:], cell + 1.0) - np.maximum(edges[:-1], cell)
            total += np.maximum(shares, 0.0) * lines[..., np.minimum(cell, m - 1)]
        values = np.moveaxis(total, -1, axis)
    return values


def between(values: Array, shape: tuple[int, ...]) -> Array:
    """Values at the centres of a finer grid, linear between those of a coarser one and flat beyond the last."""
    for axis, n in enumerate(shape):
        lines = np.moveaxis(values, axis, -1)
        m = lines.shape[-1]
        place = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0.0, m - 1.0)
        below = np.floor(place).astype(np.int64)
        rest = place - below
        found = (1.0 - rest) * lines[..., below] + rest * lines[..., np.minimum(below + 1, m - 1)]
        values = np.moveaxis(found, -1, axis)
    return values


def hierarchy(finest: Level) -> list[Level]:
    """A level and all that are coarser."""
    levels = [finest]
    while max(levels[-1].masses.shape) > COARSEST:
        levels.append(levels[-1].coarser)
    return levels

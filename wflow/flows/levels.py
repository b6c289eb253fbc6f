"""A problem of transport on ever coarser grids."""

from dataclasses import dataclass

import numpy as np

from wflow.arrays import Array
from wflow.flows.response import Local
from wflow.linalg.softmin import Axes

COARSEST = 8  # cells along an axis
EMPTY = -700.0  # log of the smallest ratio of weights on coarser grids


@dataclass(frozen=True, eq=False)
class Level:
    """The problem on one grid: the masses that move, the energy of where they go, the spacing."""

    masses: Array
    energy: Local
    spacing: Array

    @property
    def coarser(self) -> "Level":
        """Half as many cells along the axes of more than `COARSEST`."""
        shape = tuple((n + 1) // 2 if n > COARSEST else n for n in self.masses.shape)
        top = self.energy.logs.max()
        weights = joined(np.exp(np.maximum(self.energy.logs - top, EMPTY)), shape)
        shift = joined(self.energy.shift, shape) * (np.prod(shape) / self.masses.size)
        energy = Local(self.energy.generator, top + np.log(weights), shift)
        return Level(joined(self.masses, shape), energy, self.spacing * self.masses.shape / np.array(shape))

    @property
    def widest(self) -> float:
        """The largest spacing; axes of one cell have no say."""
        return float(max([h for h, n in zip(self.spacing, self.masses.shape, strict=True) if n > 1] or self.spacing))

    def axes(self, unit: float) -> Axes:
        """Positions along each axis, in a unit of length."""
        return [np.arange(n) * float(h / unit) for h, n in zip(self.spacing, self.masses.shape, strict=True)]


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

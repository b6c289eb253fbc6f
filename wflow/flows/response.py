"""How the masses of cells follow from what acts on them, for the JKO step on grids of more than one axis."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.flows.terms import diffusivity, slope_of
from wflow.flows.variation import Variation
from wflow.functionals import Generator, Logarithmic
from wflow.functionals.powers import Weighted

LOGS = np.linspace(-1400.0, 1400.0, 14001)  # of ratios b/π: flows take log π down to -1290
LARGEST = 600.0  # log of the largest mass: what is multiplied with it stays within float64


@dataclass(frozen=True, eq=False)
class Response:
    """Masses exp(`logs`) u of the cells by ½ log mass + `theta` (φ'(u) + `shift`) = w; none where logs are -inf."""

    generator: Generator
    logs: Array
    shift: Array
    theta: float

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            levels = 0.5 * LOGS + self.theta * slope_of(self.generator, LOGS)
        levels = np.where(np.isfinite(levels), levels, -np.inf)
        good = (levels > -np.inf) & (levels > np.append(-np.inf, np.maximum.accumulate(levels)[:-1]))
        return levels[good], LOGS[good]

    @cached_property
    def open(self) -> Any:
        """Where masses may be."""
        return self.logs > -np.inf

    @cached_property
    def held_logs(self) -> Array:
        """log π where masses may be, 0 elsewhere."""
        return np.where(self.open, self.logs, 0.0)

    def masses(self, w: Array) -> Array:
        """The masses; inf above exp(`LARGEST`)."""
        levels, logs = self._table
        with np.errstate(all="ignore"):
            w = w - 0.5 * self.held_logs - self.theta * self.shift
            log_u = np.interp(w, levels, logs)
            for _ in range(6):
                rest = w - 0.5 * log_u - self.theta * slope_of(self.generator, log_u)
                step = np.clip(np.nan_to_num(rest / self._steepness(log_u)), -0.5, 0.5)
                log_u = np.clip(log_u + step, logs[0], logs[-1])
                if np.abs(step).max() < 1e-13:
                    break
            log_b = self.held_logs + log_u
            found = np.where((w < levels[-1]) & (log_b < LARGEST), np.exp(log_b), np.inf)
        return np.where(self.open, found, 0.0)

    def slope(self, masses: Array) -> Array:
        """d mass/dw."""
        with np.errstate(all="ignore"):
            return np.where(masses > 0.0, masses / self._steepness(np.log(masses) - self.held_logs), 0.0)

    def force(self, masses: Array) -> Array:
        """theta (φ'(u) + `shift`) of given masses."""
        with np.errstate(all="ignore"):
            return np.where(
                self.open, self.theta * (slope_of(self.generator, np.log(masses) - self.held_logs) + self.shift), 0.0
            )

    def _steepness(self, log_u: Array) -> Array:
        return 0.5 + self.theta * diffusivity(self.generator, log_u)


@dataclass(frozen=True, eq=False)
class Local:
    """An energy Σ π φ(b/π) + V b of masses b in cells, with π = exp(`logs`)."""

    generator: Generator
    logs: Array
    shift: Array


def local_energy(variation: Variation, time: float) -> Local:
    """The density terms and potentials of a functional: reverse KL divergences and entropies as one, from the product
    of their targets and exp(-V/T), others from one target."""
    terms, grid = variation.terms, variation.grid
    shift = variation.potential(time) if terms.potential else np.zeros(grid.cells)
    logs = [np.zeros(grid.cells) if one is None else one for one in variation.log_targets]
    weights = tuple(weight for weight, _ in terms.densities)
    generators = tuple(term.generator for _, term in terms.densities)
    log_volume = np.log(grid.volume)
    if terms.logarithmic:
        mixed = sum(weight * one for weight, one in zip(weights, logs, strict=True)) - shift
        return Local(
            Weighted((terms.temperature,), (Logarithmic(),)),
            mixed / terms.temperature + log_volume,
            np.zeros(grid.cells),
        )
    logs_of_one = logs[0] if logs else np.zeros(grid.cells)
    return Local(Weighted(weights, generators), logs_of_one + log_volume, shift)

"""The mesh of a kernel density estimate: its cells, and the kernel on it, as a transform or in real space."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from wflow.errors import InputError
from wflow.estimators.box import Box
from wflow.estimators.cloud import Array

ORDERS = (4, 6)
MAX_CELLS = 2**27
SCALES = {4: 1.8e-4, 6: 3.4e-6}  # of `mesh_error`
FINEST, COARSEST = 1e-8, 1e-2
REACH = 8.0  # bandwidths, splines included: the Gaussian there is exp(-32) = 1e-14
PAIRS = 4  # of neighbours that a filter takes at once, see `kernels.smoothing`
FARTHEST = 2.0**40  # cells: coordinates beyond would leave too few digits for the place within a cell


@dataclass(frozen=True, eq=False)
class Mesh:
    """A mesh and its kernel: lower (d,) corner, spacing (d,), cells per axis, mirrored (d,) bool, and per
    axis the transform of the kernel. Made by `plan_mesh`; the same mesh can serve many weights. Axes without
    walls are periodic.

    With `ends` (see `kernels.smoothing`) the factors are the kernel in real space from its middle out; `open` axes
    then have nothing beyond their nodes, neither walls nor images.
    """

    lower: Array
    spacing: Array
    cells: tuple[int, ...]
    mirrored: Array
    factors: tuple[Array, ...]
    order: int
    ends: tuple[NDArray[np.int64], ...] = ()
    open: bool = False

    @property
    def ghosts(self) -> int:
        """Ghost layers on the lower side of each axis; the upper side has one more."""
        return 0 if self.open else self.order // 2

    @property
    def extended(self) -> tuple[int, ...]:
        return self.cells if self.open else tuple(m + 2 * self.ghosts + 1 for m in self.cells)

    @property
    def core(self) -> tuple[slice, ...]:
        return tuple(slice(self.ghosts, self.ghosts + m) for m in self.cells)

    @property
    def offset(self) -> Array:
        """Where the mesh coordinate of the kernels is 0. Nodes are at cell edges, between walls at cell centres."""
        return self.lower - np.where(self.mirrored, 0.5, 1.0) * self.spacing

    @property
    def taps(self) -> tuple[float, ...]:
        return (0.0,) * self.order


def plan_mesh(
    extent: Array,
    bandwidth: Array,
    box: Box | None = None,
    order: int = 4,
    ratio: float = 3.0,
    positive: bool = False,
) -> Mesh:
    """The `Mesh` for positions within extent (2, d), for a kernel of standard deviations bandwidth (d,).

    Spacing at most bandwidth / ratio; exactly that in free space, where nodes lie at whole multiples of it,
    so that the mesh does not move with the cloud, and the period leaves 8 bandwidths between images (wrap
    error below 1e-13). The `positive` kernel is a Gaussian at the nodes, cut where with its splines it is 8 bandwidths
    wide on either side; that many nodes need no transform, which at a ratio of 1.5 takes three times as long, nor
    images. Raises `InputError` beyond 2^27 cells.
    """
    _check_options(len(bandwidth), order, ratio, positive)
    step, margin = bandwidth / ratio, 0.0 if positive else REACH * ratio
    counts = _counts(extent, step, box, order, margin)
    _check_size(extent, bandwidth, step, counts, box)
    cells = tuple(int(c) if positive else fft.next_fast_len(int(c), real=True) for c in counts)
    if box is None:
        lower, spacing, mirrored = np.floor(extent[0] / step) * step, step, np.zeros(len(step), dtype=bool)
    else:
        lower, spacing, mirrored = box.lower, (box.upper - box.lower) / cells, box.mirrored
    if positive:
        rows = [
            _filter(cells[k], spacing[k], bandwidth[k], order, None if box is None else box.sides[k])
            for k in range(len(cells))
        ]
        weights, ends = zip(*rows, strict=True)
        return Mesh(lower, spacing, cells, mirrored, weights, order, ends, box is None)
    last = max((k for k in range(len(cells)) if not mirrored[k]), default=None)
    factors = tuple(
        _transform(cells[k], spacing[k], bandwidth[k], order, bool(mirrored[k]), k == last) for k in range(len(cells))
    )
    return Mesh(lower, spacing, cells, mirrored, factors, order)


def _counts(extent: Array, step: Array, box: Box | None, order: int, margin: float) -> Array:
    """Least number of cells per axis, as floats, which may be huge."""
    if box is None:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ceil(extent[1] / step) - np.floor(extent[0] / step) + margin + order + 1
    return np.maximum(np.ceil((box.upper - box.lower) / step), 2 * order)


def mesh_cells(extent: Array, bandwidth: Array, box: Box | None, order: int, ratio: float) -> float:
    """How many cells `plan_mesh` would take for a positive kernel."""
    return float(np.prod(_counts(extent, bandwidth / ratio, box, order, 0.0)))


def mesh_error(order: int, ratio: float, d: int) -> float:
    """Largest relative error of the density to be expected at the particles, for spacing bandwidth / ratio.

    d A (3/ratio)^order with A above all of `data/mesh_accuracy.csv`: normal, skewed and clustered clouds, walls. The
    rms error of the score times the bandwidth is of the same size, up to five times it where clusters are wider apart
    than the bandwidth.
    """
    return d * SCALES[order] * (3.0 / ratio) ** order


def mesh_for(accuracy: float, d: int) -> tuple[int, float]:
    """Order and ratio of a mesh whose `mesh_error` is at most `accuracy`: order 4 as long as ratio 4.5 will do.

    Raises `InputError` unless accuracy is from 1e-8 to 1e-2.

    >>> order, ratio = mesh_for(1e-3, 2)
    >>> order, round(ratio, 6)
    (4, 2.32379)
    """
    if not FINEST <= accuracy <= COARSEST:
        raise InputError(f"the accuracy of a mesh must be from {FINEST:g} to {COARSEST:g}, got {accuracy}")
    four, six = (3.0 * (d * SCALES[order] / accuracy) ** (1.0 / order) for order in ORDERS)
    return (4, max(four, 1.5)) if four <= 4.5 else (6, max(six, 2.0))


def _check_options(d: int, order: int, ratio: float, positive: bool) -> None:
    if d > 3:
        raise InputError(f'the mesh serves d = 1, 2 and 3, got d = {d}; take method="direct"')
    if order not in ORDERS:
        raise InputError(f"the order of the splines must be one of {ORDERS}, got {order}")
    least = np.sqrt(order / 6 + 0.25) if positive else 1.5
    if not least <= ratio < np.inf:
        raise InputError(f"ratio = bandwidth / mesh spacing must be at least {least:.3g}, got {ratio}")


def _check_size(extent: Array, bandwidth: Array, step: Array, count: Array, box: Box | None) -> None:
    outermost = np.abs(extent if box is None else [box.lower, box.upper]).max(axis=0)
    if np.any(outermost > FARTHEST * step):
        raise InputError(f"coordinates of {outermost} cannot resolve a bandwidth of {bandwidth}; move the origin")
    if np.prod(count) > MAX_CELLS:
        raise InputError(
            f"the mesh would have {np.prod(count):.3g} cells, more than {MAX_CELLS}: "
            f"the bandwidth {bandwidth} is small "
            'against the extent of the samples; take method="direct" or a larger bandwidth'
        )


def _transform(cells: int, spacing: float, bandwidth: float, order: int, mirrored: bool, halved: bool) -> Array:
    """Fourier factor of one axis over h: the Gaussian with the two splines divided out."""
    if mirrored:
        cycles = np.arange(cells) / (2 * cells)
    else:
        cycles = fft.rfftfreq(cells) if halved else fft.fftfreq(cells)
    wave = (2 * np.pi * cycles / spacing) ** 2
    return np.exp(-0.5 * wave * bandwidth**2) / np.sinc(cycles) ** (2 * order) / spacing


@lru_cache(maxsize=64)
def _filter(
    cells: int, spacing: float, bandwidth: float, order: int, side: str | None
) -> tuple[Array, NDArray[np.int64]]:
    """Weights over h of one axis, a Gaussian with the variance that the two splines leave, and its `ends`."""
    width = np.sqrt((bandwidth / spacing) ** 2 - order / 6)
    period = np.inf if side is None else cells if side == "periodic" else 2 * cells
    reach = PAIRS * int(np.ceil(min(REACH * bandwidth / spacing - order, period) / PAIRS))
    weights = np.exp(-0.5 * (np.arange(reach + 1) / width) ** 2)
    if 2 * reach >= period:  # with all images: half a period on either side, the middle of which counts once
        around = fft.irfft(np.exp(-0.5 * (2 * np.pi * width * fft.rfftfreq(int(period))) ** 2), int(period))
        half = int(period) // 2
        weights = np.zeros(reach + 1)
        weights[: half + 1] = around[: half + 1]
        weights[half] *= 1.0 if period % 2 else 0.5
    places = np.concatenate([np.arange(-reach, 0), np.arange(cells, cells + reach)])
    if side is None:
        ends = np.full(2 * reach, -1)
    else:
        ends = places % int(period)
        ends = np.where(ends < cells, ends, 2 * cells - 1 - ends)
    return weights / (spacing * (2.0 * weights.sum() - weights[0])), ends

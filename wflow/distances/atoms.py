"""W2 beyond the line: point masses that stand for a measure, gathered until the linear program can take them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wflow.arrays import Array
from wflow.linalg import transport
from wflow.linalg.assignment import assignment, pairable, settled
from wflow.states import Density, Particles

DRAWS = 100_000
SLICED_POINTS = 20_000  # 200 slices of so many take a second
BOXES = 2000  # some three seconds of the network simplex
DEPTH = 10
LOOSEST = 0.1, 0.01  # of W2 or of the spread: what the pairing of an auction may leave open, as boxes leave more


@dataclass(frozen=True)
class Atoms:
    """Point masses that stand for a measure: positions, weights, the spread `slack` of what each stands for, and a
    note."""

    positions: Array
    weights: Array
    slack: float = 0.0
    note: str = ""


def as_atoms(measure: Any, other: Any, draw: np.random.Generator) -> Atoms:
    """The atoms of a state, or draws from a target: as many as the method for the pair can take."""
    if isinstance(measure, Density):
        shares = measure.values.ravel() / measure.values.sum()
        full = shares > 0.0
        spread = float(np.sum(measure.grid.spacing**2)) / 12.0
        return Atoms(measure.grid.points()[full], shares[full], spread)
    few = isinstance(other, Particles) and len(other) <= BOXES
    count = DRAWS if measure.dim <= 3 else BOXES if few else SLICED_POINTS
    if not isinstance(measure, Particles):
        note = f", from {count} draws of the {type(measure).__name__}"
        return Atoms(measure.sample(count, draw), np.full(count, 1.0 / count), note=note)
    if measure.dim <= 3 or len(measure) <= SLICED_POINTS:
        return Atoms(measure.positions, measure.weights)
    which = draw.choice(len(measure), size=SLICED_POINTS, p=measure.weights)
    note = f", from {SLICED_POINTS} of the particles"
    return Atoms(measure.positions[which], np.full(SLICED_POINTS, 1.0 / SLICED_POINTS), note=note)


def coupled(a: Atoms, b: Atoms) -> tuple[float, str]:
    """W2 between two sets of atoms in d >= 2, and how it was found."""
    dim, note = a.positions.shape[1], a.note + b.note
    sizes = sorted((len(a.positions), len(b.positions)))
    # The network simplex crawls where one side is far larger than the other: 15 by 100 000 take minutes.
    if sizes[0] * sizes[1] <= transport.EXACT_PAIRS and sizes[1] <= 2 * BOXES:
        how = "linear program"
    elif pairable(a.weights, b.weights, dim) and (found := _paired(a, b, note)):
        return found
    elif dim > 3:
        text = f"{transport.DIRECTIONS} slices, a lower bound{note}"
        # Equal weights need no merging of levels, which is twenty times as fast.
        wa, wb = (None if np.ptp(atoms.weights) == 0.0 else atoms.weights for atoms in (a, b))
        return transport.sliced(a.positions, b.positions, wa, wb), text
    else:
        a, b = _gathered(a, b)
        how = f"linear program on {len(a.positions)} by {len(b.positions)} boxes"
    value, _ = transport.clouds(a.positions, b.positions, a.weights, b.weights)
    bound = np.sqrt(a.slack) + np.sqrt(b.slack)
    certainty = f", off by at most {_above(bound)}" if bound > 0.0 else "" if note else ", exact"
    return value, how + certainty + note


def _paired(a: Atoms, b: Atoms, note: str) -> tuple[float, str] | None:
    """Of as many atoms of equal masses, one for one; None where the auction says less than boxes would."""
    _, value, excess = assignment(a.positions, b.positions)
    if not settled(a.positions, value, excess, LOOSEST):
        return None
    return value, f"auction, at most {_above(excess)} too large{note}"


def _above(bound: float) -> str:
    """Two digits of a bound, rounded up."""
    if not 0.0 < bound < np.inf:
        return f"{bound:g}"
    unit = 10.0 ** (np.floor(np.log10(bound)) - 1.0)
    return f"{np.ceil(bound / unit * (1.0 - 1e-12)) * unit:.2g}"


def _gathered(a: Atoms, b: Atoms) -> tuple[Atoms, Atoms]:
    """Both in at most `BOXES` boxes of one tree, each with its mass and centre of mass, so that means stay exact.

    Boxes are halved along every axis while mass times squared width is above a level, so that tails take few of them.
    One tree for both: what is alike stays alike.
    """
    points = np.concatenate((a.positions, b.positions))
    weights = np.concatenate((a.weights, b.weights))
    low = points.min(axis=0)
    width = float(np.max(points.max(axis=0) - low)) * (1.0 + 1e-12)
    parents, worth, labels = np.zeros(len(points), dtype=np.int64), [np.full(len(points), np.inf)], []
    for depth in range(DEPTH + 1):
        index = np.minimum(((points - low) * (2**depth / width)).astype(np.int64), 2**depth - 1)
        flat = index @ (2**depth) ** np.arange(points.shape[1])
        parents = np.unique(flat, return_inverse=True)[1].ravel()
        labels.append(parents)
        worth.append(np.bincount(parents, weights)[parents] * 0.25**depth)
    worth[-1] = np.zeros(len(points))
    boxes = _leaves(np.array(worth), labels)
    return _boxed(a, boxes[: len(a.positions)]), _boxed(b, boxes[len(a.positions) :])


def _leaves(worth: Array, labels: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The box of each point: of its first depth where the box is worth no more than a level; the lowest level that
    fits."""
    firsts = [np.unique(label, return_index=True)[1] for label in labels]

    def count(level: float) -> int:
        return sum(
            int(np.count_nonzero((worth[d][first] > level) & (worth[d + 1][first] <= level)))
            for d, first in enumerate(firsts)
        )

    low, high = 1e-16, 1.0
    for _ in range(40):
        level = float(np.sqrt(low * high))
        low, high = (low, level) if count(level) <= BOXES else (level, high)
    depth = np.count_nonzero(worth[1:] > high, axis=0)
    largest = len(depth)
    return np.array(labels)[depth, np.arange(largest)] + largest * depth


def _boxed(atoms: Atoms, boxes: NDArray[np.int64]) -> Atoms:
    which = np.unique(boxes, return_inverse=True)[1].ravel()
    mass = np.bincount(which, atoms.weights).astype(np.float64)
    filled = mass > 0.0
    safe = np.where(filled, mass, 1.0)
    centers = np.stack([np.bincount(which, atoms.weights * x) / safe for x in atoms.positions.T], axis=1)
    spread = float(atoms.weights @ np.sum((atoms.positions - centers[which]) ** 2, axis=1))
    return Atoms(centers[filled], mass[filled], atoms.slack + spread, atoms.note)

"""Committors and mean first-passage times of linear flows: the backward equation with values held on sets of cells.

A set is a union of cells and ends on their faces: there its value is held, half a spacing from the next centre, as at
an absorbing side. So both are of order 2 for sets that end on faces.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.flows.reference import Weights
from wflow.functionals import Functional
from wflow.grid import Grid
from wflow.kernels import stencil
from wflow.linalg import network
from wflow.linalg.cg import solve
from wflow.linalg.multigrid import Operator
from wflow.spectra.problem import Mask, closed, fokker_planck, sides

Region = Mask | Callable[[Array], Any]

PRECISE = 1e-15  # as far as rounding allows: small values lie below a coarser goal
# What two ways of adding up one flux may differ by before elimination takes over from conjugate gradients, and, where
# the grid is too large for it, before the answer is refused.
BALANCE, LOOSE = 1e-8, 1e-4


def committor(functional: Functional, grid: Grid, a: Region, b: Region) -> Array:
    """The probability h of reaching the set b before the set a, from each cell: ∇·(p∇h) = 0, h = 0 on a, 1 on b.

    `a` and `b` are boolean arrays in the shape of the cells, or callables `(n, d) -> (n,)` bool taken at the cell
    centres. Paths that leave by an absorbing side count as not having reached b. Returns an array in the shape of the
    cells, nan where neither set can be reached, and where p is 0 or below exp(-690) of its largest value.

    Order 2 in the spacing for sets that end on cell faces. The system is solved to a relative 1e-8 at any
    temperature, also where h is near 0: where conjugate gradients lose the balance of fluxes, elimination takes
    over, up to 256² and 24³ cells; larger ones are solved to 1e-4 or refused. Cost: 20 to 30 multigrid cycles, with
    elimination 2 s at 256². Raises `InputError` for flows that are not linear, sets that are empty or meet, and
    weights whose range is too wide for the size of the grid.

    >>> from wflow.functionals import Entropy
    >>> committor(Entropy(), Grid(0.0, 1.0, 4), lambda x: x[:, 0] < 0.25, lambda x: x[:, 0] > 0.75)
    array([0.  , 0.25, 0.75, 1.  ])
    """
    weights, _ = fokker_planck(functional, grid)
    first, second = _region(grid, a, "a"), _region(grid, b, "b")
    if np.any(first & second):
        raise InputError(f"the sets a and b share {np.count_nonzero(first & second)} cell(s)")
    shape = weights.cells.shape
    low, high = first.reshape(shape), second.reshape(shape)
    system, live = _held(weights, low | high)
    to_low, to_high = _ties(weights, low) * live, _ties(weights, high) * live
    h = _committed(system, to_low, to_high)
    h = np.where(live, np.minimum(h, 1.0), np.where(high, 1.0, np.where(low, 0.0, np.nan)))
    return h.reshape(grid.cells)


def first_passage_time(functional: Functional, grid: Grid, target: Region | None = None) -> Array:
    """The mean time τ to reach a set or an absorbing side, from each cell: T ∇·(p∇τ) = -p, τ = 0 there.

    `target` is as in `committor`; None stands for the absorbing sides alone. Returns an array in the shape of the
    cells: 0 on the target, inf where it cannot be reached, nan where p is 0 or below exp(-690) of its largest value.
    Time is that of ∂q = T ∇·(p∇(q/p)), T the total weight of the entropy. Order 2 for targets that end on cell faces.
    Accuracy, cost and errors as in `committor`.

    >>> from wflow.functionals import Entropy
    >>> tau = first_passage_time(Entropy(), Grid(0.0, 1.0, 100, "absorbing"))
    >>> round(float(tau.max()), 4)     # x (1 - x)/2 at 1/2
    0.125
    """
    weights, temperature = fokker_planck(functional, grid)
    if target is None and not any("absorbing" in pair for pair in grid.boundary):
        raise InputError("with no target and no absorbing side nothing is ever reached; give target=...")
    held = np.zeros(grid.cells, bool) if target is None else _region(grid, target, "target")
    held = held.reshape(weights.cells.shape)
    system, live = _held(weights, held)
    rhs = np.where(live, weights.cells / temperature, 0.0)
    tau = _drained(system, rhs)
    return np.where(live, tau, np.where(held, 0.0, np.where(weights.cells > 0.0, np.inf, np.nan))).reshape(grid.cells)


def _region(grid: Grid, region: Region, name: str) -> Mask:
    mask = np.asarray(region(grid.points()) if callable(region) else region)
    if mask.dtype != bool or mask.size != int(np.prod(grid.cells)):
        raise InputError(
            f"{name} must be booleans in the shape {grid.cells} of the cells, or a callable (n, d) -> (n,) bool; "
            f"got {mask.dtype} of shape {mask.shape}"
        )
    if not mask.any():
        raise InputError(f"no cell centre lies in {name}; enlarge it or refine the grid")
    return mask.reshape(grid.cells)


def _held(weights: Weights, held: Mask) -> tuple[Operator, Mask]:
    """The operator on the cells outside a set that can reach it or an absorbing side, and which they are."""
    faces = [closed(weights, held, axis) for axis in range(3)]
    ties = np.where(held, 0.0, _ties(weights, held))
    system = Operator(ties, faces[0], faces[1], faces[2], weights.wraps)
    live = ~held & (weights.cells > 0.0)
    if not (weights.cells > 0.0).all():
        count, labels = network.pieces(system)
        tied = np.bincount(labels.ravel(), _ground(system).ravel(), count) > 0.0
        live &= tied[labels]
        faces = [closed(weights, ~live, axis) for axis in range(3)]
        system = Operator(ties * live, faces[0], faces[1], faces[2], weights.wraps)
    return system, live


def _ties(weights: Weights, held: Mask) -> Array:
    """What ties each cell to the cells of a set: twice the coefficient of each face they share."""
    total = np.zeros(held.shape)
    for axis, n in enumerate(held.shape):
        below, above = sides(held, axis, weights.wraps[axis])
        face, cells = weights.faces[axis], np.arange(n)
        total += 2.0 * np.take(face, cells, axis) * np.take(below, cells, axis)
        total += 2.0 * np.take(face, cells + 1, axis) * np.take(above, cells + 1, axis)
    return total


def _committed(system: Operator, to_low: Array, to_high: Array) -> Array:
    """h with the system's h = to_high, kept only if fluxes and probabilities add up.

    Rounding of a heavy cell may drown the face that ties its well to the rest, and no residual would show it. But the
    flux into a when b is held at 1 and into b when a is must be one number, as positive sums, and the two
    probabilities must not exceed 1 together, nor fall short of it without another way out.
    """
    forward = solve(system, to_high, rtol=PRECISE).w
    if max(to_high.shape[:2]) == 1:
        return forward
    backward = solve(system, to_low, rtol=PRECISE).w
    there, back = float((to_low * forward).sum()), float((to_high * backward).sum())
    off = (forward + backward - 1.0)[system.inverse > 0.0]
    wrong = max(abs(there - back) / max(there, back, 1e-300), float(off.max(initial=0.0)))
    if not np.any(_ground(system) > system.diag):
        wrong = max(wrong, float(-off.min(initial=0.0)))
    return _trusted(system, to_high, forward, wrong)


def _ground(system: Operator) -> Array:
    """What ties each cell to the outside: held sets and absorbing sides."""
    ground = np.empty(system.diag.shape)
    stencil.grounds(system.diag, *system.faces, system.periodic, ground)
    return ground


def _drained(system: Operator, rhs: Array) -> Array:
    """τ, kept only if what flows out, a sum of positive numbers, is what is put in."""
    tau = solve(system, rhs, rtol=PRECISE).w
    if max(rhs.shape[:2]) == 1:
        return tau
    wrong = abs(float((_ground(system) * tau).sum()) / float(rhs.sum()) - 1.0)
    return _trusted(system, rhs, tau, wrong if tau.min() >= 0.0 else np.inf)


def _trusted(system: Operator, rhs: Array, w: Array, wrong: float) -> Array:
    """w where its balance is right, else the same by elimination where that is cheap enough."""
    if wrong <= BALANCE:
        return w
    if network.fits(system):
        return network.factorise(system).solve(rhs)
    if wrong <= LOOSE:
        return w
    raise InputError(
        f"the weights span too many orders of magnitude for {rhs.size} cells; take at most 256² or 24³ cells, "
        "or a higher temperature"
    )

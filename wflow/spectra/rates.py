"""The slowest rates and modes of a flow at equilibrium."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigs, eigsh

from wflow.arrays import Array
from wflow.errors import InputError
from wflow.functionals import Functional
from wflow.grid import Grid
from wflow.linalg import network
from wflow.linalg.cg import solve
from wflow.linalg.krylov import solve_linear
from wflow.linalg.multigrid import build
from wflow.spectra.equilibria import equilibrium
from wflow.spectra.linearisation import Linearisation, linearise
from wflow.spectra.problem import Problem, as_problem, flat_rest
from wflow.states import Density

Map = Callable[[Array], Array]

# A rate far below the shift is lost in 1/(rate + shift); below this part of it, it is found again with a smaller one.
RESOLVED = 1e-5


@dataclass(frozen=True, eq=False)
class Spectrum:
    """`rates` (k,), rising; `modes` (k, *cells), the δq that decay with them; the `equilibrium` they belong to."""

    rates: Array
    modes: Array
    equilibrium: Density


def spectrum(functional: Functional, grid: Grid, k: int = 6, at: Density | None = None) -> Spectrum:
    """The k slowest rates and modes of the flow of `functional` on `grid`, linearised at its equilibrium.

    A perturbation c · modes[i] of the equilibrium decays like exp(-rates[i] t). Without absorbing sides rates[0] is
    0 with the equilibrium for its mode: mass is kept; where walls (p = 0) part the support there is one such pair
    for each piece. Linear flows are their own linearisation; a divergence relaxes at f''(1) times the rates of
    reverse-kl. With interactions a negative rate says that the equilibrium is not stable. `at` is the state of rest
    to linearise at, by default `wf.equilibrium(functional, grid)`. With absorbing sides, for linear flows only, all
    rates are positive, and `equilibrium` is the density that lasts longest, modes[0].

    Modes are scaled to ∫ S δq² = 1, with S the local part of the second variation (T/q* for linear flows); without
    interactions they are orthonormal in it. Of each the value that is largest in size is positive.

    The rates are those of the discrete flow to 1e-9, however small on grids up to 256² and 24³ cells, beyond only
    down to 1e-13 of T/h². They converge to those of the equation at order 2 in the spacing where q* is smooth; a free
    boundary costs most of that: porous medium in x², 130 cells across, to 1 % at m = 2 and to 14 % at m = 3. Cost:
    about 40 solves, by elimination up to the sizes named (1 s at 128², 5 s at 256²), by conjugate gradients beyond.

    Raises `InputError` for what has no equilibrium, and for `at` that is no state of rest.

    >>> from wflow.functionals import Entropy, Potential
    >>> spectrum(Entropy() + Potential("x**2 / 2"), Grid(-8.0, 8.0, 256), k=3).rates.round(3) + 0.0
    array([0., 1., 2.])
    """
    problem = as_problem(functional, grid)
    cells = int(np.prod(grid.cells))
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= cells:
        raise InputError(f"k must be a whole number from 1 to the {cells} cells, got {k!r}")
    rest = _rest(problem, functional, at)
    flow = linearise(problem, rest)
    if k > np.count_nonzero(flow.give):
        raise InputError(
            f"the equilibrium fills {np.count_nonzero(flow.give)} cells only, got k = {k}; refine the grid"
        )
    rates, modes = _nonlocal(flow, k) if flow.fields else _symmetric(flow, k)
    modes = _scaled(modes, flow).reshape(k, *grid.cells) / np.sqrt(grid.volume)
    if problem.absorbing:
        rest = Density(grid, np.maximum(modes[0], 0.0))
    return Spectrum(rates, modes, rest)


def _rest(problem: Problem, functional: Functional, at: Density | None) -> Density:
    if at is not None and (not isinstance(at, Density) or at.grid != problem.grid):
        raise InputError("at must be a wf.Density on the same grid")
    if problem.absorbing:
        if problem.form is None or not problem.form.linear:
            raise InputError("absorbing sides have rates for linear flows only: reverse-kl, or Entropy + Potential")
        return Density(problem.grid, problem.form.weights(0.0, np.zeros(problem.grid.cells)).cells.ravel())
    if at is None:
        return equilibrium(functional, problem.grid)
    with np.errstate(all="ignore"):
        xi = problem.variation.slope(0.0, at.values)
    off = flat_rest(xi, at.values)
    if not off <= 1e-6 * (1.0 + float(np.ptp(xi[at.values > 0.0]))):
        raise InputError(f"at is no state of rest: δF/δq varies by {off:.1e} on it; take wf.equilibrium(..., start=at)")
    return at


def _scaled(modes: Array, flow: Linearisation) -> Array:
    """Scale to Σ S δq² = 1 and fix the signs."""
    flat, give = modes.reshape(len(modes), -1), flow.give.ravel()
    held = np.sqrt(np.where(give > 0.0, give, 1.0))
    out = flat / np.abs(flat / held).max(axis=1)[:, None]  # first this, or squares overflow
    out /= np.sqrt(((out / held) ** 2).sum(axis=1))[:, None]
    signs = np.sign(out[np.arange(len(out)), np.abs(out).argmax(axis=1)])
    return out * signs[:, None]


def _symmetric(flow: Linearisation, k: int) -> tuple[Array, Array]:
    """Rates and modes of L w = rate · w/S.

    In z = √(1/S) w the problem is symmetric, and weights that underflow do no harm. Shift and invert with ARPACK: at
    the same accuracy LOBPCG with a multigrid cycle took twice as long in two dimensions and as long in three, since
    each of its iterations pays for the whole block. The rates of other size than the shift are found apart.
    """
    root = np.sqrt(flow.give)
    nulls = _conserved(flow, root)[:k]
    shift, want = _scale(flow), k - len(nulls)
    rates, modes = [0.0] * len(nulls), [root * z for z in nulls]
    found: list[tuple[Array, Array]] = []
    while want > 0:
        values, vectors = _near(flow, root, nulls, shift, want)
        low = values < RESOLVED * shift
        found.append((values[~low], vectors[~low]))
        want = int(low.sum())
        if want and shift < 1e-285:
            found.append((np.zeros(want), vectors[low]))
            break
        shift = max(1e-9 * shift, float(values[low].max(initial=0.0)))
    for values, vectors in reversed(found):
        rates.extend(values)
        modes.extend(vectors)
    return np.array(rates), np.array(modes)


def _conserved(flow: Linearisation, root: Array) -> Array:
    """The orthonormal z of rate 0: one for each piece of the support, none with absorbing sides."""
    if flow.leaks:
        return np.zeros((0, *root.shape))
    held = root > 0.0
    if held.all():
        return (root / np.linalg.norm(root))[None]
    _, labels = network.pieces(flow.operator(1.0))
    kinds = np.unique(labels[held])
    out = np.stack([np.where(labels == kind, root, 0.0) for kind in kinds])
    return out / np.linalg.norm(out.reshape(len(out), -1), axis=1).reshape(-1, 1, 1, 1)


def _scale(flow: Linearisation) -> float:
    """The size of a slow rate: Rayleigh's quotient of the coordinates, which for a Gaussian are the slowest modes."""
    best = np.inf
    for axis, n in enumerate(flow.give.shape):
        if n > 1:
            x = np.arange(n, dtype=np.float64).reshape([-1 if a == axis else 1 for a in range(3)])
            centred = x - (flow.give * x).sum() / flow.give.sum()
            inner = np.take(flow.weights.faces[axis], np.arange(1, n), axis)
            best = min(best, float(inner.sum()) / float((flow.give * centred**2).sum()))
    total = float(sum(face.sum() for face in flow.weights.faces)) / float(flow.give.sum())
    return best if 0.0 < best < np.inf else max(total, 1e-200)


def _inverse(flow: Linearisation, shift: float) -> Map:
    """(L + shift/S)⁻¹, one factorisation or hierarchy for many right-hand sides."""
    system = flow.operator(shift)
    if network.fits(system):
        return network.factorise(system).solve
    hierarchy = build(system)
    return lambda rhs: solve(system, rhs, rtol=1e-12, hierarchy=hierarchy).w


def _near(flow: Linearisation, root: Array, nulls: Array, shift: float, count: int) -> tuple[Array, Array]:
    """`count` rates from the smallest on, and their modes, from the solver at one shift."""
    inverse = _inverse(flow, shift)

    def project(z: Array) -> Array:
        for null in nulls:
            z = z - null * float(np.vdot(null, z))
        return z

    def product(v: Array) -> Array:
        z = project(v.reshape(root.shape))
        return project(root * inverse(root * z)).ravel()

    values, vectors = _largest(product, root.size, count, len(nulls))
    rates = 1.0 / values - shift
    # One more solve gives w digits where its weight is nothing.
    modes = np.array([flow.give * inverse(root * v.reshape(root.shape)) for v in vectors.T])
    return rates, modes


def _largest(product: Map, n: int, count: int, spare: int) -> tuple[Array, Array]:
    """The largest eigenvalues, falling, of a symmetric operator on n numbers; two more are asked for, so that a
    multiple eigenvalue at the end is not cut."""
    if n <= 4 * count + 40:
        matrix = np.stack([product(row) for row in np.eye(n)], axis=1)
        values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    else:
        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        first = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(operator, count + 2, which="LM", v0=first, tol=1e-11)
    order = np.argsort(values)[::-1][:count]
    return values[order], vectors[:, order]


def _nonlocal(flow: Linearisation, k: int) -> tuple[Array, Array]:
    """Rates and modes of L K with interactions, similar to a symmetric operator though not symmetric itself.

    The shift must lie below the smallest rate, which is negative where the equilibrium is not stable: it grows until
    the smallest rate found stays the same and above half of it.
    """
    shift, before = _scale(flow), np.inf
    for _ in range(12):
        rates, modes = _near_nonlocal(flow, shift, k)
        steady = abs(rates[0] - before) <= 1e-6 * max(shift, abs(rates[0]))
        if rates[0] > -0.5 * shift and (steady or rates[0] > -1e-9 * shift):
            return rates, modes
        shift, before = 4.0 * shift, rates[0]
    raise RuntimeError("the rates of the linearised flow do not settle")


def _near_nonlocal(flow: Linearisation, shift: float, k: int) -> tuple[Array, Array]:
    root, inverse = np.sqrt(flow.give), _inverse(flow, shift)

    def local(z: Array) -> Array:
        return root * inverse(root * z)

    def coupled(z: Array) -> Array:  # (L S + shift)⁻¹ (L K + shift) = 1 + (1 - shift (L S + shift)⁻¹) W/S
        push = root * flow.mean_field(root * z)
        return z + push - shift * local(push)

    def product(v: Array) -> Array:
        return solve_linear(coupled, local(v.reshape(root.shape)), None, 1e-12)[0].ravel()

    n = root.size
    if n <= 4 * k + 40:
        values, vectors = np.linalg.eig(np.stack([product(row) for row in np.eye(n)], axis=1))
    else:
        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        first = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigs(operator, k + 2, which="LM", v0=first, tol=1e-10)
    with np.errstate(all="ignore"):
        rates = np.real(1.0 / values) - shift
    order = np.argsort(np.where(np.isfinite(rates), rates, np.inf))[:k]
    modes = np.real(vectors[:, order].T).reshape(k, *root.shape) * root
    return rates[order], modes

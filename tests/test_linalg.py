"""Linear systems on a grid: the cell operator, multigrid, conjugate gradients, tridiagonal."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from wflow.linalg import cg, multigrid, tridiagonal
from wflow.linalg.multigrid import Operator

SHAPES = ((1, 1, 1), (1, 1, 2), (1, 1, 7), (1, 2, 2), (1, 9, 13), (1, 17, 1), (4, 1, 1), (3, 1, 5), (5, 7, 6))
PERIODIC = tuple(itertools.product((False, True), repeat=3))


def random_operator(shape, periodic, seed=0):
    """Smooth random weights; walls absorb."""
    rng = np.random.default_rng(seed)
    faces = []
    for axis in range(3):
        k = 5 * rng.random(tuple(n + (a == axis) for a, n in enumerate(shape)))
        if periodic[axis]:
            np.moveaxis(k, axis, 0)[-1] = np.moveaxis(k, axis, 0)[0]
        faces.append(k)
    return Operator(0.1 + rng.random(shape), *faces, periodic)


def dense(operator):
    """M assembled face by face from its definition."""
    shape = operator.diag.shape
    ids = np.arange(operator.diag.size).reshape(shape)
    matrix = np.diag(operator.diag.ravel())
    for axis, k in enumerate(operator.faces):
        n, ids_axis, k_axis = shape[axis], np.moveaxis(ids, axis, 0), np.moveaxis(k, axis, 0)
        for face in range(n + 1):
            if face in (0, n) and not operator.periodic[axis]:
                cells = ids_axis[0 if face == 0 else n - 1].ravel()
                np.add.at(matrix, (cells, cells), k_axis[face].ravel())
            elif face < n:
                a, b, c = ids_axis[face - 1].ravel(), ids_axis[face].ravel(), k_axis[face].ravel()
                for rows, cols, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
                    np.add.at(matrix, (rows, cols), sign * c)
    return matrix


def gibbs_operator(potential, upper, cells, dt):
    """diag = p and faces dt p_face / h^2 on a box with no-flux sides."""
    upper, n = np.asarray(upper), len(cells)
    h = 2 * upper / cells
    centers = [-upper[a] + h[a] * (np.arange(cells[a]) + 0.5) for a in range(n)]
    faces = []
    for axis in range(n):
        points = list(centers)
        points[axis] = -upper[axis] + h[axis] * np.arange(cells[axis] + 1)
        k = dt / h[axis] ** 2 * np.exp(-potential(*np.meshgrid(*points, indexing="ij")))
        np.moveaxis(k, axis, 0)[[0, -1]] = 0.0
        faces.append(k.reshape((1,) * (3 - n) + k.shape))
    p = np.exp(-potential(*np.meshgrid(*centers, indexing="ij"))).reshape((1,) * (3 - n) + tuple(cells))
    dead = [np.zeros(tuple(m + (a == axis) for a, m in enumerate(p.shape))) for axis in range(3 - n)]
    return Operator(p, *dead, *faces)


def flat(*x):
    return 0 * x[0]


def double_well(x, *rest):
    return (x**2 - 1) ** 2 + 2 * sum(y**2 for y in rest)


def cold(x, *rest):
    return double_well(x, *rest) / 0.1


def steep(*x):
    return 50 * sum(y**2 for y in x)


@pytest.mark.parametrize("shape", SHAPES)
def test_operator_and_solution_match_the_dense_matrix(shape):
    rhs = np.random.default_rng(1).random(shape)
    for periodic in PERIODIC:
        operator, out = random_operator(shape, periodic), np.empty(shape)
        matrix = dense(operator)
        energy = operator.apply(rhs, out)
        assert np.allclose(out.ravel(), matrix @ rhs.ravel(), rtol=0, atol=1e-12)
        assert energy == pytest.approx(rhs.ravel() @ matrix @ rhs.ravel(), rel=1e-12)
        assert np.allclose(1 / operator.inverse.ravel(), np.diag(matrix), rtol=1e-14)
        solution = cg.solve(operator, rhs, rtol=1e-12)
        assert solution.converged
        assert np.allclose(solution.w.ravel(), np.linalg.solve(matrix, rhs.ravel()), rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 9, 13), (5, 7, 6)])
def test_cycle_is_symmetric_and_close_to_the_inverse(shape):
    for periodic in PERIODIC:
        operator = random_operator(shape, periodic)
        hierarchy, columns, out = multigrid.build(operator), [], np.empty(shape)
        assert len(hierarchy.levels) > 1
        for unit in np.eye(operator.diag.size):
            multigrid.cycle(hierarchy, unit.reshape(shape), out)
            columns.append(out.ravel().copy())
        cycle = np.array(columns)
        assert np.abs(cycle - cycle.T).max() < 1e-14 * np.abs(cycle).max() * 10
        root = np.linalg.cholesky(dense(operator))
        values = np.linalg.eigvalsh(root.T @ cycle @ root)
        assert 0.6 < values.min() < values.max() < 1.3


def test_constant_is_kept_exactly():
    operator, out = gibbs_operator(cold, (2.2, 2.0), (32, 24), 1e4), np.empty((1, 32, 24))
    operator.apply(np.ones(out.shape), out)
    assert np.array_equal(out, operator.diag)


# Twice the measured cycles would be no proof of a flat count; two more are.
@pytest.mark.parametrize(
    ("potential", "upper", "cells", "most"),
    [
        (flat, (2, 2), (64, 64), 10),
        (double_well, (2, 2), (64, 64), 10),
        (double_well, (2, 2), (200, 100), 10),
        (cold, (2.2, 2), (128, 128), 10),
        (steep, (2, 2), (100, 100), 10),
        (double_well, (2, 2, 2), (24, 24, 24), 14),
        (steep, (2, 2, 2), (32, 32, 32), 11),
    ],
)
def test_few_cycles_and_every_cell_right_whatever_weight_and_step(potential, upper, cells, most):
    for dt in (1e-4, 1e-2, 1.0, 1e2, 1e4):
        operator = gibbs_operator(potential, upper, cells, dt)
        exact = 1 + np.random.default_rng(2).random(operator.diag.shape)
        rhs = np.empty(exact.shape)
        operator.apply(exact, rhs)
        solution = cg.solve(operator, rhs)
        assert solution.converged
        assert solution.iterations <= most
        assert np.abs(solution.w / exact - 1).max() < 1e-6


@pytest.mark.parametrize("stretch", [(1, 100), (100, 1), (1e-3, 1e3)])
def test_cycles_stay_few_under_anisotropy(stretch):
    operator = gibbs_operator(double_well, (2, 2), (64, 64), 1.0)
    operator = Operator(operator.diag, operator.kx, operator.ky * stretch[0], operator.kz * stretch[1])
    solution = cg.solve(operator, operator.diag * np.random.default_rng(3).random(operator.diag.shape))
    assert solution.converged
    assert solution.iterations <= 11


@pytest.mark.parametrize("dt", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("potential", [cold, steep])
def test_mass_in_the_far_tail_and_in_the_middle(potential, dt):
    """The tail outweighs the middle by up to 1e150 in the norm of conjugate gradients."""
    operator = gibbs_operator(potential, (2.2, 2), (64, 64), dt)
    rhs = np.zeros(operator.diag.shape)
    rhs[0, 2:5, 3:6] = rhs[0, 32, 32] = 1.0
    solution = cg.solve(operator, rhs)
    assert solution.converged
    assert solution.iterations <= 20
    assert solution.w.min() > 0
    assert (operator.diag * solution.w).sum() == pytest.approx(10.0, rel=1e-10)


def test_cells_of_no_weight_keep_the_guess():
    operator = gibbs_operator(cold, (2.2, 2), (64, 64), 1e-3)
    for array in (operator.diag[0, :10], operator.ky[0, :11], operator.kz[0, :10]):
        array[:] = 0.0
    rhs = np.zeros(operator.diag.shape)
    rhs[0, 12:14, 3:6] = rhs[0, 32, 32] = 1.0  # far enough out that sweeps on the solution itself are needed
    solution = cg.solve(operator, rhs, guess=np.full(rhs.shape, 7.0))
    assert solution.converged
    assert np.all(solution.w[0, :10] == 7.0)
    assert (operator.diag * solution.w).sum() == pytest.approx(rhs.sum(), rel=1e-9)


def test_too_few_cycles_are_said():
    operator = gibbs_operator(double_well, (2, 2), (64, 64), 1.0)
    rhs = operator.diag * np.random.default_rng(4).random((1, 64, 64))
    solution = cg.solve(operator, rhs, max_iterations=2)
    assert (solution.converged, solution.iterations) == (False, 2)
    operator = gibbs_operator(cold, (2.2, 2), (64, 64), 1e-3)
    rhs = np.zeros(operator.diag.shape)
    rhs[0, 2:5, 3:6] = rhs[0, 32, 32] = 1.0  # conjugate gradients are content after one cycle, the rest is not
    solution = cg.solve(operator, rhs, max_iterations=3)
    assert (solution.converged, solution.iterations) == (False, 3)


def test_what_rounding_forbids_is_not_asked():
    operator = gibbs_operator(cold, (2.2, 2), (128, 128), 1e6)
    solution = cg.solve(operator, operator.diag * np.random.default_rng(11).random((1, 128, 128)), rtol=1e-13)
    assert solution.converged


def test_zero_and_exact_guess_cost_nothing():
    operator = gibbs_operator(double_well, (2, 2), (32, 32), 1.0)
    zero = cg.solve(operator, np.zeros((1, 32, 32)), guess=np.ones((1, 32, 32)))
    assert (zero.converged, zero.iterations, np.abs(zero.w).max()) == (True, 0, 0.0)
    same = cg.solve(operator, operator.diag.copy(), guess=np.ones((1, 32, 32)))
    assert (same.converged, same.iterations) == (True, 0)


def test_without_ground_the_consistent_system_is_solved():
    operator = gibbs_operator(double_well, (2, 2), (64, 64), 1.0)
    operator = Operator(np.zeros((1, 64, 64)), *operator.faces)
    rhs, product = np.random.default_rng(5).standard_normal((1, 64, 64)), np.empty((1, 64, 64))
    rhs -= rhs.mean()
    solution = cg.solve(operator, rhs)
    operator.apply(solution.w, product)
    assert solution.converged
    assert np.abs(product - rhs).sum() < 1e-9 * np.abs(rhs).sum()


def tridiagonal_matrix(lower, diag, upper, ring):
    matrix = np.diag(diag) + np.diag(lower[1:], -1) + np.diag(upper[:-1], 1)
    if ring:
        matrix[0, -1] += lower[0]
        matrix[-1, 0] += upper[-1]
    return matrix


@pytest.mark.parametrize("n", [3, 4, 50])
def test_tridiagonal(n):
    rng = np.random.default_rng(n)
    lower, upper, rhs = -rng.random(n), -rng.random(n), rng.standard_normal(n)
    diag = 0.1 - np.roll(lower, -1) - np.roll(upper, 1)  # dominant by columns, as a Newton matrix in u
    for ring, solver in ((False, tridiagonal.solve), (True, tridiagonal.solve_periodic)):
        expected = np.linalg.solve(tridiagonal_matrix(lower, diag, upper, ring), rhs)
        assert np.allclose(solver(lower, diag, upper, rhs), expected, rtol=1e-11, atol=1e-11)


def test_periodic_tridiagonal_of_one_and_two():
    lower, diag, upper = np.array([-1.0, -2.0]), np.array([5.0, 6.0]), np.array([-0.5, -0.25])
    rhs = np.array([1.0, 2.0])
    expected = np.linalg.solve([[5.0, -1.5], [-2.25, 6.0]], rhs)
    assert np.allclose(tridiagonal.solve_periodic(lower, diag, upper, rhs), expected, rtol=1e-14)
    one = np.ones(1)
    assert tridiagonal.solve_periodic(-one, 4 * one, -one, one)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("periodic", [False, True])
def test_network_has_every_digit_over_300_orders(periodic):
    """Against rational arithmetic; weights fall from 1 to 1e-300 and the step is long."""
    weights = 10.0 ** np.linspace(0, -300, 12)
    faces = 1e5 * np.concatenate((weights[:1], np.sqrt(weights[1:] * weights[:-1]), weights[:1]))
    rhs, out = weights[::-1].copy(), np.empty(12)
    tridiagonal.solve_network(weights, faces, periodic, rhs, out)
    assert np.allclose(out, rational_network(weights, faces, periodic, rhs), rtol=1e-13, atol=0)


def rational_network(ground, faces, periodic, rhs):
    ground, faces, rhs = ([Fraction(float(v)) for v in a] for a in (ground, faces, rhs))
    n = len(ground)
    rows = [[Fraction(0)] * n + [rhs[i]] for i in range(n)]
    for i in range(n):
        rows[i][i] += ground[i] + faces[i] + faces[i + 1]
        for j, face in ((i - 1, faces[i]), (i + 1, faces[i + 1])):
            if periodic or 0 <= j < n:
                rows[i][j % n] -= face
    for i in range(n):
        for j in range(n):
            if j != i and rows[j][i]:
                ratio = rows[j][i] / rows[i][i]
                rows[j] = [a - ratio * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [float(rows[i][n] / rows[i][i]) for i in range(n)]

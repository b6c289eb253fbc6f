"""The JKO step on grids of two and three axes: closed forms, laws, hard data, optimality, refusals."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_laws import box, functional

import wflow as wf
from wflow import exact
from wflow.errors import Status
from wflow.flows import make_flow
from wflow.flows.levels import between, joined
from wflow.flows.response import Response, local_energy
from wflow.linalg.semidual import at, climb
from wflow.linalg.softmin import Soft, self_transport, soft
from wflow.steppers import JKO, ImplicitEuler, VariationalBDF2

KL = wf.FDivergence("reverse-kl", wf.Gaussian([0.0, 0.0], 1.0))
DIVERGENCES = ("reverse-kl", "kl", "chi2", "reverse-chi2", "hellinger", "jensen-shannon", "jeffreys", "triangular")
UNIT = wf.Grid([0.0, 0.0], [1.0, 1.0], 4)
SMOOTH = (*DIVERGENCES, "alpha 2", "entropy", "m=2", "m=1/2", "q**2 + q**3", "0.3 entropy + V")


def energy(name):
    return wf.PowerEntropy(2) + wf.Potential("x**2 + y") if name == "m=2 + V" else functional(name, 2)


def wide(n):
    return wf.Density(wf.Grid([-11.0, -11.0], [13.0, 13.0], n), wf.Gaussian([1.0, 1.0], 4.0))


def closed_form_errors(n):
    """Of mean and standard deviation of a step of 0.1, 1/1.1 and 1.8668776139 along both axes."""
    q = wide(n)
    result = wf.run(KL, q, dt=0.1, steps=1, stepper=JKO())
    end = result.final
    assert result.status is Status.COMPLETE
    assert_allclose(end.cov[0, 1], 0.0, rtol=0, atol=1e-5)
    assert_allclose(result.steps["distance"], np.sqrt(2) * np.hypot(1 - 1 / 1.1, 2 - 1.8668776139), rtol=2e-3)
    law = wf.Density(q.grid, wf.Gaussian([1 / 1.1] * 2, 1.8668776139**2))
    assert np.abs(end.values - law.values).sum() * q.grid.volume < 1e-3
    return np.abs(end.mean - 1 / 1.1).max(), np.abs(np.sqrt(np.diag(end.cov)) - 1.8668776139).max()


@pytest.mark.checklist("G14")
def test_gaussian_closed_form_as_a_product():
    """Asked to 1e-3; to 2e-6 at h = 1/4."""
    assert max(closed_form_errors(96)) < 2e-6


def test_order_four_in_the_spacing():
    errors = [closed_form_errors(n)[1] for n in (24, 32, 48)]
    orders = np.diff(np.log(errors)) / np.log([24 / 32, 32 / 48])
    print(errors, orders)
    assert_allclose(orders, 4, rtol=0, atol=0.2)


@pytest.mark.checklist("G14")
def test_gaussian_closed_form_in_three_dimensions():
    """The error is that of the plane, where it is 4.1e-4 h⁴ (h = 0.875 here): the step of a product is one of its
    axes."""
    found = []
    for d in (2, 3):
        q = wf.Density(wf.Grid([-9.5] * d, [11.5] * d, 24), wf.Gaussian([1.0] * d, 4.0))
        F = wf.FDivergence("reverse-kl", wf.Gaussian([0.0] * d, 1.0))
        result = wf.run(F, q, dt=0.1, steps=1, stepper=JKO())
        end = result.final
        found.append((end.mean[:2], np.sqrt(np.diag(end.cov)[:2]), result.steps["distance"] / np.sqrt(d)))
        assert_allclose(end.mean, 1 / 1.1, rtol=0, atol=2e-5)
        assert_allclose(np.sqrt(np.diag(end.cov)), 1.8668776139 - 4.12e-4 * 0.875**4, rtol=0, atol=1e-6)
    for plane, space in zip(*found, strict=True):
        assert_allclose(space, plane, rtol=0, atol=1e-6)


@pytest.mark.checklist("G14")
def test_order_one_towards_the_flow():
    errors = []
    for steps in (4, 8):
        end = wf.run(KL, wide(48), dt=0.4 / steps, steps=steps, stepper=JKO(), save="ends").final
        errors.append(abs(end.cov[0, 0] - exact.ornstein_uhlenbeck([1.0], 4.0, 0.4)[1]))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.1


@pytest.mark.checklist("G8", "G14")
@pytest.mark.parametrize("name", SMOOTH)
def test_mass_sign_decay_and_optimality(name):
    """Every functional of the form ∫ p φ(q/p). From implicit Euler it is off by O(τ²) and by O(τ h²): 1 to 6 % of what
    moves here, up to 9 % on half as many cells."""
    grid, tau = wf.Grid([-1.0, -1.0], [1.0, 1.0], 32), 0.01
    q = wf.Density(grid, lambda x: 1.2 + 0.5 * np.cos(np.pi * x[:, 0] / 2 + 1) * np.cos(np.pi * x[:, 1]))
    F = functional(name, 2)
    result = wf.run(F, q, dt=tau, steps=3, stepper=JKO(), save="all")
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() > 0.0
    moved = result.steps["distance"] ** 2 / (2 * tau)
    assert np.all(result.diagnostics["energy"][:-1] - result.diagnostics["energy"][1:] > moved)
    implicit = wf.run(F, q, dt=tau, steps=1, stepper=ImplicitEuler()).final
    moved = np.abs(q.values - result.states[1].values).sum()
    assert np.abs(implicit.values - result.states[1].values).sum() < 0.06 * moved


HARD = {
    "random cells": lambda x: np.random.default_rng(3).uniform(0.1, 10, len(x)),
    "six decades": lambda x: np.exp(5 * np.random.default_rng(3).standard_normal(len(x))),
    "one cell": lambda x: (np.arange(len(x)) == len(x) // 3).astype(float),
    "two corners": lambda x: ((x.min(axis=1) > 1.5) | (x.max(axis=1) < -1.5)).astype(float),
    "narrow": lambda x: np.exp(-((x[:, 0] - 1.2) ** 2 + (x[:, 1] + 1) ** 2) / 0.02),
}


@pytest.mark.checklist("G8", "G14")
@pytest.mark.parametrize("tau", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("start", HARD)
@pytest.mark.parametrize("name", ["reverse-kl", "jensen-shannon", "reverse-chi2", "m=2", "0.3 entropy + V", "m=2 + V"])
def test_monotone_at_any_step_from_hard_data(name, start, tau):
    """F + distance²/2τ does not rise, for cells at random, vacua and steps across the box."""
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 12)
    q = wf.Density(grid, HARD[start](grid.points()).reshape(grid.cells))
    F = energy(name)
    result = wf.run(F, q, dt=tau, steps=1, stepper=JKO())
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    assert result.diagnostics["minimum"].min() >= 0.0
    before, after = result.diagnostics["energy"]
    assert after + result.steps["distance"][0] ** 2 / (2 * tau) <= before + 1e-9 * abs(before)
    assert np.abs(result.final.values - q.values).sum() * grid.volume > 1e-5


def test_a_vacuum_between_two_squares_fills_as_it_should():
    """A step of 10 levels all to 3 %, one of 1e-3 leaves the corners empty."""
    grid = wf.Grid([-1.0, -1.0], [1.0, 1.0], 32)
    q = wf.Density(grid, lambda x: 1.0 * (np.abs(np.abs(x[:, 0]) - 0.5) < 0.25) * (np.abs(x[:, 1]) < 0.25))
    far = wf.run(wf.PowerEntropy(2), q, dt=10.0, steps=1, stepper=JKO()).final
    assert np.ptp(far.values) < 0.03
    near = wf.run(wf.PowerEntropy(2), q, dt=1e-3, steps=1, stepper=JKO()).final
    assert near.values[:, -1].max() < 1e-8
    assert near.values.max() < 0.98 * q.values.max()


@pytest.mark.checklist("G14")
def test_no_other_density_is_better():
    """F + W2²/2τ, with W2 by another solver, is less than at q, after implicit Euler, and about the answer."""
    tau, grid = 0.1, wf.Grid([-4.0, -4.0], [4.0, 4.0], 40)
    q = wf.Density(grid, wf.Gaussian([1.0, 0.0], 0.5))
    end = wf.run(KL, q, dt=tau, steps=1, stepper=JKO()).final

    def merit(other):
        return wf.energy(KL, other) + wf.wasserstein2(q, other) ** 2 / (2 * tau)

    best, rng = merit(end), np.random.default_rng(0)
    assert best < merit(q)
    assert best < merit(wf.run(KL, q, dt=tau, steps=1, stepper=ImplicitEuler()).final)
    x, y = grid.points().T
    for _ in range(3):
        wave = np.cos(rng.uniform(0.5, 2) * x + rng.uniform(0, 6)) * np.cos(rng.uniform(0.5, 2) * y + rng.uniform(0, 6))
        assert best < merit(wf.Density(grid, end.values * np.exp(0.05 * wave.reshape(grid.cells))))


@pytest.mark.checklist("G27")
def test_potentials_of_the_step_are_optimal():
    """No other potential gives the semi-dual more: with R(b) = ½ b (log b - 1) + θ F it is Σ a f - Σ R*(base - g)."""
    q = wide(32)
    a = q.values * q.grid.volume
    local = local_energy(make_flow(KL, q).variation, 0.0)
    law, axes = Response(local, 0.4), [np.arange(32) * np.sqrt(0.8)] * 2
    own = self_transport(partial(soft, axes=axes), a, 1e-10).last
    base = own + 0.5 * np.log(a)

    def dual(f):
        w = base + Soft(f + np.log(a), axes).value
        b = law.masses(w)
        return np.sum(a * f) - np.sum(w * b - 0.5 * b * (np.log(b) - 1) - 0.4 * b * (np.log(b) - local.reference))

    answer = climb(law, a, base, axes, at(law, a, base, axes, own), 1e-10, 300)
    assert answer.residual < 1e-10
    x, y = q.grid.points().T
    for size in (1e-3, 1.0):
        for wave in (np.cos(x) * np.sin(y), x, np.ones_like(x)):
            bump = size * wave.reshape(a.shape)
            assert max(dual(answer.f + bump), dual(answer.f - bump)) < dual(answer.f)
    slope = (dual(answer.f + 1e-4 * bump) - dual(answer.f - 1e-4 * bump)) / 2e-4
    assert abs(slope) < 1e-6


def test_a_start_with_next_to_no_mass_is_levelled():
    """A law of share 10 gains a tenth of a decade by a step of the size of one: 300 steps from 1e-30 of the mass."""
    q = wide(16)
    a, axes = q.values * q.grid.volume, [np.arange(16) * np.sqrt(0.8)] * 2
    law = Response(local_energy(make_flow(KL, q).variation, 0.0), 0.4, share=10.0)
    own = self_transport(partial(soft, axes=axes), a, 1e-10).last
    start = at(law, a, own + 10.0 * np.log(a), axes, own - 700.0)
    assert start.b.sum() < 1e-20
    answer = climb(law, a, own + 10.0 * np.log(a), axes, start, 1e-10, 20)
    assert answer.residual < 1e-10


@pytest.mark.checklist("G14")
def test_the_distance_is_that_of_another_solver():
    """Spread over cells, masses are nearer by h²/24 (1 - s)²/s an axis: 0.2 % here."""
    q = wide(48)
    result = wf.run(KL, q, dt=0.1, steps=1, stepper=JKO())
    assert_allclose(result.steps["distance"], wf.wasserstein2(q, result.final), rtol=3e-3)


@pytest.mark.parametrize("tau", [1e3, 1e5])
def test_the_distance_of_long_steps(tau):
    """Potentials are large there, and a mass that is off by rounding of the solver would count with them."""
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 24)
    q = wf.Density(grid, lambda x: np.exp(-((x[:, 0] - 0.5) ** 2) - x[:, 1] ** 2))
    result = wf.run(wf.PowerEntropy(2) + wf.Potential("x**2 + y**2"), q, dt=tau, steps=1, stepper=JKO())
    assert_allclose(result.steps["distance"], wf.wasserstein2(q, result.final), rtol=3e-3)


def test_masses_far_below_their_target_move():
    """log p is 900 below its largest where they are."""
    grid = wf.Grid([-4.0, -4.0], [4.0, 4.0], 32)
    q = wf.Density(grid, lambda x: 1.0 * (x > 3.0).all(axis=1))
    F = wf.FDivergence("reverse-kl", wf.Gaussian([-1.0, -1.0], 0.02))
    result = wf.run(F, q, dt=1e-3, steps=1, stepper=JKO())
    assert result.status is Status.COMPLETE
    # Far out it is the step of V = |x + 1|²/0.04: x + 1 over 1 + 25 τ, of each of the two coordinates.
    assert_allclose(result.final.mean + 1.0, (q.mean + 1.0) / (1.0 + 1e-3 / 0.02), rtol=2e-3)


def test_the_iteration_adds_no_error_of_its_own():
    """A thousandth of what moves is 3e-5; the same wave on the line, where JKO is exact, is 1e-5 away."""
    n, tau = 128, 0.01
    q = wf.Density(wf.Grid([0.0, -1.0], [0.125, 1.0], [8, n]), lambda x: 1.0 + 0.5 * np.cos(np.pi * x[:, 1]))
    fine = wf.Density(wf.Grid([-1.0], [1.0], 8 * n), lambda x: 1.0 + 0.5 * np.cos(np.pi * x[:, 0]))
    ends = [wf.run(wf.Entropy(), one, dt=tau, steps=1, stepper=JKO()).final.values for one in (q, fine)]
    middle = ends[1].reshape(n, 8)[:, 3:5].mean(axis=1)
    assert np.abs(ends[0] * 0.125 - middle).mean() * 2.0 < 3e-5


@pytest.mark.parametrize("tau", [1e-7, 1e-5])
def test_vacua_stay_over_short_steps(tau):
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 32)
    q = wf.Density(grid, lambda x: 1.0 * (np.hypot(*x.T) < 0.7))
    result = wf.run(wf.Potential("x**2 + y"), q, dt=tau, steps=1, stepper=JKO())
    assert result.status is Status.COMPLETE
    assert result.final.values[q.values == 0.0].max() < 1e-3 * q.values.max()


SHORT = {
    "narrow, entropy": (wf.Entropy() + wf.Potential("(x**2 + y**2)/2"), lambda x: ((x - [0.5, 0.3]) ** 2).sum(axis=1)),
    "narrow, cold": (0.3 * wf.Entropy() + wf.Potential("x**4 - 2*x**2"), lambda x: ((x - [1.2, -1]) ** 2).sum(axis=1)),
    "disk": (wf.PowerEntropy(2), lambda x: np.where(np.hypot(*x.T) < 0.7, 0.0, np.inf)),
    "disk, cold": (0.3 * wf.Entropy() + wf.Potential("x**2"), lambda x: np.where(np.hypot(*x.T) < 0.7, 0.0, np.inf)),
}


@pytest.mark.checklist("G14")
@pytest.mark.parametrize("tau", [1e-7, 1e-5])
@pytest.mark.parametrize("name", SHORT)
def test_steps_far_shorter_than_a_cell_takes(name, tau):
    """Mixing of iterates went astray there; and S/2τ was nothing but the error of potentials. `moving` says what is
    left."""
    F, squares = SHORT[name]
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 32 if tau == 1e-5 else 16)
    q = wf.Density(grid, lambda x: np.exp(-squares(x) / 0.002))
    result = wf.run(F, q, dt=tau, steps=1, stepper=JKO())
    assert result.status is Status.COMPLETE
    before, after = result.diagnostics["energy"]
    assert after + result.steps["distance"][0] ** 2 / (2 * tau) <= before + 1e-15 / tau
    moved = np.abs(result.final.values - q.values).sum() * grid.volume
    assert moved < 0.05
    assert 0.0 <= result.steps["moving"][0] <= 0.1 * moved
    assert after <= before + 1e-12 * (1 + abs(before))


def test_what_still_moves_is_said():
    """Two full corners of an empty box, in a step of 2e-4 h²: they are not settled after all iterations, smooth masses
    are."""
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 16)
    for start, moves in ((HARD["two corners"], True), (lambda x: np.exp(-((x - 0.3) ** 2).sum(axis=1)), False)):
        q = wf.Density(grid, start(grid.points()).reshape(grid.cells))
        result = wf.run(energy("reverse-kl"), q, dt=1e-5, steps=1, stepper=JKO())
        assert result.status is Status.COMPLETE
        assert (result.steps["moving"][0] > 0.0) == moves


@pytest.mark.checklist("G14")
def test_what_happens_at_walls_is_that_of_the_line():
    """Waves that walls cut, against exact steps in quantiles; a kernel that ends at walls is off by 2e-2."""
    grid, line = wf.Grid([-1.0, -1.0], [1.0, 1.0], [24, 32]), wf.Grid(-1.0, 1.0, 32)
    for plane, alone in ((wf.Potential("cos(pi*y)"), "cos(pi*x)"), (wf.Entropy() + wf.Potential("y"), "x")):
        F = wf.Potential(alone) if len(plane.terms) == 1 else wf.Entropy() + wf.Potential(alone)
        end = wf.run(plane, wf.Density(grid, np.ones((24, 32))), dt=0.02, steps=1, stepper=JKO()).final
        law = wf.run(F, wf.Density(line, np.ones(32)), dt=0.02, steps=1, stepper=JKO()).final
        assert_allclose(end.values, np.tile(law.values / 2, (24, 1)), rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_soft_minima_against_the_sums_themselves(scale):
    """Values, means and their adjoint, over three axes, with gaps and whatever the range, with images in the walls."""
    rng = np.random.default_rng(0)
    logs = scale * rng.standard_normal((5, 4, 6))
    logs[rng.random(logs.shape) < 0.3] = -np.inf
    rates = np.array([0.7, 0.2, 1.5])
    terms = logs[..., None, None, None]
    for axis, (n, rate) in enumerate(zip(logs.shape, rates, strict=True)):
        i, j = np.ogrid[:n, :n]
        images = np.logaddexp.reduce([-rate * d**2 for d in (i - j, i + j + 1.0, 2.0 * n - 1.0 - i - j)])
        terms = terms + images.reshape([n if k in (axis, axis + 3) else 1 for k in range(6)])
    terms = terms.reshape(logs.size, logs.size)
    top = terms.max(axis=0)
    value = top + np.log(np.exp(terms - top).sum(axis=0))
    shares, v = np.exp(terms - value), rng.standard_normal(logs.shape)
    axes = [np.arange(n) * np.sqrt(rate) for n, rate in zip(logs.shape, rates, strict=True)]
    soft = Soft(logs, axes)
    assert_allclose(soft.value.ravel(), value, rtol=1e-13)
    assert_allclose(soft.mean(v).ravel(), v.ravel() @ shares, rtol=0, atol=1e-12)
    assert_allclose(soft.spread(v).ravel(), shares @ v.ravel(), rtol=0, atol=1e-11)


def test_the_potential_of_transport_to_itself():
    """Its plan has the masses on both sides; of a Gaussian it is a parabola: p = -soft(p + log m)."""
    x = np.linspace(-8, 8, 81)
    m = np.exp(-0.5 * (x[:, None] ** 2 + x[None] ** 2))
    axes = [x / np.sqrt(0.1)] * 2
    p = self_transport(partial(soft, axes=axes), m, 1e-12).last
    curve = np.diff(p[20:61, 40], 2) / 0.2**2
    # p = α x²/2 where α = k - k²/(k + 1 - α) and k = 2/ε, by completing squares; the smaller root.
    k = 20.0
    alpha = 0.5 * ((2 * k + 1) - np.sqrt((2 * k + 1) ** 2 - 4 * k))
    assert_allclose(curve, alpha, rtol=1e-6)
    plan = Soft(p + np.log(m), axes)
    assert_allclose(plan.spread(m), m, rtol=0, atol=1e-10)


def test_the_cost_of_transport_to_itself_is_off_to_second_order():
    """Σ m p with p half of a potential and half of its image, whose errors cancel; of the image alone they do not."""
    x = np.linspace(-4, 4, 25)
    m = np.exp(-(x[:, None] ** 2) - (x[None] - 1) ** 2)
    sums = partial(soft, axes=[x / np.sqrt(0.2)] * 2)
    law = self_transport(sums, m, 1e-14).mean
    for tol in (1e-2, 1e-4, 1e-7):
        found = self_transport(sums, m, tol)
        assert 1e-9 < found.left < tol
        alone = abs(np.sum(m * (found.last - law)))
        assert alone > 1e-9
        assert abs(np.sum(m * (found.mean - law))) < 0.03 * alone


@pytest.mark.parametrize("name", [*SMOOTH, "m=2 + V"])
def test_masses_answer_what_acts_on_them(name):
    """½ log b + θ δF/δb = w, and its slope, over twenty decades."""
    variation = make_flow(energy(name), wf.Density(box(2), np.ones(box(2).cells))).variation
    local = local_energy(variation, 0.0)
    law = Response(local, 3.0)
    b = np.exp(local.reference + np.linspace(-30, 15, local.shift.size).reshape(local.shift.shape))
    w = 0.5 * np.log(b) + 3.0 * variation.slope(0.0, b / box(2).volume)
    assert_allclose(0.5 * np.log(b) + law.force(b), w, rtol=1e-12, atol=1e-9)
    assert_allclose(law.masses(w), b, rtol=1e-9)
    step = 1e-4 * b / law.slope(b)
    assert_allclose(law.slope(b), (law.masses(w + step) - law.masses(w - step)) / (2 * step), rtol=1e-6)


@pytest.mark.checklist("G16")
def test_porous_medium_against_barenblatt():
    errors = []
    for n in (32, 128):
        fine = wf.Grid([-3.0, -3.0], [3.0, 3.0], 4 * n)
        start, end = (
            exact.barenblatt(fine.points(), t, 2.0).reshape(n, 4, n, 4).mean(axis=(1, 3)) for t in (1.0, 1.0125)
        )
        q = wf.Density(wf.Grid([-3.0, -3.0], [3.0, 3.0], n), start, normalize=False)
        result = wf.run(wf.PowerEntropy(2), q, dt=0.0125, steps=1, stepper=JKO())
        assert result.status is Status.COMPLETE
        assert_allclose(result.final.mass, q.mass, rtol=1e-13)
        assert result.diagnostics["energy"][-1] < result.diagnostics["energy"][0]
        errors.append(np.abs(result.final.values - end).sum() * q.grid.volume)
    moved = np.abs(start - end).sum() * q.grid.volume
    assert errors[1] < 0.05 * moved
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.checklist("G14")
def test_gaussian_closed_form_with_an_interaction():
    """½ ∬ |x - y|²/2 is half the variance: a step is that of a potential about the mean, which stays. Order 4 in h."""
    errors = []
    for n in (32, 64):
        q = wide(n)
        end = wf.run(wf.Entropy() + wf.Interaction("(x**2 + y**2)/2"), q, dt=0.1, steps=1, stepper=JKO()).final
        assert_allclose(end.mean, q.mean, rtol=0, atol=1e-8)
        errors.append(np.abs(np.sqrt(np.diag(end.cov)) - 1.8668776139).max())
    print(errors)
    assert errors[1] < 1e-5
    assert np.log2(errors[0] / errors[1]) > 3.5


@pytest.mark.checklist("G14")
@pytest.mark.parametrize("tau", [0.02, 0.5])
@pytest.mark.parametrize("W", ["exp(-x**2)", "-exp(-x**2)", "x**4/4 - x**2/2"])
def test_interactions_along_one_axis_are_those_of_the_line(W, tau):
    """Against quantiles on eight times as many cells, of order 2 in h. Repulsion has a positive Hessian, attraction a
    negative one, the third both."""
    F, errors = 0.3 * wf.Entropy() + wf.Interaction(W), []
    wave = lambda x: 1.0 + 0.8 * np.cos(np.pi * x[:, 0] / 2 + 0.5)  # noqa: E731
    law = wf.run(F, wf.Density(wf.Grid(-2.0, 2.0, 384), wave), dt=tau, steps=1, stepper=JKO()).final.values
    for n in (24, 48):
        q = wf.Density(wf.Grid([-2.0, -0.5], [2.0, 0.5], [n, n // 4]), wave)
        end = wf.run(F, q, dt=tau, steps=1, stepper=JKO()).final
        errors.append(np.abs(end.values.mean(axis=1) - law.reshape(n, -1).mean(axis=1)).mean() * 4)
    moved = np.abs(q.values.mean(axis=1) - law.reshape(n, -1).mean(axis=1)).mean() * 4
    assert errors[1] < (0.01 if tau == 0.5 else 0.09) * moved
    if tau == 0.02:  # at 0.5, and with the third a little at 0.02, it is the reference that is off
        assert_allclose(np.log2(errors[0] / errors[1]), 2.0, rtol=0, atol=0.2 if W[0] == "x" else 0.1)


TOGETHER = {
    "repulsion": 0.1 * wf.Entropy() + wf.Interaction("20*exp(-(x**2 + y**2)/0.2)"),
    "attraction": 0.02 * wf.Entropy() + wf.Interaction("-2*exp(-(x**2 + y**2)/0.3)"),
    "alone": wf.Interaction("(x**2 + y**2)/2"),
    "powers": wf.PowerEntropy(2) + wf.Potential("x**2 + y**2") + wf.Interaction("5*cos(3*x)"),
    "two targets": wf.FDivergence("kl", wf.Gaussian([0, 0], 1)) + wf.FDivergence("chi2", wf.Gaussian([1, 0], 0.5)),
}


@pytest.mark.checklist("G8", "G14")
@pytest.mark.parametrize("tau", [1e-3, 0.1, 3.0])
@pytest.mark.parametrize("start", ["random cells", "two corners", "narrow"])
@pytest.mark.parametrize("name", TOGETHER)
def test_sums_are_monotone_at_any_step(name, start, tau):
    """Interactions of every sign, damped where S/2τ + F would rise, and divergences from several targets."""
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 12)
    q = wf.Density(grid, HARD[start](grid.points()).reshape(grid.cells))
    result = wf.run(TOGETHER[name], q, dt=tau, steps=1, stepper=JKO())
    assert result.status is Status.COMPLETE
    assert_allclose(result.diagnostics["mass"], 1.0, rtol=0, atol=1e-13)
    before, after = result.diagnostics["energy"]
    assert after + result.steps["distance"][0] ** 2 / (2 * tau) <= before + 1e-9 * (1 + abs(before))
    if name != "attraction":  # which holds cells together
        assert np.abs(result.final.values - q.values).sum() * grid.volume > 1e-5


@pytest.mark.parametrize("name", ["repulsion", "two targets"])
def test_long_steps_of_sums_reach_their_equilibrium(name):
    grid = wf.Grid([-2.0, -2.0], [2.0, 2.0], 12)
    F, q = TOGETHER[name], wf.Density(grid, lambda x: np.exp(-(x[:, 0] ** 2)))
    end = wf.run(F, q, dt=1e4, steps=1, stepper=JKO()).final
    law = wf.equilibrium(F, grid)
    assert np.abs(end.values - law.values).sum() * grid.volume < 1e-3


@pytest.mark.parametrize(
    ("F", "grid", "reason"),
    [
        (wf.Entropy(), wf.Grid([0, 0], [1, 1], 4, "periodic"), "no-flux"),
        (wf.Entropy() + wf.Dirichlet(), UNIT, "Dirichlet"),
        (wf.Entropy() + wf.Interaction("-log(x**2 + y**2)"), UNIT, "finite, at distance 0"),
        (wf.Entropy(), wf.Grid([0.0, 0.0], [1.0, 1.0], [4, 20]), "not 5 times"),
    ],
    ids=["periodic", "gradients", "singular", "long cells"],
)
def test_what_has_no_step_is_refused(F, grid, reason):
    with pytest.raises(wf.InputError, match=reason):
        wf.run(F, wf.Density(grid, np.ones(grid.cells)), dt=0.1, steps=1, stepper=JKO())


def test_second_order_needs_a_flat_metric():
    with pytest.raises(wf.InputError, match="metric is flat"):
        wf.run(wf.Entropy(), wf.Density(box(2), np.ones(box(2).cells)), dt=0.1, steps=1, stepper=VariationalBDF2())


def test_cells_without_target_stay_empty_and_axes_of_one_cell_are_none():
    inside = wf.Uniform([-1.0, -1.0], [0.5, 1.0])
    q = wf.Density(wf.Grid([-1.0, -1.0], [1.0, 1.0], 16), lambda x: np.where(x[:, 0] < 0, 1.0 + x[:, 1], 0.0))
    end = wf.run(wf.FDivergence("reverse-kl", inside), q, dt=0.3, steps=1, stepper=JKO()).final
    assert np.all(end.values[12:] == 0.0)
    small = wf.Density(wf.Grid([-1.0, -1.0], [0.5, 1.0], [12, 16]), q.values[:12])
    alone = wf.run(wf.Entropy(), small, dt=0.3, steps=1, stepper=JKO()).final
    # Cells without target are no walls of the kernel: its images make that much of a difference beside them.
    assert_allclose(end.values[:12], alone.values, rtol=0, atol=2e-3)
    line = wf.Density(wf.Grid([-11.0, -1.0], [13.0, 1.0], [100, 1]), wf.Gaussian([1.0, 0.0], 4.0))
    end = wf.run(wf.Entropy() + wf.Potential("x**2/2"), line, dt=0.1, steps=1, stepper=JKO()).final
    assert_allclose(np.sqrt(end.cov[0, 0]), 1.8668776139, rtol=0, atol=1e-5)


def test_long_steps_reach_the_equilibrium_of_powers_in_potentials():
    """(C - V)₊/2 of ∫ q² + ∫ V q with V = 2 x² + y at the end, t = 1e4: to 1 % of the largest at the front."""
    grid = wf.Grid([-1.0, -1.0], [1.0, 1.0], 32)
    q = wf.Density(grid, np.ones(grid.cells))
    F = wf.PowerEntropy(2) + wf.Potential("(2*x**2 + y) * t / 1e4")
    end = wf.run(F, q, dt=1e4, steps=1, stepper=JKO()).final
    x, y = grid.points().T
    V = (2 * x**2 + y).reshape(grid.cells)
    low, high = V.min(), V.max() + 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.maximum(middle - V, 0).sum() / 2 * grid.volume < 1 else (low, middle)
    law = np.maximum(low - V, 0) / 2
    assert_allclose(end.values, law, rtol=0, atol=0.01 * law.max())


@pytest.mark.parametrize("cells", [(9, 14), (10, 10, 17)])
def test_coarser_grids_keep_masses_and_finer_ones_lines(cells):
    values = np.random.default_rng(0).uniform(size=cells)
    shape = tuple((n + 1) // 2 for n in cells)
    coarse = joined(values, shape)
    assert coarse.shape == shape
    assert_allclose(coarse.sum(), values.sum(), rtol=1e-14)
    assert_allclose(joined(np.ones(cells), shape), np.prod(cells) / np.prod(shape), rtol=1e-13)
    centers = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij")
    wanted = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in cells], indexing="ij")
    inner = tuple(slice(1, -1) for _ in cells)
    assert_allclose(between(sum(centers), cells)[inner], sum(wanted)[inner], rtol=1e-13)
